// @ts-check
/** Shows the view that the hash of the page names, one at a time. */

import { element, fill } from "./dom.js";
import { problem } from "./problem.js";
import { shown } from "./text.js";
import { hashOf, viewOf, VIEWS } from "./views.js";

/** @typedef {import("./views.js").View} View */

const LONGEST_TITLE = 128;

export class Router {
  #main;
  #nav;
  #services;
  #leave = () => {};
  #isFirst = true;
  /** @type {View | undefined} */
  #current;
  /** @type {Set<string>} */
  #offered = new Set();

  /**
   * @param {HTMLElement} main where views are shown
   * @param {HTMLElement} nav the list of links to views
   * @param {{
   *   api: import("./api.js").Api,
   *   leases: import("./leases.js").Leases,
   *   announce: (text: string) => void,
   * }} services
   */
  constructor(main, nav, services) {
    this.#main = main;
    this.#nav = nav;
    this.#services = services;
  }

  start() {
    addEventListener("hashchange", () => {
      if (location.hash === "" || location.hash.startsWith("#/")) this.#show();
    });
    return this.#show();
  }

  /** Links to a view that not everybody may have. @param {string} name */
  offer(name) {
    this.#offered.add(name);
    this.#mark(this.#current);
  }

  async #show() {
    this.#leave();
    const found = viewOf(location.hash);
    this.#mark(found?.view);
    const root = element("div", { class: "view" });
    fill(this.#main, root);
    if (found === undefined) this.#showUnknown(root);
    else await this.#load(root, found.view, found.image);
    if (root.isConnected) this.#arrive(root);
  }

  /** @param {HTMLElement} root @param {View} view @param {string | undefined} image */
  async #load(root, view, image) {
    document.title = image === undefined ? view.title : `${shown(image, LONGEST_TITLE)} – ${view.title}`;
    const end = new AbortController();
    /** @type {() => void} */
    let tearDown = () => {};
    this.#leave = () => {
      end.abort();
      tearDown();
      tearDown = () => {};
    };
    try {
      const { show } = await view.load();
      if (end.signal.aborted) return;
      const finished = await show(root, this.#context(image, end.signal));
      if (end.signal.aborted) finished();
      else tearDown = finished;
    } catch (error) {
      if (end.signal.aborted) return;
      console.error(error);
      fill(
        root,
        problem(error, { label: "Load the page again", act: () => location.reload() }, "h1"),
        view.name !== "" && wayBack(),
      );
    }
  }

  /** @param {string | undefined} image @param {AbortSignal} signal @returns {import("./views.js").Context} */
  #context(image, signal) {
    /** @param {string} hash */
    const navigate = hash => {
      location.hash = hash;
    };
    /** Work of a view that was left is over with it, and tells nobody. @param {string} text */
    const announce = text => {
      if (!signal.aborted) this.#services.announce(text);
    };
    return { ...this.#services, announce, image, signal, hash: location.hash, navigate };
  }

  /** @param {HTMLElement} root */
  #showUnknown(root) {
    document.title = "No such view";
    fill(root, element("h1", {}, "There is nothing at this address"), wayBack());
  }

  /** Takes the reader to the beginning of a new view, but leaves the first one alone. @param {HTMLElement} root */
  #arrive(root) {
    const heading = root.querySelector("h1") ?? this.#main;
    heading.setAttribute("tabindex", "-1");
    if (!this.#isFirst && !root.contains(document.activeElement)) {
      scrollTo(0, 0);
      heading.focus({ preventScroll: true });
    }
    this.#isFirst = false;
  }

  /** @param {View | undefined} current */
  #mark(current) {
    this.#current = current;
    const isLinked = (/** @type {View} */ view) =>
      !view.ofImage && (!view.forSome || view === current || this.#offered.has(view.name));
    const links = VIEWS.filter(isLinked).map(view =>
      element("li", {}, linkTo(view, view === current ? "page" : undefined)),
    );
    fill(this.#nav, links);
  }
}

/** A link to the catalog, from where nothing else can be done. */
function wayBack() {
  return element("p", {}, element("a", { href: "#/" }, "All images"));
}

/** @param {View} view @param {"page" | undefined} current */
function linkTo(view, current) {
  return element("a", { href: hashOf(view), "aria-current": current }, view.link);
}
