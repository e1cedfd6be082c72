// @ts-check
/** The screen of the PC. It gets the keyboard by a click or Enter, and gives it back by Ctrl+Alt+G. */

import { element } from "./dom.js";

const RELEASE = "g";
const HINT = "Click the screen, or press Enter on it, to type into the PC. Ctrl+Alt+G gives the keyboard back.";
const CAUGHT = "The PC has the keyboard. Ctrl+Alt+G gives it back.";

export class ScreenPanel {
  #hint = element("p", { class: "hint", id: "screen-hint" }, HINT);
  #listen;
  #announce;
  #isCaught = false;
  #ends = new AbortController();

  /**
   * @param {(hears: boolean) => void} listen lets the PC hear the keyboard, or not
   * @param {(text: string) => void} announce
   */
  constructor(listen, announce) {
    this.#listen = listen;
    this.#announce = announce;
    /** v86 draws text into the first element, graphics into the second. */
    this.container = element("div", { class: "pc-screen" }, element("div", {}), element("canvas", {}));
    this.frame = element(
      "div",
      {
        class: "pc-frame",
        tabindex: 0,
        role: "application",
        "aria-label": "Screen of the PC",
        "aria-describedby": "screen-hint",
        onclick: () => this.catch(),
        onblur: () => this.release(),
      },
      this.container,
    );
    this.root = element("div", { class: "pc-display" }, this.frame, this.#hint);
    const { signal } = this.#ends;
    this.frame.addEventListener("keydown", event => this.#key(event), { signal });
    addEventListener("keydown", event => this.#releaseKey(event), { capture: true, signal });
  }

  /** Gives keyboard and mouse to the PC. */
  catch() {
    if (this.#isCaught) return;
    this.#isCaught = true;
    this.frame.focus({ preventScroll: true });
    this.#show();
  }

  /** Gives them back to the page. */
  release() {
    if (!this.#isCaught) return;
    this.#isCaught = false;
    if (document.pointerLockElement) document.exitPointerLock();
    this.#show();
  }

  /** @returns {Promise<void>} */
  async fullScreen() {
    await this.frame.requestFullscreen();
    this.catch();
  }

  end() {
    this.#ends.abort();
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (this.#isCaught || event.key !== "Enter") return;
    event.preventDefault();
    event.stopPropagation();
    this.catch();
  }

  /** Before v86, which listens to the whole window. @param {KeyboardEvent} event */
  #releaseKey(event) {
    if (!this.#isCaught || !event.ctrlKey || !event.altKey || event.key.toLowerCase() !== RELEASE) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    this.release();
  }

  #show() {
    this.#listen(this.#isCaught);
    this.frame.classList.toggle("caught", this.#isCaught);
    this.#hint.textContent = this.#isCaught ? CAUGHT : HINT;
    this.#announce(this.#isCaught ? CAUGHT : "The page has the keyboard again.");
  }
}
