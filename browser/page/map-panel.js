// @ts-check
/** The map of the whole disk: its data and holes, its boot profile, its partitions, and what this browser has. */

import { waitOf } from "./api.js";
import { element, fill } from "./dom.js";
import { keptNote } from "./kept-note.js";
import { columnsOf, drawMap } from "./map-canvas.js";
import { section } from "./panel.js";
import { bytesOf, extentUnit, filled, rangesOfExtents, rangesOfProfile, summary } from "./ranges.js";
import { byteSize } from "./text.js";

const REFRESH_MILLISECONDS = 2000;
const PIECES = 16;

/**
 * @typedef {import("./ranges.js").Range} Range
 * @typedef {import("./panel.js").Parts} Parts
 * @typedef {{name: string, colour: string, ranges: Range[] | undefined, note: HTMLElement}} Layer
 */

/** @param {Parts} parts @returns {import("./panel.js").Panel} */
export function mapPanel(parts) {
  const panel = new MapPanel(parts);
  return { section: panel.section, stop: () => panel.stop() };
}

class MapPanel {
  #parts;
  #size;
  /** @type {Layer[]} */
  #layers;
  #end = new AbortController();
  /** @type {Map<string, ReturnType<typeof setTimeout>>} by the names of layers */
  #retries = new Map();
  #timer;
  #observer;
  #canvas = element("canvas", { class: "map", role: "img" });
  #table = element("tbody", {});
  #details;

  /** @param {Parts} parts */
  constructor(parts) {
    this.#parts = parts;
    this.#size = parts.disk.size;
    this.#layers = [
      layer("Partitions", "--plot-4"),
      layer("Data", "--plot-1"),
      layer("Boot profile", "--plot-2"),
      layer("In this browser", "--plot-3"),
    ];
    this.#canvas.addEventListener("click", event => this.#click(event));
    this.#details = this.#tableOfParts();
    this.section = this.#build();
    this.#observer = new ResizeObserver(() => this.#draw());
    this.#observer.observe(this.#canvas);
    this.#timer = setInterval(() => this.#refresh(), REFRESH_MILLISECONDS);
    this.#load();
  }

  stop() {
    clearInterval(this.#timer);
    for (const retry of this.#retries.values()) clearTimeout(retry);
    this.#observer.disconnect();
    this.#end.abort();
  }

  #build() {
    return section(
      "disk-map",
      "Map of the disk",
      this.#canvas,
      element(
        "ul",
        { class: "legend" },
        this.#layers.map(({ name, note }, number) =>
          element(
            "li",
            {},
            element("span", { class: `key key-${number + 1}`, "aria-hidden": "true" }),
            `${name}: `,
            note,
          ),
        ),
      ),
      element(
        "p",
        { class: "hint" },
        "From the first byte at the left to the last one at the right. A click shows the bytes of a place.",
      ),
      keptNote(this.#parts, () => this.#refresh()),
      this.#details,
    );
  }

  #tableOfParts() {
    const heads = ["Part", ...this.#layers.map(({ name }) => name)];
    return element(
      "details",
      { ontoggle: () => this.#draw() },
      element("summary", {}, `The map as a table of ${PIECES} parts`),
      element(
        "div",
        { class: "wide", role: "region", tabindex: "0", "aria-label": "The map as a table" },
        element(
          "table",
          {},
          element(
            "thead",
            {},
            element(
              "tr",
              {},
              heads.map(name => element("th", { scope: "col" }, name)),
            ),
          ),
          this.#table,
        ),
      ),
    );
  }

  #load() {
    const { disk, layout } = this.#parts;
    this.#put("Partitions", partitionRanges(layout));
    this.#put("In this browser", disk.coverage());
    this.#bring("Data", "unknown", async () =>
      rangesOfExtents(await this.#ask(`extents?unit=${extentUnit(disk.size)}`)),
    );
    this.#bring("Boot profile", "none", async () => {
      const { image, context } = this.#parts;
      const { profile } = await context.api.linked(image.id, { signal: this.#end.signal });
      return profile ? rangesOfProfile(await this.#ask("profile")) : undefined;
    });
  }

  /** @param {string} what behind the path of the image */
  #ask(what) {
    const { image, context } = this.#parts;
    const path = `${new URL(context.api.plainUrl(image.id, "bytes")).pathname}/${what}`;
    return context.api.json(path, { id: image.id, signal: this.#end.signal });
  }

  /**
   * @param {string} name of the layer
   * @param {string} otherwise what is said where nothing is to be had
   * @param {() => Promise<Range[] | undefined>} fetchRanges
   */
  async #bring(name, otherwise, fetchRanges) {
    try {
      this.#put(name, await fetchRanges(), otherwise);
    } catch (error) {
      if (this.#end.signal.aborted) return;
      const seconds = waitOf(error);
      this.#put(name, undefined, seconds ? "the server is looking for it …" : "unknown");
      const retry = () => this.#bring(name, otherwise, fetchRanges);
      if (seconds) this.#retries.set(name, setTimeout(retry, seconds * 1000));
    }
  }

  #refresh() {
    if (document.hidden) return;
    this.#put("In this browser", this.#parts.disk.coverage());
  }

  /** @param {string} name @param {Range[] | undefined} ranges @param {string} [otherwise] */
  #put(name, ranges, otherwise = "") {
    const found = this.#layers.find(one => one.name === name);
    if (!found) return;
    found.ranges = ranges;
    const text = ranges ? amount(ranges, this.#size) : otherwise;
    if (found.note.textContent === text) return;
    found.note.textContent = text;
    this.#draw();
  }

  #draw() {
    const columns = columnsOf(this.#canvas);
    const strips = this.#layers.map(({ colour, ranges }) => ({
      colour,
      parts: filled(ranges ?? [], this.#size, columns),
    }));
    drawMap(this.#canvas, strips);
    const said = this.#layers.map(({ name, note }) => `${name}: ${note.textContent}`);
    this.#canvas.setAttribute("aria-label", `Map of the disk. ${said.join("; ")}. The table below has its parts.`);
    if (this.#details.open) this.#fillTable(strips.map(({ parts }) => summary(parts, Math.min(PIECES, columns))));
  }

  /** @param {number[][]} layers */
  #fillTable(layers) {
    const rows = (layers[0] ?? []).map((_, piece) => {
      const start = Math.floor((piece * this.#size) / PIECES);
      const cells = layers.map(parts => element("td", {}, percent(parts[piece] ?? 0)));
      return element("tr", {}, element("th", { scope: "row" }, `from ${byteSize(start)}`), cells);
    });
    fill(this.#table, rows);
  }

  /** @param {MouseEvent} event */
  #click(event) {
    const place = event.offsetX / Math.max(1, this.#canvas.clientWidth);
    const offset = Math.floor((place * this.#size) / 512) * 512;
    this.#parts.goTo(Math.max(0, Math.min(offset, this.#size - 1)));
  }
}

/** @param {string} name @param {string} colour @returns {Layer} */
function layer(name, colour) {
  return { name, colour, ranges: undefined, note: element("span", {}, "…") };
}

/** @param {import("./partitions.js").Layout} layout @returns {Range[]} those that are no frames of others */
function partitionRanges({ partitions }) {
  const plain = partitions.filter(({ isExtended, start }) => !isExtended && Number.isSafeInteger(start));
  return plain.map(({ start, size }) => [start, size]);
}

/** @param {Range[]} ranges @param {number} size */
function amount(ranges, size) {
  const bytes = Math.min(size, bytesOf(ranges, size));
  return `${byteSize(bytes)}, ${percent(size > 0 ? bytes / size : 0)}`;
}

/** @param {number} share */
function percent(share) {
  if (share > 0 && share < 0.001) return "under 0.1 %";
  return `${Number((100 * share).toFixed(1))} %`;
}
