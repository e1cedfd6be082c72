// @ts-check
/** Says what stays in this browser of an image that is looked at, and forgets it. */

import { element } from "./dom.js";
import { byteSize } from "./text.js";

const KEPT = "The bytes that you look at stay in this browser, for a later boot.";
const PRIVATE =
  "This image is private. The bytes that you look at stay in this browser, also when its lease has ended, until " +
  "you forget them.";
const NOTHING_KEPT = "This browser keeps nothing of what you look at.";

/**
 * @param {import("./panel.js").Parts} parts
 * @param {() => unknown} changed told that less is kept now
 */
export function keptNote({ image, disk, context }, changed) {
  if (!disk.persistent) return element("p", { class: "hint" }, NOTHING_KEPT);
  const forget = async () => {
    const bytes = disk.coverage().reduce((sum, [, length]) => sum + length, 0);
    try {
      await disk.forget();
      context.announce(`Forgot ${byteSize(bytes)}`);
    } catch (error) {
      context.announce(`It failed: ${/** @type {Error} */ (error).message}`);
    }
    changed();
  };
  return element(
    "div",
    { class: "kept" },
    element("p", { class: "hint" }, image.public ? KEPT : PRIVATE),
    element("button", { type: "button", onclick: forget }, "Forget them"),
  );
}
