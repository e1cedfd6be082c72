// @ts-check
/** The work of the server, from its metrics, for callers that may read them. */

import { Failure } from "./api.js";
import { element, fill } from "./dom.js";
import { readMetrics } from "./metrics-text.js";
import { plot } from "./plot.js";
import { problem } from "./problem.js";
import { chartsOf, facts } from "./server-figures.js";
import { useStyleSheet } from "./stylesheet.js";
import { shown } from "./text.js";

/**
 * @typedef {import("./views.js").Context} Context
 * @typedef {import("./server-figures.js").Look} Look
 *
 * @typedef {object} Drawn
 * @property {import("./server-figures.js").Chart} chart
 * @property {import("./plot.js").Series[]} series
 * @property {HTMLCanvasElement} canvas
 */

const ADDRESS = "/metrics";
const EVERY_MS = 1000;
const SHOWN_SECONDS = 120;

/** @param {HTMLElement} root @param {Context} context @returns {Promise<() => void>} */
export async function show(root, context) {
  await useStyleSheet("./server.css");
  const view = new OperatorsView(context);
  await view.begin(root);
  return () => view.end();
}

class OperatorsView {
  #context;
  #facts = element("dl", { class: "facts" });
  #charts = element("div", { class: "charts" });
  #trouble = element("p", { class: "trouble", role: "status" });
  /** @type {Drawn[]} */
  #drawn = [];
  /** @type {Look | undefined} */
  #last;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #isOver = false;

  /** @param {Context} context */
  constructor(context) {
    this.#context = context;
  }

  /** @param {HTMLElement} root */
  async begin(root) {
    const heading = element("h1", {}, "Server");
    try {
      this.#take(await this.#look());
    } catch (error) {
      fill(root, heading, refusal(error));
      return;
    }
    fill(root, heading, this.#facts, this.#trouble, this.#charts);
    this.#draw();
    this.#later();
  }

  end() {
    this.#isOver = true;
    clearTimeout(this.#timer);
  }

  /** @returns {Promise<Look>} */
  async #look() {
    const { api, signal } = this.#context;
    const text = await api.text(ADDRESS, { signal });
    return { at: performance.now(), metrics: readMetrics(text) };
  }

  #later() {
    if (!this.#isOver) this.#timer = setTimeout(() => this.#again(), EVERY_MS);
  }

  async #again() {
    try {
      if (!document.hidden) this.#take(await this.#look());
      this.#say("");
    } catch (error) {
      if (this.#isOver) return;
      this.#say(
        error instanceof Failure ? "The server does not answer; asking again." : "The metrics cannot be read.",
      );
    }
    if (!this.#isOver) this.#draw();
    this.#later();
  }

  /** @param {string} text */
  #say(text) {
    if (this.#trouble.textContent !== text) this.#trouble.textContent = text;
  }

  /** @param {Look} look */
  #take(look) {
    const charts = chartsOf(look.metrics);
    if (charts.length !== this.#drawn.length) this.#make(charts);
    for (const { chart, series } of this.#drawn) {
      for (const [index, { value }] of chart.figures.entries()) {
        const found = value(look, this.#last);
        if (found !== undefined && Number.isFinite(found)) keep(series[index]?.points ?? [], [look.at, found]);
      }
    }
    this.#last = look;
    fill(
      this.#facts,
      facts(look.metrics).map(([term, text]) =>
        element("div", {}, element("dt", {}, term), element("dd", {}, shown(text, 80))),
      ),
    );
  }

  /** @param {import("./server-figures.js").Chart[]} charts */
  #make(charts) {
    this.#drawn = charts.map(chart => ({
      chart,
      series: chart.figures.map(({ name }) => ({ name, points: [] })),
      canvas: element("canvas", { class: "plot" }),
    }));
    fill(
      this.#charts,
      this.#drawn.map(({ chart, canvas }) => element("figure", {}, element("figcaption", {}, chart.title), canvas)),
    );
  }

  #draw() {
    for (const { chart, series, canvas } of this.#drawn) {
      plot(canvas, series, { unit: chart.unit, seconds: SHOWN_SECONDS });
    }
  }
}

/** @param {[number, number][]} points @param {[number, number]} point */
function keep(points, point) {
  points.push(point);
  while (points.length && (points[0]?.[0] ?? 0) < point[0] - SHOWN_SECONDS * 1000) points.shift();
}

/** @param {unknown} error */
function refusal(error) {
  const isClosed = error instanceof Failure && (error.kind === "refused" || error.kind === "missing");
  if (!isClosed) return problem(error, { label: "Try again", act: () => location.reload() });
  return element("p", { class: "notice" }, "The metrics of this server are not open to this caller.");
}
