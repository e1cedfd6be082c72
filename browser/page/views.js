// @ts-check
/** The views of the page. One whose module is not there yet has no line here, and no link leads to it. */

/**
 * @typedef {object} Context
 * @property {import("./api.js").Api} api
 * @property {string | undefined} image the id of the image that the view is about
 * @property {string} hash the hash of the page, as it is
 * @property {(hash: string) => void} navigate
 * @property {import("./leases.js").Leases} leases
 * @property {AbortSignal} signal ends with the view
 * @property {(text: string) => void} announce says a text to screen readers
 *
 * @typedef {object} ViewModule
 * @property {(root: HTMLElement, context: Context) => Promise<() => void>} show fills `root`; returns the teardown
 *
 * @typedef {object} View
 * @property {string} name the word in its hash: `#/name`, or `#/name/<image id>`
 * @property {string} title of the document; an image's id is put in front of it
 * @property {string} link the text of links to it
 * @property {boolean} [ofImage] whether it is about one image
 * @property {() => Promise<ViewModule>} load
 */

/** @type {readonly View[]} */
export const VIEWS = [
  { name: "", title: "Disk images", link: "Images", load: () => import("./catalog-view.js") },
  { name: "image", title: "Disk image", link: "Look inside", ofImage: true, load: () => import("./image-view.js") },
];

/** @returns {View[]} those that are about one image */
export function imageViews() {
  return VIEWS.filter(view => view.ofImage);
}

/**
 * The hash that leads to a view.
 * @param {View} view @param {string} [image]
 */
export function hashOf(view, image) {
  if (image !== undefined) return `#/${view.name}/${encodeURIComponent(image)}`;
  return `#/${view.name}`;
}

/**
 * The view that a hash names, and its image.
 * @param {string} hash
 * @returns {{ view: View, image: string | undefined } | undefined}
 */
export function viewOf(hash) {
  const [path = ""] = (hash || "#/").split("?");
  const [start, name = "", id, ...more] = path.split("/");
  const view = VIEWS.find(one => one.name === name);
  if (start !== "#" || more.length || !view || id === "" || Boolean(view.ofImage) !== (id !== undefined)) {
    return undefined;
  }
  return { view, image: id === undefined ? undefined : decoded(id) };
}

/** @param {string} text */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
