/** One version of an image, ready to be read: by ranges or by chunks. */

import { isSameManifest, fetchManifest, openManifest } from "./chunk-manifest.js";
import { ChunkSource } from "./chunk-source.js";
import { AeroDiskError } from "./errors.js";
import { fetchExtents, ZeroChunks } from "./extents.js";
import { hasRawFile, isSame, lookUp } from "./metadata.js";
import { RangeSource } from "./range-source.js";

/**
 * @typedef {object} Content
 * @property {import("./metadata.js").Image} image
 * @property {number} blockSize
 * @property {{fetch: Function}} source
 * @property {(signal: AbortSignal) => Promise<{isZero: Function} | undefined>} findZeros
 * @property {() => Promise<import("./metadata.js").Image | undefined>} lookForChange what the image is now, if it is another one
 */

/**
 * Finds out what is at the address.
 *
 * @param {{requester, addresses, options, confirm, signal}} parts
 * @returns {Promise<Content>}
 */
export async function openContent(parts) {
  const { requester, addresses, options, signal } = parts;
  if (addresses.isManifest || options.mode === "chunks") return chunkedContent(parts);
  const image = await lookUp(requester, addresses, signal);
  const isRaw = options.mode === "range" || image.version !== undefined || (await hasRawFile(requester, addresses, signal));
  return isRaw ? rangedContent(parts, image) : chunkedContent(parts);
}

function rangedContent({ requester, addresses, options }, image) {
  if (addresses.version !== undefined && addresses.version !== image.version) {
    throw new AeroDiskError("changed", `${addresses.name} has no version ${addresses.version} any more`);
  }
  return {
    image,
    blockSize: options.blockSize,
    source: new RangeSource(requester, addresses, image),
    findZeros: signal => fetchExtents(requester, addresses, image, signal),
    async lookForChange() {
      const now = await lookUp(requester, addresses);
      return isSame(now, image) ? undefined : now;
    },
  };
}

async function chunkedContent({ requester, addresses, options, confirm, signal }) {
  const manifest = await openManifest(requester, addresses.manifest, { verify: options.verify, signal });
  return {
    image: imageOf(manifest),
    blockSize: manifest.chunkSize,
    source: new ChunkSource(requester, manifest, options.verify, confirm),
    findZeros: () => ZeroChunks.of(manifest),
    async lookForChange() {
      const now = await fetchManifest(requester, addresses.manifest, { verify: options.verify });
      if (!now) throw new AeroDiskError("missing", `the chunk manifest of ${addresses.name} is gone`, { status: 404 });
      return isSameManifest(now, manifest) ? undefined : imageOf(now);
    },
  };
}

function imageOf({ size, tag, version }) {
  return { size, tag, version };
}
