"use strict";
// Follows the embedded sound through the drawings, and lets a click or a button move it.
const audio = document.querySelector("audio");
const rows = [...document.querySelectorAll("svg.row")].map((svg) => ({
  svg,
  sound: svg.querySelector("svg.sound .ground"),
  head: svg.querySelector("line.head"),
  start: Number(svg.dataset.start),
  seconds: Number(svg.dataset.seconds),
}));
const units = 1000; // of a row's width
let shown = null;

function follow() {
  for (const row of rows) {
    const share = (audio.currentTime - row.start) / row.seconds;
    const here = share >= 0 && share < 1;
    const x = here ? share * units : -1;
    row.head.setAttribute("x1", x);
    row.head.setAttribute("x2", x);
    if (here && shown !== row) {
      shown = row;
      if (!audio.paused) row.svg.scrollIntoView({ block: "nearest" });
    }
  }
  if (!audio.paused) requestAnimationFrame(follow);
}

function play(seconds) {
  audio.currentTime = seconds;
  audio.play().catch(() => {}); // paused again before it began
}

for (const row of rows) {
  row.svg.addEventListener("click", (event) => {
    const box = row.sound.getBoundingClientRect();
    const share = (event.clientX - box.left) / box.width;
    if (share >= 0 && share < 1) play(row.start + share * row.seconds);
  });
}
for (const button of document.querySelectorAll("button[data-seconds]")) {
  button.addEventListener("click", () => play(Number(button.dataset.seconds)));
}
for (const happening of ["play", "seeked", "timeupdate"]) audio.addEventListener(happening, follow);
document.body.classList.add("plays");
