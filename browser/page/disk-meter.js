// @ts-check
/** The meter of a disk: its cost so far, and whether it waits. */

import { DiskWaits } from "./disk-waits.js";
import { element } from "./dom.js";
import { byteSize } from "./text.js";

/** @typedef {import("/client/aero-disk.js").DiskStats} DiskStats */

const EVERY_MS = 500;
const whole = new Intl.NumberFormat("en");

/** @type {[term: string, value: (stats: DiskStats, written: number) => string][]} */
const FIGURES = [
  ["Requests", stats => whole.format(stats.requests)],
  ["Fetched", stats => byteSize(stats.bytes)],
  ["Hits in memory", stats => whole.format(stats.hits.memory)],
  ["Hits on this disk", stats => whole.format(stats.hits.disk)],
  ["Shared requests", stats => whole.format(stats.hits.shared)],
  ["Holes, not fetched", stats => byteSize(stats.zeroBytes)],
  ["Fetched ahead", stats => byteSize(stats.prefetchedBytes)],
  ["Reads that waited", stats => whole.format(stats.waits)],
  ["Written here", (_stats, written) => byteSize(written)],
];

export class DiskMeter {
  #values = FIGURES.map(() => element("dd", {}, "0"));
  #waits = new DiskWaits();
  #state = element("p", { class: "disk-state", role: "status" });
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #timer;

  constructor() {
    this.root = element(
      "section",
      { class: "panel", "aria-labelledby": "meter-title" },
      element("h2", { id: "meter-title" }, "Disk"),
      this.#state,
      element(
        "dl",
        { class: "facts" },
        FIGURES.map(([term], index) => element("div", {}, element("dt", {}, term), this.#values[index])),
      ),
    );
  }

  /**
   * Follows a disk until `stop`.
   *
   * @param {import("/client/aero-disk.js").AeroDisk} disk
   * @param {() => number} writtenBytes
   */
  follow(disk, writtenBytes) {
    this.stop();
    this.#waits.clear();
    disk.addEventListener("waiting", ({ detail }) => this.#waits.waits(detail, performance.now()));
    const show = () => this.#show(disk.stats, writtenBytes());
    this.#timer = setInterval(show, EVERY_MS);
    show();
  }

  /** Takes what `onTrouble` of a buffer is told. @param {import("/client/aero-disk.js").Trouble} trouble */
  failed(trouble) {
    this.#waits.failed({ error: trouble.error, attempt: trouble.attempt, delay: trouble.delay }, performance.now());
  }

  stop() {
    clearInterval(this.#timer);
  }

  /** @param {DiskStats} stats @param {number} written */
  #show(stats, written) {
    for (const [index, [, value]] of FIGURES.entries()) setText(this.#values[index], value(stats, written));
    const { state, text } = this.#waits.at(performance.now());
    this.#state.dataset.state = state;
    setText(this.#state, text || "The disk answers.");
  }
}

/**
 * Changes a text only if it is another one: screen readers say each change of a status.
 * @param {Element | undefined} place
 * @param {string} text
 */
function setText(place, text) {
  if (place && place.textContent !== text) place.textContent = text;
}
