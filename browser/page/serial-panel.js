// @ts-check
/** The serial line of the PC: its output, and a line to type into it. */

import { element } from "./dom.js";
import { SerialOutput } from "./serial-output.js";
import { bytesOfKey, TerminalText } from "./terminal-text.js";

const ETX = "\x03";

export class SerialPanel {
  #terminal = new TerminalText();
  #isDue = false;
  #send;
  #shown;

  /** @param {(text: string) => void} send */
  constructor(send) {
    this.#send = send;
    this.output = element("pre", {
      class: "serial",
      tabindex: 0,
      role: "log",
      "aria-label": "Serial line",
      "aria-live": "off",
      onkeydown: (/** @type {KeyboardEvent} */ event) => this.#key(event),
    });
    this.#shown = new SerialOutput(this.output);
    this.input = element("input", {
      id: "serial-input",
      autocomplete: "off",
      autocapitalize: "none",
      spellcheck: "false",
    });
    this.root = element(
      "section",
      { class: "panel", "aria-labelledby": "serial-title" },
      element("h2", { id: "serial-title" }, "Serial line"),
      this.output,
      element(
        "form",
        { class: "bar", onsubmit: (/** @type {Event} */ event) => this.#submit(event) },
        element(
          "div",
          { class: "field grows" },
          element("label", { for: "serial-input" }, "Type a line"),
          this.input,
        ),
        element("button", { type: "submit" }, "Send"),
        element("button", { type: "button", onclick: () => this.#send(ETX) }, "Send Ctrl+C"),
      ),
    );
  }

  /** Takes what the PC wrote; it is drawn some thirty times a second at most. @param {string} text */
  write(text) {
    this.#terminal.write(text);
    if (this.#isDue) return;
    this.#isDue = true;
    setTimeout(() => this.#draw(), 30);
  }

  #draw() {
    this.#isDue = false;
    const { output } = this;
    const isAtEnd = output.scrollTop + output.clientHeight >= output.scrollHeight - 4;
    this.#shown.show(this.#terminal.take());
    if (isAtEnd) output.scrollTop = output.scrollHeight;
  }

  /** @param {Event} event */
  #submit(event) {
    event.preventDefault();
    this.#send(`${this.input.value}\r`);
    this.input.value = "";
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const bytes = bytesOfKey(event);
    if (bytes === undefined) return;
    event.preventDefault();
    this.#send(bytes);
  }
}
