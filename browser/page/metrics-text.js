// @ts-check
/** Reads metrics in the text format of Prometheus (0.0.4). Pure. */

/**
 * @typedef {{ labels: Record<string, string>, value: number }} Sample
 * @typedef {Map<string, Sample[]>} Metrics samples by the names of their metrics
 */

const MOST_LINES = 20_000;
const SAMPLE = /^([A-Za-z_:][\w:]*)(?:\{(.*)\})?[ \t]+(\S+)(?:[ \t]+-?\d+)?[ \t]*$/;
const LABEL = /([A-Za-z_]\w*)="((?:[^"\\]|\\.)*)"/g;
const ESCAPED = /\\(.)/g;
/** @type {Record<string, number>} */
const WORDS = { "+Inf": Infinity, Inf: Infinity, "-Inf": -Infinity, NaN: NaN };

/** @param {string} text @returns {Metrics} lines that are no samples are left out */
export function readMetrics(text) {
  /** @type {Metrics} */
  const found = new Map();
  for (const line of text.split("\n", MOST_LINES)) {
    const [, name, labels, number = ""] = (line.startsWith("#") ? null : SAMPLE.exec(line)) ?? [];
    const value = WORDS[number] ?? Number(number);
    if (name === undefined || (Number.isNaN(value) && number !== "NaN")) continue;
    const samples = found.get(name) ?? [];
    samples.push({ labels: labelsOf(labels ?? ""), value });
    found.set(name, samples);
  }
  return found;
}

/** @param {string} text @returns {Record<string, string>} */
function labelsOf(text) {
  /** @type {Record<string, string>} */
  const labels = Object.create(null);
  for (const [, name = "", value = ""] of text.matchAll(LABEL)) {
    labels[name] = value.replace(ESCAPED, (_all, sign) => (sign === "n" ? "\n" : sign));
  }
  return labels;
}

/**
 * Adds samples of a metric up.
 *
 * @param {Metrics} metrics
 * @param {string} name
 * @param {(labels: Record<string, string>) => boolean} [isWanted]
 * @returns {number | undefined} undefined: there is no such metric
 */
export function total(metrics, name, isWanted = () => true) {
  const samples = metrics.get(name);
  return samples?.filter(({ labels }) => isWanted(labels)).reduce((sum, { value }) => sum + value, 0);
}
