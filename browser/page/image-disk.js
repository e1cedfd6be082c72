// @ts-check
/** Opens an image for the view of it. */

import { AeroDisk, AeroDiskError } from "/client/aero-disk.js";
import { Part } from "./bytes.js";

const READ_AHEAD = 1 << 20;
const MEMORY_APART = 32 << 20;

/**
 * Opens the disk that is looked at. Its bytes are kept for a later boot; its boot profile is not fetched.
 *
 * @param {string} id
 * @param {import("./views.js").Context} context
 */
export function openDisk(id, { api, leases, signal }) {
  return AeroDisk.open(api.plainUrl(id, "bytes"), {
    ...leaseOf(leases.get(id)),
    profile: false,
    readAhead: READ_AHEAD,
    persistent: "opfs",
    signal,
  });
}

/**
 * Opens a disk that keeps nothing, for checks and measurements: all of it comes from the server.
 *
 * @param {import("./api.js").Image} image as the view shows it; throws `changed` if the server has another one by now
 * @param {import("./views.js").Context} context
 * @param {"range" | "chunks"} mode
 */
export async function openApart(image, context, mode) {
  const disk = await open(image.id, context, mode);
  try {
    const { etag, version } = await context.api.meta(image.id, { signal: context.signal });
    if (etag === image.etag && version === image.version) return disk;
  } catch (error) {
    await disk.close();
    throw error;
  }
  await disk.close();
  throw new AeroDiskError("changed", "the image was replaced; load this page again");
}

/** @param {string} id @param {import("./views.js").Context} context @param {"range" | "chunks"} mode */
function open(id, { api, leases, signal }, mode) {
  const url = new URL(api.plainUrl(id, "bytes"));
  url.searchParams.set("fresh", crypto.getRandomValues(new Uint32Array(1)).join()); // no cache has such an address
  return AeroDisk.open(url, {
    ...leaseOf(leases.get(id)),
    mode,
    profile: false,
    memory: MEMORY_APART,
    signal,
  });
}

/** @param {string | undefined} lease */
function leaseOf(lease) {
  return lease === undefined ? {} : { lease };
}

/** @param {AeroDisk} disk @param {AbortSignal} [signal] */
export function partOf(disk, signal) {
  return new Part((offset, length) => disk.read(offset, length, signal ? { signal } : {}), 0, disk.size);
}
