// @ts-check
/** Errors in words, with the one thing that may help. */

import { Failure } from "./api.js";
import { element } from "./dom.js";

const TEXTS = {
  offline: ["The server cannot be reached", "Check the connection to the network, and that the server runs."],
  busy: ["The server is busy", "It asks to be left alone for a few seconds."],
  refused: ["This image is private", "It takes a lease that is good for it. Give one in the list of images."],
  missing: ["There is no such image", "It may have been removed or renamed."],
  broken: ["The server cannot answer", "Its log says why."],
};

/**
 * Says what an error means.
 * @param {unknown} error
 * @returns {{ title: string, text: string }}
 */
export function wordsFor(error) {
  if (!(error instanceof Failure)) return { title: "This page has failed", text: "Loading it again may help." };
  const [title = "", text = ""] = TEXTS[error.kind];
  return { title, text: error.status ? `${text} (status ${error.status})` : text };
}

/**
 * A panel that says what went wrong.
 * @param {unknown} error
 * @param {{ label: string, act: () => unknown }} remedy
 * @param {"h1" | "h2"} [heading] `h1` where nothing else is shown
 */
export function problem(error, remedy, heading = "h2") {
  const { title, text } = wordsFor(error);
  return element(
    "div",
    { class: "problem", role: "alert" },
    element(heading, {}, title),
    element("p", {}, text),
    element("button", { type: "button", onclick: remedy.act }, remedy.label),
  );
}
