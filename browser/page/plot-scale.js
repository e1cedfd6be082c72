// @ts-check
/** Scales and words of plots. */

const STEPS = [1, 2, 2.5, 5, 10];
const PREFIXES = ["", "k", "M", "G", "T"];

/** @param {number} most the largest value @returns {number} the end of an axis: a round number that is not smaller */
export function axisEnd(most) {
  if (!(most > 0) || !Number.isFinite(most)) return 1;
  const power = 10 ** Math.floor(Math.log10(most));
  return (STEPS.find(step => step * power >= most * (1 - 1e-9)) ?? 10) * power;
}

/** @param {number} value @param {string} unit @returns {string} such as `1.5 MB/s` */
export function valueText(value, unit) {
  let scaled = value;
  let prefix = 0;
  const isPrefixed = /^(?:B|req|bit)/.test(unit);
  for (; isPrefixed && scaled >= 1000 && prefix < PREFIXES.length - 1; prefix += 1) scaled /= 1000;
  const digits = scaled >= 100 || Number.isInteger(scaled) ? 0 : scaled >= 10 ? 1 : 2;
  return `${Number(scaled.toFixed(digits))} ${PREFIXES[prefix]}${unit}`.trim();
}

/**
 * @param {[number, number][]} points
 * @param {number} start
 * @returns {[number, number][]} those from a time on, with the one before, where the line comes from
 */
export function since(points, start) {
  const first = points.findIndex(([time]) => time >= start);
  return first < 0 ? [] : points.slice(Math.max(0, first - 1));
}

/**
 * The text alternative of a plot.
 *
 * @param {{name: string, points: [number, number][]}[]} series
 * @param {{unit: string, seconds: number, now: number}} options
 */
export function plotText(series, { unit, seconds, now }) {
  const lines = series.map(({ name, points }) => {
    const values = since(points, now - seconds * 1000).map(([, value]) => value);
    if (values.length === 0) return `${name}: nothing`;
    const most = values.reduce((one, other) => Math.max(one, other), 0);
    return `${name}: ${valueText(values.at(-1) ?? 0, unit)} at last, ${valueText(most, unit)} at most`;
  });
  return `Last ${seconds} seconds. ${lines.join("; ")}.`;
}
