// @ts-check
/** The head of the view of an image: its name, and what the catalog says of it. */

import { element } from "./dom.js";
import { factList } from "./panel.js";
import { byteSize, dateTime, exactBytes, shown } from "./text.js";
import { hashOf, imageViews } from "./views.js";

const OWN_VIEW = "image";
const LONGEST_NAME = 200;
const LONGEST_DESCRIPTION = 2000;

/** @param {import("./api.js").Image} image */
export function imageFacts(image) {
  const description = shown(image.description, LONGEST_DESCRIPTION);
  return element(
    "div",
    { class: "image-head" },
    element("p", { class: "way" }, element("a", { href: "#/" }, "All images"), links(image)),
    element("h1", {}, element("bdi", {}, shown(image.name, LONGEST_NAME) || image.id)),
    description && element("p", { dir: "auto" }, description),
    factList(
      [
        ["Id", element("code", {}, image.id)],
        ["Size", `${byteSize(image.size_bytes)} (${exactBytes(image.size_bytes)})`],
        ["Access", image.public ? "public" : "private"],
        ["Last change", dateTime(image.last_modified)],
        ["Version", version(image) && element("code", {}, version(image))],
        ["SHA-256", image.sha256 && element("code", {}, image.sha256)],
      ],
      ["Version", "SHA-256"],
    ),
  );
}

/** The version, unless it is the digest by another name (http.md §13). @param {import("./api.js").Image} image */
function version({ version, sha256 }) {
  return version === `sha256-${sha256}` ? undefined : version;
}

/** @param {import("./api.js").Image} image links to the other views of it */
function links(image) {
  return imageViews()
    .filter(({ name }) => name !== OWN_VIEW)
    .map(view => element("a", { href: hashOf(view, image.id) }, view.link));
}
