// @ts-check
/** Checks what the server sends against the digests that it tells. */

import { checkChunks, digestOfAll, digestsOf, sampleOf } from "./digest-check.js";
import { element } from "./dom.js";
import { choice, field, section } from "./panel.js";
import { Task } from "./task.js";
import { byteSize, counted, shown } from "./text.js";

const SAMPLE = 32;
const MOST_NAMED = 20;

/**
 * @typedef {import("./panel.js").Parts} Parts
 * @typedef {import("./digest-check.js").Digests} Digests
 * @typedef {import("./digest-check.js").OnProgress} OnProgress
 */

/** @param {Parts} parts @returns {import("./panel.js").Panel} */
export function digestPanel(parts) {
  const panel = new DigestPanel(parts);
  return { section: panel.section, stop: () => panel.stop() };
}

class DigestPanel {
  #parts;
  #task;
  #what;

  /** @param {Parts} parts */
  constructor(parts) {
    this.#parts = parts;
    const { image, disk, context } = parts;
    this.#task = new Task("Check", { announce: context.announce, act: () => this.#check() });
    /** @type {[string, string][]} */
    const whole = image.sha256 === undefined ? [] : [["all", `All of it (${byteSize(disk.size)}), by its SHA-256`]];
    this.#what = choice("check-what", [
      ["sample", `A sample of ${SAMPLE} chunks`],
      ["chunks", "All chunks"],
      ...whole,
    ]);
    this.section = section(
      "digests",
      "Digests",
      element("div", { class: "bar" }, field("Check", this.#what, "grows"), this.#task.buttons),
      element(
        "p",
        { class: "hint" },
        "Everything is fetched from the server again, past all caches. Chunks are those of the chunk manifest.",
      ),
      this.#task.report,
    );
  }

  stop() {
    this.#task.stop();
  }

  /** @returns {Promise<void>} */
  #check() {
    return this.#task.run(async (signal, onProgress) => {
      if (this.#what.value === "all") return this.#checkAll(signal, onProgress);
      const digests = await this.#fetchDigests(signal);
      if (!digests) {
        return {
          text: "This image has no chunks with digests, so that no part of it can be checked alone.",
          isBad: true,
        };
      }
      return this.#checkSome(digests, signal, onProgress);
    });
  }

  /** @param {AbortSignal} signal */
  async #fetchDigests(signal) {
    const { image, context } = this.#parts;
    const { chunks } = await context.api.linked(image.id, { signal });
    if (!chunks) return undefined;
    const path = new URL(context.api.plainUrl(image.id, "manifest")).pathname;
    return digestsOf(await context.api.json(path, { signal, id: image.id }));
  }

  /** @param {AbortSignal} signal @param {OnProgress} onProgress */
  async #checkAll(signal, onProgress) {
    const { image, openApart } = this.#parts;
    const disk = await openApart("range");
    try {
      const read = (/** @type {number} */ at, /** @type {number} */ length) => disk.read(at, length, { signal });
      const found = await digestOfAll(read, disk.size, { signal, onProgress });
      if (found === image.sha256)
        return { text: `All ${byteSize(disk.size)} are right: the SHA-256 is that of the image.` };
      return { text: `The SHA-256 is ${found}, and not ${shown(image.sha256)}.`, isBad: true };
    } finally {
      await disk.close();
    }
  }

  /** @param {Digests} digests @param {AbortSignal} signal @param {OnProgress} onProgress */
  async #checkSome(digests, signal, onProgress) {
    const most = this.#what.value === "sample" ? SAMPLE : Infinity;
    const disk = await this.#parts.openApart("chunks");
    try {
      const read = (/** @type {number} */ at, /** @type {number} */ length) => disk.read(at, length, { signal });
      const indexes = sampleOf(digests.digests.length, most);
      const { checked, damaged } = await checkChunks(read, digests, indexes, { signal, onProgress });
      return verdict(checked, damaged);
    } finally {
      await disk.close();
    }
  }
}

/** @param {number} checked @param {number[]} damaged */
function verdict(checked, damaged) {
  if (damaged.length === 0) return { text: `${counted(checked, "chunk")} checked, all of them right.` };
  const named = damaged.slice(0, MOST_NAMED).join(", ") + (damaged.length > MOST_NAMED ? " …" : "");
  return { text: `${damaged.length} of ${counted(checked, "chunk")} are damaged: ${named}.`, isBad: true };
}
