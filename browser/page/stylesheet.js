// @ts-check
/** Style sheets that one view alone needs. */

import { element } from "./dom.js";

/** @param {string} address @returns {Promise<void>} once the sheet counts */
export function useStyleSheet(address) {
  for (const { href } of document.styleSheets) if (href?.endsWith(address)) return Promise.resolve();
  return new Promise(resolve => {
    document.head.append(element("link", { rel: "stylesheet", href: address, onload: resolve, onerror: resolve }));
  });
}
