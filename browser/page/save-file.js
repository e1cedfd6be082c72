// @ts-check
/** Gives bytes to the reader as a file. */

import { element } from "./dom.js";

const KEPT_MS = 60_000;

/** @param {Blob} blob @param {string} name */
export function saveFile(blob, name) {
  const address = URL.createObjectURL(blob);
  const link = element("a", { href: address, download: name, hidden: true });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), KEPT_MS);
}

/** @param {ReadableStream<Uint8Array>} stream @returns {Promise<Blob>} */
export function blobOf(stream) {
  return new Response(stream).blob();
}

/** A name for a file, of an id and a kind. @param {string} id @param {string} suffix */
export function fileName(id, suffix) {
  return `${id.replace(/[^A-Za-z0-9._-]/g, "_")}.${suffix}`;
}
