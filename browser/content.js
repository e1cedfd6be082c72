/** One version of an image, ready to be read: by ranges or by chunks. */

import { keyOfIndex } from "./block-store.js";
import { isSameManifest, fetchManifest, openManifest } from "./chunk-manifest.js";
import { ChunkSource } from "./chunk-source.js";
import { AeroDiskError } from "./errors.js";
import { extentsOf, fetchExtents, ZeroChunks } from "./extents.js";
import { askForByte, isSame, lookUp } from "./metadata.js";
import { RangeSource } from "./range-source.js";

/**
 * @typedef {object} Content
 * @property {import("./metadata.js").Image} image
 * @property {number} blockSize
 * @property {{fetch: Function}} source
 * @property {string | undefined} storeName the name of these bytes in a persistent store; undefined: they have none
 * @property {(index: number) => string} keyOf the key of a block in it
 * @property {string[]} [keys] all keys, where versions share a store
 * @property {boolean} hasProfile whether the server may have profiles of it
 * @property {(signal: AbortSignal, store?: object) => Promise<{isZero: Function} | undefined>} findZeros
 * @property {() => Promise<import("./metadata.js").Image | undefined>} lookForChange
 *   the image as it is now, if it is another one
 */

/**
 * Finds out what is at the address.
 *
 * @param {{requester, addresses, options, confirm, signal}} parts `signal` is aborted when the disk is closed
 * @returns {Promise<Content>}
 */
export async function openContent(parts) {
  const { requester, addresses, options, signal } = parts;
  if (addresses.isManifest || options.mode === "chunks") return chunkedContent(parts);
  const { image, hasMetadata } = await lookUp(requester, addresses, signal);
  const isRaw =
    options.mode === "range" ||
    !hasMetadata ||
    image.version !== undefined ||
    (await askForByte(requester, addresses, signal));
  return isRaw ? rangedContent(parts, image, hasMetadata) : chunkedContent(parts);
}

function rangedContent({ requester, addresses, options, signal: life }, image, hasMetadata) {
  if (addresses.version !== undefined && addresses.version !== image.version) {
    throw new AeroDiskError("changed", `${addresses.name} has no version ${addresses.version} any more`);
  }
  return {
    image,
    blockSize: options.blockSize,
    source: new RangeSource(requester, addresses, image),
    storeName: image.version && `${image.version}/${options.blockSize}`,
    keyOf: keyOfIndex,
    hasProfile: hasMetadata,
    async findZeros(signal, store) {
      if (!hasMetadata) return undefined;
      const noted = await store?.note("extents");
      if (noted !== undefined) return extentsOf(noted, image);
      const found = await fetchExtents(requester, addresses, image, signal);
      const map = extentsOf(found, image);
      if (map || !found) await store?.setNote("extents", found ?? null); // null: this version has none
      return map;
    },
    async lookForChange() {
      const { image: now } = await lookUp(requester, addresses, life);
      return isSame(now, image) ? undefined : now;
    },
  };
}

async function chunkedContent({ requester, addresses, options, confirm, signal }) {
  const manifest = await openManifest(requester, addresses.manifest, { verify: options.verify, signal });
  const digests = options.verify && manifest.digests?.every(Boolean) ? manifest.digests : undefined;
  return {
    image: imageOf(manifest),
    blockSize: manifest.chunkSize,
    source: new ChunkSource(requester, manifest, options.verify, confirm),
    storeName: digests ? `digests/${manifest.chunkSize}` : `${manifest.version}/${manifest.chunkSize}`,
    keyOf: index => digests?.[index] ?? keyOfIndex(index),
    keys: digests,
    hasProfile: addresses.isOfImage,
    findZeros: () => ZeroChunks.of(manifest),
    async lookForChange() {
      const now = await fetchManifest(requester, addresses.manifest, { verify: options.verify, signal });
      if (!now)
        throw new AeroDiskError("missing", `the chunk manifest of ${addresses.name} is gone`, {
          status: 404,
        });
      return isSameManifest(now, manifest) ? undefined : imageOf(now);
    },
  };
}

function imageOf({ size, tag, version }) {
  return { size, tag, version };
}
