// What the last segment sounded like beside sad: a small bar an emotion, in the checkpoint's order; nothing where none is told.

import { at, make, say, share, signed } from "./words.js";

export function showFelt(stream) {
  const last = stream.scores.at(-1);
  // A segment in which perhaps nobody speaks tells none: the names of the last that did keep their place.
  const known = stream.scores.findLast((score) => score.emotions);
  const list = at("felt");
  list.hidden = known === undefined;
  if (known) {
    const names = Object.keys(known.emotions);
    if (list.dataset.names !== names.join()) {
      list.replaceChildren(...names.map(entry));
      list.dataset.names = names.join();
    }
    const most = Math.max(...Object.values(last.emotions ?? {}));
    names.forEach((name, index) => fill(list.children[index], last.emotions?.[name], most));
  }
  for (const name of ["valence", "arousal"]) {
    at(`now-${name}`).parentElement.hidden = stream.scores.every((score) => score[name] === undefined);
    say(`now-${name}`, last[name] === undefined ? "–" : signed(last[name]));
  }
}

// `happy 0.62` of a score, or a dash.
export function likeliest(score) {
  const [name, most] = Object.entries(score.emotions ?? {}).reduce((best, one) => (one[1] > best[1] ? one : best), ["", -1]);
  return name === "" ? "–" : `${name} ${most.toFixed(2)}`;
}

function entry(name) {
  const made = make("li");
  made.append(make("span", name), make("b", "–"), make("i"));
  return made;
}

function fill(element, value, most) {
  const [, figure, bar] = element.children;
  figure.textContent = value === undefined ? "–" : share(value);
  bar.style.setProperty("--share", value ?? 0);
  element.dataset.most = String(value !== undefined && value === most);
}
