// Dark or light: as the system has it until somebody chooses; charts are drawn again in the new colours.

import { at } from "./words.js";

const KEY = "sadstream-theme";
const system = matchMedia("(prefers-color-scheme: light)");
const watchers = [];

export function onTheme(draw) {
  watchers.push(draw);
}

export function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

function chosen() {
  const kept = localStorage.getItem(KEY);
  return kept === "dark" || kept === "light" ? kept : system.matches ? "light" : "dark";
}

function wear() {
  const theme = chosen();
  document.documentElement.dataset.theme = theme;
  const button = at("theme");
  button.textContent = theme === "dark" ? "Light" : "Dark";
  button.setAttribute("aria-label", theme === "dark" ? "Light theme" : "Dark theme");
  for (const draw of watchers) draw();
}

export function startTheme() {
  at("theme").addEventListener("click", () => {
    localStorage.setItem(KEY, chosen() === "dark" ? "light" : "dark");
    wear();
  });
  system.addEventListener("change", wear);
  wear();
}
