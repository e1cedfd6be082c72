// @ts-check
/** Bytes as a table of digits and text, or as text alone. */

import { element } from "./dom.js";
import { asciiOf, rowsOf } from "./hex-rows.js";

/** Bytes of a page of text. */
export const TEXT_PAGE = 4096;
/** All that is not seen, or moves other text about, but the end of a line and the tabulator. */
const UNSEEN = /(?![\n\t])[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}]/gu;
const STACKED_MARKS = /(\p{M}{2})\p{M}+/gu;

/**
 * @typedef {object} Options
 * @property {number} start the offset of the first byte
 * @property {number} width digits of an offset
 * @property {number} perRow
 * @property {{offset: number, length: number}} mark bytes that are marked
 */

/** @param {Uint8Array} bytes @param {Options} options */
export function bytesTable(bytes, { start, width, perRow, mark }) {
  const rows = rowsOf(bytes, start, width, perRow).map(({ offset, digits, text }, number) => {
    const first = start + number * perRow;
    const [from, to] = [mark.offset - first, mark.offset + mark.length - first].map(at =>
      Math.min(Math.max(0, at), digits.length),
    );
    const pieces = pieceWith(from ?? 0, to ?? 0);
    return element(
      "tr",
      {},
      element("th", { scope: "row" }, offset),
      element("td", { class: "digits" }, pieces(digits, " ")),
      element("td", { class: "signs" }, pieces([...text], "")),
    );
  });
  return element(
    "table",
    {},
    element(
      "thead",
      { class: "unseen" },
      element("tr", {}, ...["Offset", "Bytes", "Text"].map(name => element("th", { scope: "col" }, name))),
    ),
    element("tbody", {}, rows),
  );
}

/** @param {number} from @param {number} to */
function pieceWith(from, to) {
  return (/** @type {string[]} */ items, /** @type {string} */ between) => {
    if (from >= to) return [items.join(between)];
    const [before, marked, after] = [items.slice(0, from), items.slice(from, to), items.slice(to)];
    return [
      before.length ? before.join(between) + between : "",
      element("mark", {}, marked.join(between)),
      after.length ? between + after.join(between) : "",
    ];
  };
}

/** @param {Uint8Array} bytes @param {string} encoding as TextDecoder names it */
export function textBlock(bytes, encoding) {
  return element("pre", { dir: "ltr" }, textOf(bytes, encoding));
}

/** @param {Uint8Array} bytes @param {string} encoding @returns {string} a dot for all that cannot be shown */
export function textOf(bytes, encoding) {
  if (encoding === "ascii") return asciiOf(bytes);
  const text = new TextDecoder(encoding).decode(bytes).replaceAll("\r\n", "\n");
  return text.replace(UNSEEN, "·").replace(STACKED_MARKS, "$1");
}
