// @ts-check
/** Begins: makes what the views share, and shows the first one. */

import { Api } from "./api.js";
import { Leases } from "./leases.js";
import { Router } from "./router.js";

/** @param {string} id @returns {HTMLElement} */
function found(id) {
  const there = document.getElementById(id);
  if (there === null) throw new Error(`the page has no #${id}`);
  return there;
}

/** @returns {Storage | undefined} the storage of this tab, which a browser may refuse */
function tabStorage() {
  try {
    return sessionStorage;
  } catch {
    return undefined;
  }
}

let telling = 0;

/** Says a text to screen readers, which hear it again if it is the same. @param {string} text */
function announce(text) {
  announcements.textContent = "";
  clearTimeout(telling);
  telling = setTimeout(() => {
    announcements.textContent = text;
  }, 50);
}

const main = found("main");
const announcements = found("announcements");
const leases = new Leases(tabStorage());
const router = new Router(main, found("views"), {
  api: new Api(leases),
  leases,
  announce,
});

found("skip").addEventListener("click", event => {
  event.preventDefault(); // the hash names the view
  main.focus();
});
await router.start();
