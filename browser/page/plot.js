// @ts-check
/** Small plots of values over the last minutes, on a canvas with a text alternative. */

import { axisEnd, plotText, since, valueText } from "./plot-scale.js";

const MARGIN = { left: 8, right: 8, top: 22, bottom: 8 };
const DASHES = [[], [6, 3], [2, 3], [10, 3, 2, 3]];
/** Colours that page.css may name otherwise for each scheme. */
const FALLBACKS = ["#0550ae", "#8250df", "#116329", "#953800"];

/**
 * @typedef {object} Series
 * @property {string} name
 * @property {[number, number][]} points milliseconds as `now` counts them, and values, in the order of time
 * @property {"line" | "dots"} [kind] default: line
 */

/**
 * Draws series, and says in `aria-label` what they show. Series differ in their dashes as well as in their colours
 * (`--plot-1` to `--plot-4` of the style sheet).
 *
 * @param {HTMLCanvasElement} canvas with a size given by the style sheet
 * @param {Series[]} series
 * @param {{unit: string, seconds: number, now?: number}} options `unit` such as `B/s`, `ms`; `now`: the right edge
 */
export function plot(canvas, series, { unit, seconds, now = performance.now() }) {
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", plotText(series, { unit, seconds, now }));
  const brush = canvas.getContext("2d");
  const box = fitted(canvas);
  if (!brush || box.width <= 0) return;
  const style = getComputedStyle(canvas);
  const start = now - seconds * 1000;
  const shown = series.map(one => ({ ...one, points: since(one.points, start) }));
  const most = shown.flatMap(({ points }) => points).reduce((least, [, value]) => Math.max(least, value), 0);
  const end = axisEnd(most);
  const place = placing(box, start, now, end);
  brush.setTransform(box.scale, 0, 0, box.scale, 0, 0);
  brush.clearRect(0, 0, box.width, box.height);
  drawFrame(brush, box, style, valueText(end, unit));
  shown.forEach((one, number) => drawSeries(brush, one, number, place, colour(style, number)));
  drawNames(brush, box, style, series);
}

/**
 * @typedef {{width: number, height: number, scale: number}} Box
 * @typedef {CanvasRenderingContext2D} Brush
 */

/** Makes the bitmap as fine as the screen. @param {HTMLCanvasElement} canvas @returns {Box} */
function fitted(canvas) {
  const [width, height, scale] = [canvas.clientWidth, canvas.clientHeight, globalThis.devicePixelRatio || 1];
  const [wide, high] = [Math.round(width * scale), Math.round(height * scale)];
  if (canvas.width !== wide) canvas.width = wide;
  if (canvas.height !== high) canvas.height = high;
  return { width, height, scale };
}

/** @param {Box} box @param {number} start @param {number} now @param {number} end of the axis */
function placing({ width, height }, start, now, end) {
  const [wide, high] = [width - MARGIN.left - MARGIN.right, height - MARGIN.top - MARGIN.bottom];
  return (/** @type {[number, number]} */ [time, value]) => ({
    x: MARGIN.left + (wide * (time - start)) / (now - start),
    y: MARGIN.top + high * (1 - value / end),
  });
}

/** @param {CSSStyleDeclaration} style @param {number} number */
function colour(style, number) {
  const which = number % FALLBACKS.length;
  return style.getPropertyValue(`--plot-${which + 1}`).trim() || FALLBACKS[which] || "";
}

/** @param {Brush} brush @param {Box} box @param {CSSStyleDeclaration} style @param {string} text */
function drawFrame(brush, { width, height }, style, text) {
  brush.setLineDash([]);
  brush.strokeStyle = style.getPropertyValue("--line").trim() || "#d0d7de";
  brush.lineWidth = 1;
  brush.beginPath();
  for (const y of [MARGIN.top + 0.5, height - MARGIN.bottom + 0.5]) {
    brush.moveTo(MARGIN.left, y);
    brush.lineTo(width - MARGIN.right, y);
  }
  brush.stroke();
  brush.fillStyle = style.color;
  brush.font = `12px ${style.fontFamily}`;
  brush.textAlign = "left";
  brush.fillText(text, MARGIN.left, MARGIN.top - 7);
}

/**
 * @param {Brush} brush
 * @param {Series} series
 * @param {number} number
 * @param {(point: [number, number]) => {x: number, y: number}} place
 * @param {string} colour
 */
function drawSeries(brush, { points, kind }, number, place, colour) {
  brush.strokeStyle = brush.fillStyle = colour;
  brush.lineWidth = 1.5;
  brush.setLineDash(DASHES[number % DASHES.length] ?? []);
  brush.beginPath();
  for (const point of points) {
    const { x, y } = place(point);
    if (kind === "dots") drawDot(brush, number, x, y);
    else brush.lineTo(Math.max(MARGIN.left, x), y);
  }
  if (kind !== "dots") brush.stroke();
}

/** @param {Brush} brush @param {number} number @param {number} x @param {number} y */
function drawDot(brush, number, x, y) {
  if (number % 2 === 1) brush.fillRect(x - 2, y - 2, 4, 4);
  else {
    brush.beginPath();
    brush.arc(x, y, 2, 0, 2 * Math.PI);
    brush.fill();
  }
}

/** @param {Brush} brush @param {Box} box @param {CSSStyleDeclaration} style @param {Series[]} series */
function drawNames(brush, { width }, style, series) {
  brush.font = `12px ${style.fontFamily}`;
  brush.textAlign = "right";
  let right = width - MARGIN.right;
  for (const [number, { name }] of [...series.entries()].reverse()) {
    brush.fillStyle = style.color;
    brush.fillText(name, right, MARGIN.top - 7);
    right -= brush.measureText(name).width + 6;
    brush.strokeStyle = colour(style, number);
    brush.lineWidth = 2;
    brush.setLineDash(DASHES[number % DASHES.length] ?? []);
    brush.beginPath();
    brush.moveTo(right - 18, MARGIN.top - 11);
    brush.lineTo(right, MARGIN.top - 11);
    brush.stroke();
    right -= 28;
  }
}
