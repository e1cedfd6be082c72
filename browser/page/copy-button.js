// @ts-check
/** A button that copies a text. */

import { element } from "./dom.js";

const SHOWN_MS = 2000;

/**
 * @param {string} label
 * @param {string | (() => string)} text
 * @param {{ announce: (text: string) => void, name?: string }} options `name`: the label for screen readers
 */
export function copyButton(label, text, { announce, name }) {
  const texts = { idle: label, copied: "Copied", failed: "Not copied" };
  const spans = Object.entries(texts).map(([state, words]) => element("span", { class: state }, words));
  const button = element("button", { type: "button", class: "copy", "aria-label": name }, spans);
  button.addEventListener("click", async () => {
    const isCopied = await copy(typeof text === "function" ? text() : text);
    announce(isCopied ? "Copied" : "The browser does not let this page copy");
    button.dataset.state = isCopied ? "copied" : "failed";
    setTimeout(() => delete button.dataset.state, SHOWN_MS);
  });
  return button;
}

/** @param {string} text @returns {Promise<boolean>} whether it is on the clipboard */
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copySelected(text); // over plain HTTP there is no clipboard but for what is selected
  }
}

/** @param {string} text */
function copySelected(text) {
  const focused = document.activeElement;
  const field = element("textarea", { class: "unseen", readonly: true, "aria-hidden": "true" });
  field.value = text;
  document.body.append(field);
  field.select();
  const isCopied = document.execCommand("copy");
  field.remove();
  if (focused instanceof HTMLElement) focused.focus({ preventScroll: true });
  return isCopied;
}
