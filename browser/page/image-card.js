// @ts-check
/** One image of the catalog. */

import { copyButton } from "./copy-button.js";
import { element, fill } from "./dom.js";
import { byteSize, dateTime, exactBytes, shown } from "./text.js";
import { hashOf, imageViews } from "./views.js";

/** @typedef {import("./api.js").Image} Image */
/** @typedef {import("./late-facts.js").LateFacts} LateFacts */

const LONGEST_NAME = 200;
const LONGEST_DESCRIPTION = 600;
const VERSION_SIGNS = 18;
const UNKNOWN = "unknown";
/** @type {[import("./api.js").Kind, string][]} */
const KINDS = [
  ["bytes", "Bytes"],
  ["meta", "Metadata"],
  ["manifest", "Chunk manifest"],
  ["extents", "Extents"],
  ["profile", "Boot profile"],
];

/**
 * @param {Image} image
 * @param {{
 *   api: import("./api.js").Api,
 *   announce: (text: string) => void,
 *   watch: (place: Element, image: Image, tell: (facts: LateFacts) => void) => void,
 * }} services
 */
export function imageCard(image, { api, announce, watch }) {
  const data = element("dd", {}, "…");
  const chunks = element("dd", {}, "…");
  const card = element(
    "li",
    { class: "image" },
    element("h2", {}, element("bdi", {}, shown(image.name, LONGEST_NAME) || image.id)),
    image.name !== image.id && element("p", { class: "id" }, element("code", {}, image.id)),
    description(image),
    facts(image, data, chunks),
    element("div", { class: "actions" }, links(image), copyButtons(image, api, announce), urls(image, api)),
  );
  watch(card, image, late => {
    const unknown = late.wait ? "…" : UNKNOWN;
    fill(data, late.dataBytes === undefined ? unknown : [late.isUpperBound && "up to ", size(late.dataBytes)]);
    fill(chunks, late.hasChunks === undefined ? unknown : late.hasChunks ? "yes" : "no");
  });
  return card;
}

/** @param {Image} image */
function description(image) {
  const text = shown(image.description, LONGEST_DESCRIPTION);
  return text ? element("p", { class: "description", dir: "auto" }, text) : null;
}

/** @param {Image} image @param {HTMLElement} data @param {HTMLElement} chunks */
function facts(image, data, chunks) {
  return element(
    "dl",
    { class: "facts" },
    fact("Size", element("dd", {}, size(image.size_bytes))),
    fact("Its data", data),
    fact("Chunks", chunks),
    fact("Access", element("dd", {}, image.public ? "public" : "private")),
    fact("Version", element("dd", {}, version(image.version))),
    fact("Last change", element("dd", {}, changed(image.last_modified))),
  );
}

/** @param {string} term @param {HTMLElement} described */
function fact(term, described) {
  return element("div", {}, element("dt", {}, term), described);
}

/** @param {number} count */
function size(count) {
  return element("span", { title: exactBytes(count) }, byteSize(count));
}

/** @param {string | undefined} text */
function version(text) {
  if (text === undefined) return "none";
  const short = text.length > VERSION_SIGNS ? `${text.slice(0, VERSION_SIGNS - 1)}…` : text;
  return element("code", { title: text }, short);
}

/** @param {string} text */
function changed(text) {
  const words = dateTime(text);
  return words === UNKNOWN ? words : element("time", { datetime: text }, words);
}

/** @param {Image} image */
function links(image) {
  return imageViews().map(view =>
    element("a", { href: hashOf(view, image.id), "aria-label": `${view.link}: ${image.id}` }, view.link),
  );
}

/** @param {Image} image @param {import("./api.js").Api} api @param {(text: string) => void} announce */
function copyButtons(image, api, announce) {
  const url = api.plainUrl(image.id, "bytes");
  const isLeased = api.url(image.id, "bytes") !== url;
  return [
    copyButton("Copy URL", url, { announce, name: `Copy URL: ${image.id}` }),
    isLeased &&
      copyButton("Copy URL with lease", () => api.url(image.id, "bytes"), {
        announce,
        name: `Copy URL with lease: ${image.id}`,
      }),
  ];
}

/**
 * All addresses of an image, without its lease, made when they are asked for.
 * @param {Image} image @param {import("./api.js").Api} api
 */
function urls(image, api) {
  const list = element("ul");
  const made = element(
    "details",
    { class: "urls" },
    element("summary", { "aria-label": `All URLs: ${image.id}` }, "All URLs"),
    list,
  );
  made.addEventListener("toggle", () => {
    if (!made.open || list.firstChild) return;
    fill(
      list,
      KINDS.map(([kind, label]) =>
        element("li", {}, `${label}: `, element("code", {}, api.plainUrl(image.id, kind))),
      ),
    );
  });
  return made;
}
