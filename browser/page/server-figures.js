// @ts-check
/** Figures of a server from its metrics: those of now, and rates between two looks. Pure. */

import { total } from "./metrics-text.js";

/**
 * @typedef {import("./metrics-text.js").Metrics} Metrics
 * @typedef {{ at: number, metrics: Metrics }} Look `at` in milliseconds
 *
 * @typedef {object} Figure
 * @property {string} name
 * @property {(now: Look, before: Look | undefined) => number | undefined} value undefined: it is not known
 *
 * @typedef {object} Chart
 * @property {string} title
 * @property {string} unit
 * @property {Figure[]} figures
 */

const OURS = "aero_storage_";
const SECOND = 1000;
const GOOD_ANSWERS = ["ok", "not_found", "changed"];

/** @param {string} name @param {(labels: Record<string, string>) => boolean} [isWanted] */
function gauge(name, isWanted) {
  return (/** @type {Look} */ now) => total(now.metrics, name, isWanted);
}

/**
 * How much a counter grew each second. One that went down began anew: its whole value counts.
 *
 * @param {string} name
 * @param {(labels: Record<string, string>) => boolean} [isWanted]
 */
function rate(name, isWanted) {
  return (/** @type {Look} */ now, /** @type {Look | undefined} */ before) => {
    const grown = growth(name, now, before, isWanted);
    return grown === undefined || before === undefined ? undefined : (grown * SECOND) / (now.at - before.at);
  };
}

/**
 * @param {string} name
 * @param {Look} now
 * @param {Look | undefined} before
 * @param {(labels: Record<string, string>) => boolean} [isWanted]
 */
function growth(name, now, before, isWanted) {
  const value = total(now.metrics, name, isWanted);
  if (value === undefined || before === undefined || now.at <= before.at) return undefined;
  const last = total(before.metrics, name, isWanted) ?? 0;
  return value < last ? value : value - last;
}

/** @param {string} name @param {(labels: Record<string, string>) => boolean} isPart */
function share(name, isPart) {
  return (/** @type {Look} */ now, /** @type {Look | undefined} */ before) => {
    const all = growth(name, now, before);
    const part = growth(name, now, before, isPart);
    return all && part !== undefined ? (100 * part) / all : undefined;
  };
}

/** @type {(labels: Record<string, string>) => boolean} */
const isServerError = ({ status = "" }) => status.startsWith("5");
/** @type {(labels: Record<string, string>) => boolean} */
const isRefused = ({ status = "" }) => status.startsWith("4");
/** @type {(labels: Record<string, string>) => boolean} */
const isHit = ({ result }) => result === "hit";
/** @type {(labels: Record<string, string>) => boolean} */
const isFailure = ({ result = "" }) => !GOOD_ANSWERS.includes(result);

/** @type {Chart[]} charts of what every server has */
export const CHARTS = [
  {
    title: "Throughput",
    unit: "B/s",
    figures: [{ name: "image bytes", value: rate(`${OURS}bytes_sent_total`) }],
  },
  {
    title: "Requests",
    unit: "/s",
    figures: [{ name: "answered", value: rate("http_requests_total") }],
  },
  {
    title: "Places",
    unit: "",
    figures: [
      { name: "taken", value: gauge(`${OURS}places_taken`) },
      { name: "queue", value: gauge(`${OURS}queue_length`) },
    ],
  },
  {
    title: "Connections",
    unit: "",
    figures: [{ name: "open", value: gauge(`${OURS}connections`) }],
  },
  {
    title: "Errors",
    unit: "/s",
    figures: [
      { name: "5xx", value: rate("http_requests_total", isServerError) },
      { name: "4xx", value: rate("http_requests_total", isRefused) },
      { name: "broken off", value: rate(`${OURS}responses_broken_off_total`) },
    ],
  },
];

/** @type {Chart[]} charts of a server that reads a bucket */
export const ORIGIN_CHARTS = [
  {
    title: "Cache hits",
    unit: "%",
    figures: [{ name: "of blocks", value: share(`${OURS}cache_requests_total`, isHit) }],
  },
  {
    title: "Origin",
    unit: "/s",
    figures: [
      { name: "requests", value: rate(`${OURS}origin_requests_total`) },
      { name: "failures", value: rate(`${OURS}origin_requests_total`, isFailure) },
    ],
  },
  {
    title: "Read from the origin",
    unit: "B/s",
    figures: [{ name: "bytes", value: rate(`${OURS}origin_bytes_total`) }],
  },
];

/** @param {Metrics} metrics @returns {Chart[]} */
export function chartsOf(metrics) {
  return metrics.has(`${OURS}origin_up`) ? [...CHARTS, ...ORIGIN_CHARTS] : CHARTS;
}

/**
 * What is true now, in words.
 *
 * @param {Metrics} metrics
 * @returns {[term: string, text: string][]}
 */
export function facts(metrics) {
  const version = metrics.get(`${OURS}server_build_info`)?.[0]?.labels.version ?? "unknown";
  const limit = total(metrics, `${OURS}places_limit`) ?? 0;
  const invalid = total(metrics, `${OURS}catalog_invalid`) ?? 0;
  const up = total(metrics, `${OURS}origin_up`);
  /** @type {[string, string][]} */
  const found = [
    ["Version", version],
    ["Places", limit ? `${total(metrics, `${OURS}places_taken`) ?? 0} of ${limit}` : "no limit"],
    ["Catalog", invalid ? "invalid: the last good one serves on" : "good"],
  ];
  if (up !== undefined) found.push(["Origin", up ? "answers" : "does not answer"]);
  return found;
}
