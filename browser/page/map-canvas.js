// @ts-check
/** The map of a disk on a canvas: a strip for each kind of thing, a column for each part of the disk. */

const GAP = 6;
const LEAST_SHOWN = 0.25;

/**
 * @typedef {object} Strip
 * @property {string} colour a property of the style sheet, such as `--plot-1`
 * @property {Float64Array} parts how much of each column is covered, from 0 to 1
 */

/** @param {HTMLCanvasElement} canvas @returns {number} columns, one for each pixel of its width */
export function columnsOf(canvas) {
  return Math.max(1, canvas.clientWidth);
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {Strip[]} strips
 */
export function drawMap(canvas, strips) {
  const brush = canvas.getContext("2d");
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  if (!brush || width === 0 || strips.length === 0) return;
  const scale = globalThis.devicePixelRatio || 1;
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  brush.setTransform(scale, 0, 0, scale, 0, 0);
  const style = getComputedStyle(canvas);
  const high = (height - GAP * (strips.length - 1)) / strips.length;
  strips.forEach((strip, number) => {
    const top = number * (high + GAP);
    brush.globalAlpha = 1;
    brush.fillStyle = style.getPropertyValue("--empty").trim() || "#d0d7de";
    brush.fillRect(0, top, width, high);
    brush.fillStyle = style.getPropertyValue(strip.colour).trim() || style.color;
    drawStrip(brush, strip.parts, width, top, high);
  });
}

/**
 * A column that has a little of something is seen: a single block of 2 TiB as well.
 *
 * @param {CanvasRenderingContext2D} brush
 * @param {Float64Array} parts
 * @param {number} width
 * @param {number} top
 * @param {number} high
 */
function drawStrip(brush, parts, width, top, high) {
  const wide = width / parts.length;
  parts.forEach((part, column) => {
    if (part <= 0) return;
    brush.globalAlpha = LEAST_SHOWN + (1 - LEAST_SHOWN) * part;
    brush.fillRect(column * wide, top, wide, high);
  });
}
