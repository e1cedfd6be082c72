// @ts-check
/** Parts of the view of an image: sections with a heading, lists of facts. */

import { element } from "./dom.js";

/**
 * @typedef {object} Parts what the panels of one image share
 * @property {import("./api.js").Image} image
 * @property {import("/client/aero-disk.js").AeroDisk} disk
 * @property {import("./bytes.js").Part} part the whole disk
 * @property {import("./partitions.js").Layout} layout
 * @property {import("./views.js").Context} context
 * @property {(mode: "range" | "chunks") => Promise<import("/client/aero-disk.js").AeroDisk>} openApart
 *   a disk that keeps nothing: all that it reads comes from the server
 * @property {(offset: number, length?: number) => void} goTo shows bytes, and marks `length` of them
 *
 * @typedef {object} Panel
 * @property {HTMLElement} section
 * @property {() => void} [stop] ends what it has under way
 */

/**
 * @param {string} name the id of the section
 * @param {string} title
 * @param {...(import("./dom.js").Child | import("./dom.js").Child[])} children
 */
export function section(name, title, ...children) {
  return element(
    "section",
    { class: `panel ${name}`, "aria-labelledby": `${name}-title` },
    element("h2", { id: `${name}-title` }, title),
    ...children,
  );
}

/**
 * A list of facts; those without a value are left out, and those named as long have a line of their own.
 *
 * @param {[string, import("./dom.js").Child][]} facts
 * @param {string[]} [long]
 */
export function factList(facts, long = []) {
  const known = facts.filter(([, value]) => value !== undefined && value !== null && value !== "" && value !== false);
  return element(
    "dl",
    { class: "facts" },
    known.map(([term, value]) =>
      element("div", { class: long.includes(term) && "long" }, element("dt", {}, term), element("dd", {}, value)),
    ),
  );
}

/**
 * A field with a label above it.
 *
 * @param {string} label
 * @param {HTMLElement} control with an id
 * @param {string} [more] further classes
 */
export function field(label, control, more = "") {
  return element("div", { class: `field ${more}` }, element("label", { for: control.id }, label), control);
}

/**
 * @param {string} id
 * @param {[string, string][]} options values and texts
 * @returns {HTMLSelectElement}
 */
export function choice(id, options) {
  return element(
    "select",
    { id },
    options.map(([value, text]) => element("option", { value }, text)),
  );
}
