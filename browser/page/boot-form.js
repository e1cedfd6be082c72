// @ts-check
/** The choices before a PC is switched on. */

import { DRIVES } from "./drives.js";
import { element } from "./dom.js";

const MEMORIES = [32, 64, 128, 256, 512, 1024];
const MEMORY = 128;
const PRIVATE =
  "This image is private. Whatever is kept stays in this browser, also when its lease has ended, until you press " +
  "“Forget what is kept”, which takes a lease, or clear the data of this site.";

/**
 * @typedef {object} Choice
 * @property {import("./drives.js").Drive | "auto"} drive
 * @property {number} memory MiB
 * @property {boolean} keep whether this browser keeps what is read and written
 * @property {File | undefined} state a saved state to go on from
 * @property {File | undefined} changes exported changes to begin with
 */

export class BootForm {
  #drive = select("boot-drive", [["auto", "by its content"], ...Object.entries(DRIVES)], "auto");
  #memory = select(
    "boot-memory",
    MEMORIES.map(count => [String(count), `${count} MiB`]),
    String(MEMORY),
  );
  #keep = element("input", { type: "checkbox", id: "boot-keep", checked: true });
  #state = element("input", { type: "file", id: "boot-state" });
  #changes = element("input", { type: "file", id: "boot-changes" });
  #button = element("button", { type: "submit", class: "primary" }, "Boot it");
  #forget;

  /**
   * @param {(choice: Choice) => unknown} boot
   * @param {() => unknown} forget
   * @param {boolean} isPrivate whether others may not have the image
   */
  constructor(boot, forget, isPrivate) {
    this.#forget = element("button", { type: "button", onclick: forget }, "Forget what is kept");
    this.root = element(
      "form",
      {
        class: "boot-form",
        onsubmit: (/** @type {Event} */ event) => {
          event.preventDefault();
          boot(this.choice);
        },
      },
      element(
        "div",
        { class: "bar" },
        field(this.#drive, "Put it in as"),
        field(this.#memory, "Memory"),
        this.#button,
      ),
      element(
        "p",
        { class: "check" },
        this.#keep,
        element("label", { for: "boot-keep" }, "Keep what is read and written in this browser, for the next time"),
      ),
      isPrivate && element("p", { class: "hint" }, PRIVATE),
      element(
        "details",
        { class: "more" },
        element("summary", {}, "Go on from something saved"),
        element(
          "div",
          { class: "bar" },
          field(this.#state, "A saved state of the PC"),
          field(this.#changes, "Exported changes of the disk"),
        ),
      ),
      element("p", { class: "forgets" }, this.#forget),
    );
  }

  /** @returns {Choice} */
  get choice() {
    return {
      drive: /** @type {Choice["drive"]} */ (this.#drive.value),
      memory: Number(this.#memory.value),
      keep: this.#keep.checked,
      state: this.#state.files?.[0],
      changes: this.#changes.files?.[0],
    };
  }

  /** Lets nothing be chosen while a PC is switched on. @param {boolean} isBusy */
  set busy(isBusy) {
    this.#button.disabled = this.#forget.disabled = isBusy;
  }

  focus() {
    this.#button.focus();
  }

  /** Drops the files, once they were taken. */
  clear() {
    this.#state.value = this.#changes.value = "";
  }
}

/** @param {HTMLElement} control @param {string} label */
function field(control, label) {
  return element("div", { class: "field" }, element("label", { for: control.id }, label), control);
}

/** @param {string} id @param {string[][]} options @param {string} chosen */
function select(id, options, chosen) {
  return element(
    "select",
    { id },
    options.map(([value, text]) => element("option", { value, selected: value === chosen }, text)),
  );
}
