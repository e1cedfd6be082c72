// @ts-check
/** The text of a serial line: with carriage returns, backspaces and the few escapes that shells use. Pure. */

const ESCAPE = "\x1b";
/** Characters that are shown, and that wait to be shown. */
export const MOST_TEXT = 128 << 10;
const MOST_ESCAPE = 32;
const TAB = 8;
const LONGEST_LINE = 4096;
const FINAL = /[@-~]/;

/**
 * The text that came since the last look.
 *
 * @typedef {object} News
 * @property {boolean} isCleared whether all that was there before is gone
 * @property {string} finished whole lines, which never change any more
 * @property {string} line the last line, as it is now
 */

export class TerminalText {
  /** @type {string[]} */
  #finished = [];
  #finishedLength = 0;
  #line = "";
  #isCleared = false;
  #column = 0;
  #escape = "";

  /** @returns {News} at most the last `MOST_TEXT` characters of it */
  take() {
    this.#trim();
    const news = { isCleared: this.#isCleared, finished: this.#finished.join(""), line: this.#line };
    this.#forget();
    this.#isCleared = false;
    return news;
  }

  /** @param {string} text what came */
  write(text) {
    for (const sign of text) this.#take(sign);
  }

  /** @param {string} sign */
  #take(sign) {
    if (this.#escape || sign === ESCAPE) this.#takeEscape(sign);
    else if (sign === "\n") this.#newLine();
    else if (sign === "\r") this.#column = 0;
    else if (sign === "\b") this.#column = Math.max(0, this.#column - 1);
    else if (sign === "\t") this.#put(" ".repeat(TAB - (this.#column % TAB)));
    else if (sign >= " " && sign !== "\x7f") this.#put(sign);
  }

  /** @param {string} sign */
  #takeEscape(sign) {
    this.#escape += sign;
    const [, kind] = this.#escape;
    const isOver = kind === "[" ? this.#escape.length > 2 && FINAL.test(sign) : this.#escape.length > 1;
    if (!isOver && this.#escape.length < MOST_ESCAPE) return;
    const arguments_ = this.#escape.slice(2, -1);
    this.#escape = "";
    if (kind === "[") this.#control(sign, Number.parseInt(arguments_, 10) || 0);
  }

  /** @param {string} sign @param {number} count */
  #control(sign, count) {
    if (sign === "K") this.#erase(count);
    else if (sign === "C") this.#column = Math.min(LONGEST_LINE, this.#column + (count || 1));
    else if (sign === "D") this.#column = Math.max(0, this.#column - (count || 1));
    else if (sign === "J" && count === 2) this.#clear();
    else if (sign === "H") this.#column = 0;
  }

  /** @param {number} kind 0: behind the cursor; 1: before it; 2: all of the line */
  #erase(kind) {
    const line = this.#line;
    if (kind === 0) this.#line = line.slice(0, this.#column);
    else if (kind === 1) this.#line = " ".repeat(this.#column) + line.slice(this.#column);
    else this.#line = "";
  }

  #clear() {
    this.#forget();
    this.#line = "";
    this.#isCleared = true;
  }

  #forget() {
    this.#finished = [];
    this.#finishedLength = 0;
  }

  #newLine() {
    this.#finished.push(`${this.#line}\n`);
    this.#finishedLength += this.#line.length + 1;
    if (this.#finishedLength > 2 * MOST_TEXT) this.#trim();
    this.#line = "";
    this.#column = 0;
  }

  /** Drops the oldest lines until the rest fits. Many at once, as all that stay are moved each time. */
  #trim() {
    let count = 0;
    for (; this.#finishedLength > MOST_TEXT; count += 1) this.#finishedLength -= this.#finished[count]?.length ?? 0;
    this.#finished.splice(0, count);
  }

  /** @param {string} text */
  #put(text) {
    if (this.#column >= LONGEST_LINE) this.#newLine();
    const line = this.#line.padEnd(this.#column);
    const isAtEnd = line.length === this.#column; // to cut a long line at each character would take its length
    this.#line = isAtEnd ? line + text : line.slice(0, this.#column) + text + line.slice(this.#column + text.length);
    this.#column += text.length;
  }
}

/** @type {Record<string, string>} */
const KEYS = {
  Enter: "\r",
  Backspace: "\x7f",
  Escape: ESCAPE,
  ArrowUp: `${ESCAPE}[A`,
  ArrowDown: `${ESCAPE}[B`,
  ArrowRight: `${ESCAPE}[C`,
  ArrowLeft: `${ESCAPE}[D`,
};

/**
 * What a key sends to a serial line. Tab sends nothing: it leads to the next control of the page.
 *
 * @param {{ key: string, ctrlKey: boolean, altKey: boolean, metaKey: boolean }} event
 * @returns {string | undefined}
 */
export function bytesOfKey({ key, ctrlKey, altKey, metaKey }) {
  if (altKey || metaKey) return undefined;
  if (ctrlKey) return /^[a-z]$/i.test(key) ? String.fromCharCode(key.toUpperCase().charCodeAt(0) - 64) : undefined;
  return KEYS[key] ?? (key.length === 1 ? key : undefined);
}
