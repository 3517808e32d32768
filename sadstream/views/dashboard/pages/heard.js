// What was heard of each stream since the page opened, each event once, and of the past what the daemon remembers.

const SCORES = 1000;
const LOG = 60;

export const unix = (event) => Date.parse(event.time) / 1000;

function fresh(name) {
  return {
    name, scores: [], status: null, spells: [], episodes: new Map(), log: [], seen: new Set(),
    missed: 0, restarts: 0, silent: false, heard_s: 0,
  };
}

export class Heard {
  constructor() {
    this.streams = new Map();
  }

  of(name) {
    if (!this.streams.has(name)) this.streams.set(name, fresh(name));
    return this.streams.get(name);
  }

  // The stream that an event belongs to, or null if it was heard before.
  take(type, event) {
    if (event.stream === null || event.stream === undefined) return null;
    const stream = this.of(event.stream);
    const key = `${event.session} ${type} ${event.seq ?? event.first_seq ?? ""} ${event.event_type ?? ""}`;
    if (type !== "stale") {
      if (stream.seen.has(key)) return null;
      stream.seen.add(key);
    }
    if (event.time) {
      stream.silent = false;
      stream.heard_s = Math.max(stream.heard_s, unix(event));
    }
    this[type](stream, event);
    return stream;
  }

  score(stream, score) {
    const end_s = unix(score) - score.latency_ms.total / 1000;
    const last = stream.scores.at(-1);
    const begin_s = Math.max(end_s - (score.t_end - score.t_start), last && last.end_s < end_s ? last.end_s : -Infinity);
    const found = { ...score, begin_s, end_s };
    // A provisional score makes way for the final one of its segment.
    const same = stream.scores.findLastIndex((one) => one.session === score.session && one.segment === score.segment);
    if (same >= 0) stream.scores[same] = found;
    else stream.scores.push(found);
    if (stream.scores.length > 1 && stream.scores.at(-2).end_s > end_s) stream.scores.sort((a, b) => a.end_s - b.end_s);
    if (stream.scores.length > SCORES) stream.scores.shift();
  }

  status(stream, status) {
    const changed = !stream.status || stream.status.state !== status.state || stream.status.reason !== status.reason;
    const when_s = unix(status);
    if (changed) {
      const last = stream.spells.at(-1);
      if (last) last.until_s = when_s;
      stream.spells.push({ state: status.state, since_s: when_s, until_s: Infinity });
      if (stream.spells.length > LOG) stream.spells.shift();
      this.note(stream, when_s, status.state, status);
    }
    stream.status = status;
  }

  episode(stream, episode) {
    const key = `${episode.session} ${episode.episode}`;
    const known = stream.episodes.get(key) ?? { key, said: [] };
    known.said.push(episode);
    // Where it lies on this clock: the event says both times of its last score.
    const last = stream.scores.findLast((s) => s.session === episode.session && s.seq === episode.last_score_seq);
    const end_s = last ? last.end_s : unix(episode);
    const first = stream.scores.find((s) => s.session === episode.session && s.seq >= episode.first_score_seq);
    known.since_s ??= first ? first.begin_s : end_s - (episode.t_end - episode.t_start);
    known.until_s = end_s;
    known.last = episode;
    known.open = episode.phase !== "end";
    stream.episodes.set(key, known);
  }

  gap(stream, gap) {
    stream.missed += gap.missed;
    this.note(stream, stream.heard_s || Date.now() / 1000, "gap", gap);
  }

  restart(stream, restart) {
    stream.restarts += 1;
    for (const episode of stream.episodes.values()) episode.open = episode.open && episode.last.session === restart.session;
    this.note(stream, stream.heard_s || Date.now() / 1000, "restart", restart);
  }

  stale(stream, stale) {
    stream.silent = true;
    this.note(stream, Date.now() / 1000, "stale", stale);
  }

  note(stream, when_s, what, about) {
    stream.log.push({ when_s, what, about });
    if (stream.log.length > LOG) stream.log.shift();
  }
}
