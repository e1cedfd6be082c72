// @ts-check
/** Throughput and latency of ranges and chunks as this page sees them, and a short measurement of both. */

import { element } from "./dom.js";
import { section } from "./panel.js";
import { plot } from "./plot.js";
import { Task } from "./task.js";
import { latency, throughput, Traffic } from "./traffic.js";

const SECONDS = 60;
const REFRESH_MILLISECONDS = 500;
const READS = 48;
const READ_BYTES = 256 << 10;
const KINDS = /** @type {const} */ (["ranges", "chunks"]);

/** @typedef {import("./panel.js").Parts} Parts */

/** @param {Parts} parts @returns {import("./panel.js").Panel} */
export function trafficPanel(parts) {
  const panel = new TrafficPanel(parts);
  return { section: panel.section, stop: () => panel.stop() };
}

class TrafficPanel {
  #parts;
  #traffic;
  #task;
  #timer;
  #rate = element("canvas", { class: "plot" });
  #delay = element("canvas", { class: "plot" });

  /** @param {Parts} parts */
  constructor(parts) {
    this.#parts = parts;
    const { image, context } = parts;
    this.#traffic = new Traffic(new URL(context.api.plainUrl(image.id, "bytes")).pathname);
    this.#traffic.start();
    this.#task = new Task("Measure", { announce: context.announce, act: () => this.#measure() });
    this.section = section(
      "traffic",
      "Throughput and latency",
      element(
        "div",
        { class: "plots" },
        figure("Throughput", this.#rate),
        figure("Latency to the first byte", this.#delay),
      ),
      element("div", { class: "bar" }, this.#task.buttons),
      element(
        "p",
        { class: "hint" },
        `Measuring reads ${READS} places at random, by ranges and by chunks if there are any.`,
      ),
      this.#task.report,
    );
    this.#timer = setInterval(() => this.#draw(), REFRESH_MILLISECONDS);
    requestAnimationFrame(() => this.#draw());
  }

  stop() {
    clearInterval(this.#timer);
    this.#traffic.stop();
    this.#task.stop();
  }

  #draw() {
    if (document.hidden || !this.section.isConnected) return;
    const now = performance.now();
    const of = (/** @type {typeof throughput} */ points) =>
      KINDS.map(name => ({ name, points: points(this.#traffic.of(name), now, SECONDS) }));
    plot(this.#rate, of(throughput), { unit: "B/s", seconds: SECONDS, now });
    const dots = of(latency).map(one => ({ ...one, kind: /** @type {const} */ ("dots") }));
    plot(this.#delay, dots, { unit: "ms", seconds: SECONDS, now });
  }

  /** @returns {Promise<void>} */
  #measure() {
    return this.#task.run(async (signal, onProgress) => {
      const ranges = await this.#readSome("range", signal, onProgress, 0);
      const { image, context } = this.#parts;
      const { chunks: hasChunks } = await context.api.linked(image.id, { signal });
      const chunks = hasChunks ? await this.#readSome("chunks", signal, onProgress, 1) : "";
      this.#draw();
      const texts = [`Ranges: ${ranges}.`, chunks ? `Chunks: ${chunks}.` : "The image has no chunks."];
      return { text: texts.join(" ") };
    });
  }

  /**
   * @param {"range" | "chunks"} mode
   * @param {AbortSignal} signal
   * @param {(done: number, total: number) => void} onProgress
   * @param {number} round
   * @returns {Promise<string>} what it came to
   */
  async #readSome(mode, signal, onProgress, round) {
    const disk = await this.#parts.openApart(mode);
    const [began, before] = [performance.now(), disk.stats.bytes];
    try {
      for (let count = 0; count < READS; count += 1) {
        const length = Math.min(READ_BYTES, disk.size);
        const offset = Math.floor((Math.random() * (disk.size - length)) / 512) * 512;
        await disk.read(offset, length, { signal });
        onProgress((round * READS + count + 1) * READ_BYTES, 2 * READS * READ_BYTES);
      }
      const seconds = (performance.now() - began) / 1000;
      return measured(disk.stats.bytes - before, seconds);
    } finally {
      await disk.close();
    }
  }
}

/** @param {number} bytes @param {number} seconds */
function measured(bytes, seconds) {
  const rate = (bytes / 1e6 / Math.max(0.001, seconds)).toFixed(1);
  const each = ((1000 * seconds) / READS).toFixed(1);
  return `${rate} MB/s, ${each} ms for a read of 256 KiB on average, holes included`;
}

/** @param {string} title @param {HTMLCanvasElement} canvas */
function figure(title, canvas) {
  return element("figure", {}, element("figcaption", {}, title), canvas);
}
