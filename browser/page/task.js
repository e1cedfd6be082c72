// @ts-check
/** Work that takes long: a button that begins it, one that ends it, its progress, and what came of it. */

import { element, fill } from "./dom.js";
import { byteSize } from "./text.js";

const TELL_MILLISECONDS = 100;

/**
 * @typedef {(signal: AbortSignal, onProgress: (done: number, total: number) => void) => Promise<Outcome>} Work
 * @typedef {{text: string, isBad?: boolean, more?: import("./dom.js").Child[]}} Outcome
 */

export class Task {
  #announce;
  #begin;
  #cancel;
  #progress;
  #figures = element("span", { class: "figures" });
  #outcome = element("div", { class: "outcome" });
  /** @type {AbortController | undefined} */
  #running;

  /**
   * @param {string} name for ids and labels, such as `Search`
   * @param {{announce: (text: string) => void, submits?: boolean, act?: () => unknown}} options `submits`: the button
   *   sends the form that it is in; else it calls `act`
   */
  constructor(name, { announce, submits = false, act }) {
    this.#announce = announce;
    this.#begin = element("button", { type: submits ? "submit" : "button", onclick: act }, name);
    this.#cancel = element("button", { type: "button", disabled: true, onclick: () => this.stop() }, "Cancel");
    this.#progress = element("progress", { max: 1, value: 0, "aria-label": `${name}: progress` });
    this.#progress.hidden = true;
  }

  get buttons() {
    return [this.#begin, this.#cancel];
  }

  get report() {
    return element("div", { class: "report" }, this.#progress, this.#figures, this.#outcome);
  }

  get isRunning() {
    return this.#running !== undefined;
  }

  stop() {
    this.#running?.abort();
  }

  /** Does the work, unless some is under way, and shows what came of it. @param {Work} work */
  async run(work) {
    if (this.#running) return;
    const running = (this.#running = new AbortController());
    this.#show(true);
    this.#tell({ text: "" });
    try {
      this.#tell(await work(running.signal, this.#noting()));
    } catch (error) {
      this.#tell(running.signal.aborted ? { text: "Cancelled." } : failure(error));
    } finally {
      this.#running = undefined;
      this.#show(false);
    }
  }

  /** @param {boolean} isRunning */
  #show(isRunning) {
    const hadFocus = [this.#begin, this.#cancel, this.#outcome].some(one => one.contains(document.activeElement));
    this.#begin.disabled = isRunning;
    this.#cancel.disabled = !isRunning;
    this.#progress.hidden = !isRunning;
    if (!isRunning) this.#figures.textContent = "";
    if (hadFocus) (isRunning ? this.#cancel : this.#begin).focus(); // it is lost with a button
  }

  #noting() {
    const began = performance.now();
    let told = -Infinity;
    return (/** @type {number} */ done, /** @type {number} */ total) => {
      const now = performance.now();
      if (now - told < TELL_MILLISECONDS) return;
      told = now;
      this.#progress.value = total > 0 ? done / total : 1;
      const rate = byteSize(Math.round((done * 1000) / Math.max(1, now - began)));
      this.#figures.textContent = `${byteSize(done)} of ${byteSize(total)}, ${rate}/s`;
    };
  }

  /** @param {Outcome} outcome */
  #tell({ text, isBad = false, more = [] }) {
    fill(this.#outcome, text && element("p", { class: isBad ? "error" : "" }, text), more);
    if (text) this.#announce(text);
  }
}

/** @param {unknown} error @returns {Outcome} */
function failure(error) {
  return { text: `It failed: ${/** @type {Error} */ (error)?.message ?? error}`, isBad: true };
}
