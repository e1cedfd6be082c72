// @ts-check
/** The bytes of a disk, page by page, as digits and as text. */

import { element, fill } from "./dom.js";
import { bytesTable, textBlock, TEXT_PAGE } from "./hex-table.js";
import { offsetWidth, pageOf } from "./hex-rows.js";
import { hexOffset, parseOffset } from "./offsets.js";
import { choice, field, section } from "./panel.js";
import { wordsOf } from "./reading-problem.js";

const ROWS = 32;
/** Widths of a row in bytes, and the characters that it takes beside the offset. @type {[number, number][]} */
const WIDTHS = [
  [16, 65],
  [8, 33],
  [4, 17],
];
const NARROWEST = 4;

/**
 * @param {Pick<import("./panel.js").Parts, "disk" | "layout" | "context">} parts
 * @returns {import("./panel.js").Panel & {goTo: import("./panel.js").Parts["goTo"]}}
 */
export function hexPanel(parts) {
  const view = new BytesView(parts);
  return {
    section: view.section,
    goTo: (offset, length = 0) => view.goTo(offset, length, true),
    stop: () => view.stop(),
  };
}

class BytesView {
  #disk;
  #sectorSize;
  #announce;
  #width;
  #place = { start: 0, length: 0 };
  #mark = { offset: 0, length: 0 };
  /** 0: there was no room so far. */
  #perRow = 0;
  /** @type {AbortController | undefined} */
  #reading;
  #observer;
  #field = element("input", {
    id: "go-to",
    type: "text",
    autocomplete: "off",
    autocapitalize: "off",
    spellcheck: "false",
    "aria-describedby": "go-to-hint go-to-error",
  });
  #error = element("p", { class: "error", id: "go-to-error", hidden: true });
  #form = choice("bytes-form", [
    ["hex", "Digits and text"],
    ["utf-8", "Text, UTF-8"],
    ["windows-1252", "Text, Windows-1252"],
    ["utf-16le", "Text, UTF-16"],
  ]);
  #where = element("p", { class: "where" });
  #bytes = element("div", {
    class: "bytes",
    id: "bytes",
    tabindex: "0",
    role: "region",
    "aria-label": "Bytes of the disk",
    "aria-describedby": "bytes-hint",
  });

  /** @param {Pick<import("./panel.js").Parts, "disk" | "layout" | "context">} parts */
  constructor({ disk, layout, context }) {
    this.#disk = disk;
    this.#sectorSize = layout.sectorSize;
    this.#announce = context.announce;
    this.#width = offsetWidth(disk.size);
    this.#form.addEventListener("change", () => this.#show(this.#place.start));
    this.#bytes.addEventListener("keydown", event => this.#press(event));
    this.section = this.#build();
    this.#observer = new ResizeObserver(() => this.#fit());
    this.#observer.observe(this.#bytes); // calls at once when the bytes have a place, and they are read
  }

  stop() {
    this.#observer.disconnect();
    this.#reading?.abort();
  }

  /**
   * @param {number} offset
   * @param {number} length of what is marked
   * @param {boolean} [takesFocus]
   */
  async goTo(offset, length, takesFocus = false) {
    this.#mark = { offset, length };
    await this.#show(offset);
    if (!takesFocus) return;
    this.section.scrollIntoView({ block: "start" });
    this.#bytes.focus({ preventScroll: true });
  }

  #build() {
    const last = this.#disk.size - 1;
    return section(
      "hex",
      "Bytes",
      element(
        "form",
        { class: "bar", novalidate: true, onsubmit: (/** @type {Event} */ event) => this.#go(event) },
        field("Go to", this.#field, "grows"),
        element("button", { type: "submit" }, "Go"),
        field("Shown as", this.#form),
      ),
      element("p", { class: "hint", id: "go-to-hint" }, "A byte: 4096, 0x1000, 64 MiB; or a sector: lba:2048."),
      this.#error,
      element(
        "div",
        { class: "bar pager", role: "group", "aria-label": "Pages" },
        this.#button("First", () => 0),
        this.#button("Previous", () => this.#place.start - this.#pageSize),
        this.#button("Next", () => this.#place.start + this.#pageSize),
        this.#button("Last", () => last),
      ),
      this.#where,
      this.#bytes,
      element(
        "p",
        { class: "hint", id: "bytes-hint" },
        "Keys in the bytes: Page Up, Page Down, arrows up and down, Home, End; G to go to a place.",
      ),
    );
  }

  /** @param {string} text @param {() => number} place */
  #button(text, place) {
    return element("button", { type: "button", "aria-controls": "bytes", onclick: () => this.#turn(place()) }, text);
  }

  get #pageSize() {
    return this.#form.value === "hex" ? ROWS * this.#perRow : TEXT_PAGE;
  }

  /** @param {number} offset */
  async #turn(offset) {
    await this.#show(Math.max(0, Math.min(offset, this.#disk.size - 1)));
    this.#announce(this.#where.textContent ?? "");
  }

  /** @param {Event} event */
  #go(event) {
    event.preventDefault();
    const offset = parseOffset(this.#field.value, this.#disk.size, this.#sectorSize);
    this.#error.hidden = offset !== undefined;
    this.#field.setAttribute("aria-invalid", String(offset === undefined));
    this.#error.textContent =
      offset === undefined ? `That is no place on this disk of ${this.#disk.size} bytes.` : "";
    if (offset === undefined) return void this.#announce(this.#error.textContent);
    this.goTo(offset, 1).then(() => this.#announce(this.#where.textContent ?? ""));
  }

  /** @param {KeyboardEvent} event */
  #press(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const { start } = this.#place;
    /** @type {Record<string, () => unknown>} */
    const keys = {
      PageDown: () => this.#turn(start + this.#pageSize),
      PageUp: () => this.#turn(start - this.#pageSize),
      ArrowDown: () => this.#turn(start + this.#perRow),
      ArrowUp: () => this.#turn(start - this.#perRow),
      Home: () => this.#turn(0),
      End: () => this.#turn(this.#disk.size - 1),
      g: () => this.#field.focus(),
    };
    const act = keys[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  }

  /** Takes as many bytes in a row as there is room for. */
  #fit() {
    const style = getComputedStyle(this.#bytes);
    const character = Number.parseFloat(style.fontSize) * 0.605;
    const room = Math.floor((this.#bytes.clientWidth - 8) / character) - this.#width;
    const perRow = WIDTHS.find(([, characters]) => characters <= room)?.[0] ?? NARROWEST;
    if (perRow === this.#perRow) return;
    this.#perRow = perRow;
    this.#show(this.#place.start);
  }

  /** @param {number} offset */
  async #show(offset) {
    this.#reading?.abort();
    const reading = (this.#reading = new AbortController());
    const place = pageOf(offset, this.#pageSize, this.#disk.size);
    this.#place = place;
    this.#bytes.setAttribute("aria-busy", "true");
    try {
      const bytes = await this.#disk.read(place.start, place.length, { signal: reading.signal });
      if (!reading.signal.aborted) this.#put(bytes);
    } catch (error) {
      if (!reading.signal.aborted) this.#fail(error, offset);
    } finally {
      if (this.#reading === reading) this.#bytes.setAttribute("aria-busy", "false");
    }
  }

  /** @param {Uint8Array} bytes */
  #put(bytes) {
    const { start, length } = this.#place;
    const sector = Math.floor(start / this.#sectorSize);
    const [first, last] = [start, start + length - 1].map(offset => `0x${hexOffset(offset, this.#width)}`);
    this.#where.textContent = length ? `Bytes ${first} to ${last}, from LBA ${sector} on` : "The disk is empty.";
    const options = { start, width: this.#width, perRow: this.#perRow, mark: this.#mark };
    const form = this.#form.value;
    fill(this.#bytes, form === "hex" ? bytesTable(bytes, options) : textBlock(bytes, form));
  }

  /** @param {unknown} error @param {number} offset */
  #fail(error, offset) {
    const { title, text } = wordsOf(error);
    const again = element("button", { type: "button", onclick: () => this.#show(offset) }, "Try again");
    fill(this.#bytes, element("p", { class: "error" }, `${title}. ${text} `, again));
    this.#announce(title);
  }
}
