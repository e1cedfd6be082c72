// @ts-check
/** Text and figures as people read them. */

const REPLACEMENT = "\u{FFFD}";
// Control characters, the line and paragraph separators, and what turns the direction of the text around it.
// eslint-disable-next-line no-control-regex
const UNPRINTABLE = /[\u0000-\u001F\u007F-\u009F\u2028\u2029\u202A-\u202E\u2066-\u2069\uFEFF]/g;
// Joiners between marks do not end their stack.
const STACKED_MARKS = /(\p{M}\p{Cf}*\p{M})(?:\p{Cf}*\p{M})+/gu;
const SEEN = /[^\p{Default_Ignorable_Code_Point}\p{M}\p{Z}\u2800]/u;
const UNITS = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
const whole = new Intl.NumberFormat("en");
const moment = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

/**
 * A text from outside as one line: nothing in it draws outside of its place, or turns its neighbours.
 * @param {unknown} text
 * @param {number} [most] characters
 * @returns {string} empty where nothing of it would be seen
 */
export function shown(text, most = 2000) {
  const line = String(text ?? "")
    .slice(0, 4 * most)
    .replace(/\s+/g, " ")
    .trim()
    .replace(UNPRINTABLE, REPLACEMENT)
    .replace(STACKED_MARKS, "$1");
  if (!SEEN.test(line)) return "";
  const signs = Array.from(line);
  return signs.length > most ? `${signs.slice(0, most - 1).join("")}…` : line;
}

/** @param {number} count @returns {string} `1.5 GiB` */
export function byteSize(count) {
  if (!Number.isFinite(count) || count < 0) return "unknown";
  if (count < 1024) return `${count} ${count === 1 ? "byte" : "bytes"}`;
  let value = count;
  let power = 0;
  for (; value >= 1023.5 && power < UNITS.length; power += 1) value /= 1024;
  return `${value < 100 ? Number(value.toFixed(1)) : Math.round(value)} ${UNITS[power - 1]}`;
}

/** @param {number} count @returns {string} `1,610,612,736 bytes` */
export function exactBytes(count) {
  return `${whole.format(count)} ${count === 1 ? "byte" : "bytes"}`;
}

/** @param {number} count @param {string} one @param {string} [many] @returns {string} `1 image`, `2 images` */
export function counted(count, one, many = `${one}s`) {
  return `${whole.format(count)} ${count === 1 ? one : many}`;
}

/** @param {string | undefined} text RFC 3339 @returns {string} in the reader's own time and language */
export function dateTime(text) {
  const time = new Date(text ?? NaN);
  return Number.isNaN(time.getTime()) || time.getTime() === 0 ? "unknown" : moment.format(time);
}
