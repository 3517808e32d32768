// One way to make a chart of time: axes, grid, cursor and size alike; what is drawn is the caller's.

import { colour, onTheme } from "./theme.js";
import { clock, day, signed } from "./words.js";

const FONT = '12px Inter, system-ui, "Segoe UI", Roboto, sans-serif';

export function moments(chart, splits) {
  const span = splits.length > 1 ? splits[1] - splits[0] : 1;
  return splits.map((time_s) => {
    const date = day(time_s);
    const midnight = clock(time_s) === "00:00:00";
    const text = span < 60 ? clock(time_s) : midnight || span >= 43200 ? date : clock(time_s, false);
    return text;
  });
}

export const logit = (value) => (value ? signed(value, 0) : "0");

// Whole numbers around zero, two or so a side.
export function even(most) {
  const step = Math.max(1, Math.round(most / 2));
  const side = Array.from({ length: Math.floor(most / step) }, (_, index) => (index + 1) * step);
  return [...side.map((value) => -value).reverse(), 0, ...side];
}

export function axes(format, splits, values = moments) {
  const plain = { stroke: () => colour("ink-3"), font: FONT, grid: { stroke: () => colour("line"), width: 1 } };
  const ticks = { stroke: () => colour("line"), width: 1, size: 4 };
  return [
    { ...plain, ticks, space: 84, size: 28, gap: 4, values },
    { ...plain, ticks: { show: false }, splits: typeof splits === "function" ? splits : () => splits, size: 44, gap: 6, values: (_, at) => at.map(format) },
  ];
}

export function chart(holder, height, options, data) {
  const width = () => Math.max(200, Math.floor(holder.clientWidth));
  const made = new uPlot(
    { width: width(), height, legend: { show: false }, padding: [8, 22, 0, 0], ...options }, data, holder,
  );
  new ResizeObserver(() => {
    if (made.width !== width()) made.setSize({ width: width(), height });
  }).observe(holder);
  onTheme(() => made.redraw(false, true));
  return made;
}

// Canvas rectangles in the units of the data.
export function box(u, from_s, until_s, low, high, scale = "y") {
  const left = Math.max(u.bbox.left, u.valToPos(from_s, "x", true));
  const right = Math.min(u.bbox.left + u.bbox.width, u.valToPos(until_s, "x", true));
  const top = u.valToPos(high, scale, true);
  return [left, top, right - left, u.valToPos(low, scale, true) - top];
}

export function hatch(context, x, y, width, height, ink) {
  context.save();
  context.beginPath();
  context.rect(x, y, width, height);
  context.clip();
  context.strokeStyle = ink;
  context.lineWidth = 1;
  context.globalAlpha = 0.55;
  context.beginPath();
  for (let offset = -height; offset < width; offset += 7) {
    context.moveTo(x + offset, y + height);
    context.lineTo(x + offset + height, y);
  }
  context.stroke();
  context.restore();
}
