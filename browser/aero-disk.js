/**
 * Reads disk images from aero-storage, in browsers and Node.js: the names that users import.
 *
 * @module aero-disk
 */

export { asyncBuffer } from "./async-buffer.js";
export { AeroDisk } from "./disk.js";
export { AeroDiskError } from "./errors.js";
export { Overlay } from "./overlay.js";
export { v86Buffer } from "./v86-buffer.js";
