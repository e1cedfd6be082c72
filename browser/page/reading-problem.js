// @ts-check
/** Failures of reading an image, in words, with what may help. */

import { element } from "./dom.js";

/** @type {Record<string, [string, string]>} by the codes of AeroDiskError */
const TEXTS = {
  changed: ["The image was replaced", "What is shown here is of the image as it was."],
  damaged: [
    "The image is damaged",
    "What the server sent is not what it should be; its operator can verify the image.",
  ],
  expired: ["This image is private", "It takes a lease that is good for it. Give one in the list of images."],
  forbidden: ["The lease is not good for this image", "Give another one in the list of images."],
  missing: ["There is no such image", "It may have been removed or renamed."],
  network: ["The image cannot be read", "The server does not answer as it should."],
  aborted: ["Reading was given up", ""],
};

/** @param {unknown} error @returns {{title: string, text: string}} */
export function wordsOf(error) {
  const { code = "", message = "" } = /** @type {{code?: string, message?: string}} */ (error ?? {});
  const [title, text] = TEXTS[code] ?? ["This page has failed", message];
  return { title, text };
}

/** A panel that says what went wrong. @param {unknown} error */
export function readingProblem(error) {
  const { title, text } = wordsOf(error);
  return element(
    "div",
    { class: "problem", role: "alert" },
    element("h2", {}, title),
    text && element("p", {}, text),
    element("button", { type: "button", onclick: () => location.reload() }, "Load it again"),
  );
}
