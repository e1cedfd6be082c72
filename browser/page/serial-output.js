// @ts-check
/** The output of a serial line in the document: finished lines are added, and never drawn again; the oldest go. */

import { element } from "./dom.js";
import { MOST_TEXT } from "./terminal-text.js";

const PIECE = 8 << 10;

export class SerialOutput {
  #line = element("span", { class: "piece" });
  /** @type {HTMLElement[]} */
  #pieces = [];
  #length = 0;

  /** @param {HTMLElement} place */
  constructor(place) {
    place.append(this.#line);
  }

  /** @param {import("./terminal-text.js").News} news */
  show({ isCleared, finished, line }) {
    if (isCleared) this.#drop(0);
    if (finished) this.#add(finished);
    if (this.#line.textContent !== line) this.#line.textContent = line;
  }

  /** @param {string} text whole lines */
  #add(text) {
    for (const part of partsOf(text)) {
      const last = this.#pieces.at(-1);
      if (last && (last.textContent?.length ?? 0) < PIECE) last.append(part);
      else this.#begin(part);
    }
    this.#length += text.length;
    this.#drop(MOST_TEXT);
  }

  /** @param {string} text */
  #begin(text) {
    const piece = element("span", { class: "piece" }, text);
    this.#line.before(piece);
    this.#pieces.push(piece);
  }

  /** Drops the oldest pieces until the rest fits, but for the last one. @param {number} most */
  #drop(most) {
    while (this.#length > most && (most === 0 || this.#pieces.length > 1)) {
      const [oldest] = this.#pieces.splice(0, 1);
      this.#length -= oldest?.textContent?.length ?? this.#length;
      oldest?.remove();
    }
  }
}

/**
 * Cuts whole lines into parts of whole lines.
 * @param {string} text
 * @returns {string[]} of about `PIECE` characters each
 */
function partsOf(text) {
  const parts = [];
  for (let at = 0; at < text.length;) {
    const cut = text.indexOf("\n", at + PIECE) + 1;
    const end = cut === 0 ? text.length : cut;
    parts.push(text.slice(at, end));
    at = end;
  }
  return parts;
}
