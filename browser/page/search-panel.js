// @ts-check
/** Search for bytes within a range of the disk. */

import { element } from "./dom.js";
import { hexOffset, parseOffset } from "./offsets.js";
import { choice, field, section } from "./panel.js";
import { parsePattern, search } from "./search.js";
import { Task } from "./task.js";
import { byteSize } from "./text.js";

const MIB = 1 << 20;
const LENGTHS = [1, 16, 64, 256, 1024].map(count => count * MIB);
const USUAL_LENGTH = 64 * MIB;

/** @param {import("./panel.js").Parts} parts @returns {import("./panel.js").Panel} */
export function searchPanel(parts) {
  const panel = new SearchPanel(parts);
  return { section: panel.section, stop: () => panel.stop() };
}

class SearchPanel {
  #parts;
  #task;
  #pattern = element("input", { id: "pattern", type: "text", autocomplete: "off", spellcheck: "false" });
  #kind = choice("pattern-kind", [
    ["text", "text (UTF-8)"],
    ["hex", "hex digits"],
  ]);
  #from = element("input", { id: "search-from", type: "text", value: "0", autocomplete: "off", spellcheck: "false" });
  #length = choice(
    "search-length",
    LENGTHS.map(length => [String(length), byteSize(length)]),
  );

  /** @param {import("./panel.js").Parts} parts */
  constructor(parts) {
    this.#parts = parts;
    this.#task = new Task("Search", { announce: parts.context.announce, submits: true });
    this.#length.value = String(USUAL_LENGTH);
    this.section = section(
      "search",
      "Search",
      element(
        "form",
        { class: "bar", novalidate: true, onsubmit: (/** @type {Event} */ event) => this.#submit(event) },
        field("Bytes to search for", this.#pattern, "grows"),
        field("Given as", this.#kind),
        field("From", this.#from),
        field("Within", this.#length),
        this.#task.buttons,
      ),
      this.#task.report,
    );
  }

  stop() {
    this.#task.stop();
  }

  /** @param {Event} event */
  #submit(event) {
    event.preventDefault();
    const from = parseOffset(this.#from.value, this.#parts.disk.size, this.#parts.layout.sectorSize);
    return this.#find(from);
  }

  /** @param {number | undefined} from @returns {Promise<void>} */
  #find(from) {
    return this.#task.run(async (signal, onProgress) => {
      const kind = this.#kind.value === "hex" ? "hex" : "text";
      const pattern = parsePattern(this.#pattern.value, kind);
      if (!pattern) return { text: patternError(kind), isBad: true };
      if (from === undefined) return { text: "The place to begin is not on this disk.", isBad: true };
      const { disk } = this.#parts;
      const range = { start: from, end: Math.min(disk.size, from + Number(this.#length.value)) };
      const found = await search((at, length) => disk.read(at, length, { signal }), pattern, range, {
        signal,
        onProgress: ({ at, length }) => onProgress(at, length),
      });
      return found === undefined ? this.#nothing(range) : this.#found(found, pattern.length);
    });
  }

  /** @param {number} offset @param {number} length */
  #found(offset, length) {
    this.#parts.goTo(offset, length);
    const next = element("button", { type: "button", onclick: () => this.#find(offset + 1) }, "Find next");
    return { text: `Found at byte ${offset} (0x${hexOffset(offset, 1)}).`, more: [next] };
  }

  /** @param {{start: number, end: number}} range */
  #nothing({ start, end }) {
    const { disk } = this.#parts;
    const on = element("button", { type: "button", onclick: () => this.#goOn(end) }, "Search on from there");
    return { text: `Not found in bytes ${start} to ${end - 1}.`, more: end < disk.size ? [on] : [] };
  }

  /** @param {number} from */
  #goOn(from) {
    this.#from.value = String(from);
    return this.#find(from);
  }
}

/** @param {"text" | "hex"} kind */
function patternError(kind) {
  return kind === "hex"
    ? "Write the bytes as pairs of hexadecimal digits, such as 55 AA; at most 1,024 bytes."
    : "Write what to search for; at most 1,024 bytes.";
}
