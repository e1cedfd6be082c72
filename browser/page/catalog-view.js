// @ts-check
/** All images of the server, as far as this caller may have them. */

import { waitOf } from "./api.js";
import { Catalog, hashOfQuery, ORDERS, queryOf } from "./catalog.js";
import { element, fill } from "./dom.js";
import { imageCard } from "./image-card.js";
import { LateFactsFinder } from "./late-facts.js";
import { leasePanel } from "./lease-panel.js";
import { problem, wordsFor } from "./problem.js";
import { counted } from "./text.js";

/** @typedef {import("./catalog.js").Query} Query */

const LABELS = { listed: "as listed", name: "name", size: "size", changed: "last change" };
const TRY_AGAIN = "Try again";
const QUIET_MS = 500; // screen readers hear how many there are once the typing pauses
/** @type {Map<string, Promise<import("./late-facts.js").LateFacts>>} */
const known = new Map();

/** @param {HTMLElement} root @param {import("./views.js").Context} context */
export async function show(root, context) {
  const view = new CatalogView(root, context);
  await view.load();
  return () => view.close();
}

class CatalogView {
  #context;
  #finder;
  #catalog = new Catalog([]);
  /** @type {Query} */
  #query;
  #retry = 0;
  #telling = 0;
  #isLoading = false;
  #isDue = false;
  /** @type {string | undefined} */
  #tag;
  /** @type {HTMLInputElement} */
  #search;
  #order;
  #refresh;
  #leases;
  #count = element("p", { class: "count" }, "Loading the images …");
  #trouble = element("div");
  #list = element("ul", { class: "images", "aria-label": "Images" });
  #pages = element("nav", { class: "pages", "aria-label": "Pages of images", hidden: true });

  /** @param {HTMLElement} root @param {import("./views.js").Context} context */
  constructor(root, context) {
    this.#context = context;
    this.#query = queryOf(context.hash);
    this.#finder = new LateFactsFinder(context.api, context.signal, known);
    this.#search = element("input", {
      id: "search",
      type: "search",
      autocomplete: "off",
      spellcheck: "false",
      oninput: () => this.#ask({ words: this.#search.value, page: 1 }),
    });
    this.#search.value = this.#query.words;
    this.#order = element("select", { id: "order", onchange: () => this.#reorder() }, ORDERS.map(orderOption));
    this.#order.value = this.#query.order;
    this.#refresh = element("button", { type: "button", onclick: () => this.load() }, "Refresh");
    this.#leases = leasePanel(context.leases, { announce: context.announce, changed: () => this.load() });
    fill(root, element("h1", {}, "Disk images"), this.#bar(), this.#count, this.#trouble, this.#leases.panel);
    root.append(this.#list, this.#pages);
    addEventListener("online", () => this.load(), { signal: context.signal });
  }

  #bar() {
    return element(
      "form",
      { class: "bar", role: "search", onsubmit: event => event.preventDefault() },
      element("div", { class: "field grows" }, element("label", { for: "search" }, "Search"), this.#search),
      element("div", { class: "field" }, element("label", { for: "order" }, "Order"), this.#order),
      this.#refresh,
    );
  }

  /** Asks the server for the list. If that fails, the images that are shown stay. */
  async load() {
    this.#isDue = this.#isLoading; // a lease may have come meanwhile
    if (this.#isLoading) return;
    this.#isLoading = true;
    clearTimeout(this.#retry);
    this.#list.setAttribute("aria-busy", "true");
    try {
      const listing = await this.#context.api.list({ signal: this.#context.signal });
      fill(this.#trouble);
      this.#take(listing);
      this.#askAgain(listing.troubles.map(({ error }) => error));
    } catch (error) {
      if (!this.#context.signal.aborted) this.#fail(error);
    } finally {
      this.#isLoading = false;
      this.#list.removeAttribute("aria-busy");
    }
    if (this.#isDue && !this.#context.signal.aborted) await this.load();
  }

  /** Shows a list, unless it is the one that is shown. @param {import("./api.js").Listing} listing */
  #take(listing) {
    if (listing.tag === this.#tag) return;
    this.#tag = listing.tag;
    this.#catalog = new Catalog(listing.images);
    this.#leases.update(listing);
    this.#render();
  }

  close() {
    clearTimeout(this.#retry);
    clearTimeout(this.#telling);
  }

  /** @param {unknown} error */
  #fail(error) {
    if (this.#tag === undefined) this.#count.textContent = "";
    fill(this.#trouble, problem(error, { label: TRY_AGAIN, act: () => this.load() }));
    this.#context.announce(wordsFor(error).title);
    this.#askAgain([error]);
  }

  /** Asks anew once the server wants to be asked, if it was busy. @param {unknown[]} errors */
  #askAgain(errors) {
    const seconds = Math.max(0, ...errors.map(waitOf));
    if (seconds) this.#retry = setTimeout(() => this.load(), seconds * 1000);
  }

  #reorder() {
    const order = ORDERS.find(one => one === this.#order.value) ?? "listed";
    this.#ask({ order, page: 1 });
  }

  /** @param {Partial<Query>} change */
  #ask(change) {
    this.#query = { ...this.#query, ...change };
    this.#render();
    remember(hashOfQuery(this.#query));
  }

  #render() {
    if (this.#tag === undefined) return;
    const found = this.#catalog.find(this.#query);
    const { api, announce } = this.#context;
    this.#finder.clear();
    /** @type {Parameters<typeof imageCard>[1]["watch"]} */
    const watch = (place, image, tell) => this.#finder.watch(place, image, tell);
    fill(
      this.#list,
      found.images.map(image => imageCard(image, { api, announce, watch })),
    );
    const words = countWords(found, this.#catalog.count, this.#query.words);
    this.#count.textContent = words;
    clearTimeout(this.#telling);
    this.#telling = setTimeout(() => announce(words), QUIET_MS);
    this.#renderPages(found);
  }

  /** @param {{ page: number, pages: number }} found */
  #renderPages({ page, pages }) {
    this.#pages.hidden = pages === 1;
    /** @param {string} label @param {number} to */
    const step = (label, to) =>
      element(
        "button",
        {
          type: "button",
          "aria-disabled": to < 1 || to > pages ? "true" : undefined,
          onclick: () => this.#turn(to, pages),
        },
        label,
      );
    fill(
      this.#pages,
      step("Previous", page - 1),
      element("span", {}, `Page ${page} of ${pages}`),
      step("Next", page + 1),
    );
  }

  /** @param {number} page @param {number} pages */
  #turn(page, pages) {
    if (page < 1 || page > pages) return;
    this.#ask({ page });
    this.#count.scrollIntoView({ block: "start" });
    this.#count.setAttribute("tabindex", "-1");
    this.#count.focus({ preventScroll: true });
  }
}

/** Puts a query into the address of the page. @param {string} hash */
function remember(hash) {
  try {
    history.replaceState(null, "", hash);
  } catch {
    // Browsers limit how often; the address says less than is shown until the next change.
  }
}

/** @param {keyof typeof LABELS} order */
function orderOption(order) {
  return element("option", { value: order }, LABELS[order]);
}

/** @param {{ images: unknown[], count: number, start: number }} found @param {number} all @param {string} words */
function countWords({ images, count, start }, all, words) {
  if (all === 0) return "This server shows no images to you. “aero-storage import” brings one in.";
  if (count === 0) return `None of ${counted(all, "image")} matches the search.`;
  const total = words.trim() ? `${counted(count, "image")} of ${all}` : counted(count, "image");
  return count > images.length ? `${start + 1} to ${start + images.length} of ${total}` : total;
}
