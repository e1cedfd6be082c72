/** One version of an image, ready to be read: by ranges or by chunks. */

import { keyOfIndex } from "./block-store.js";
import { isSameManifest, fetchManifest, openManifest } from "./chunk-manifest.js";
import { ChunkSource } from "./chunk-source.js";
import { AeroDiskError } from "./errors.js";
import { extentsOf, ZeroChunks } from "./extents.js";
import { Hints } from "./hints.js";
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
 * @property {Hints} hints
 * @property {(store?: object) => Promise<{isZero: Function} | undefined>} findZeros
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
  const hints = new Hints(parts);
  if (addresses.isManifest || options.mode === "chunks") return chunkedContent(parts, hints);
  if (!options.persistent) hints.askEarly(); // a store may have them
  const { image, hasMetadata } = await lookUp(requester, addresses, signal);
  if (!hasMetadata) hints.dismiss();
  const isRaw =
    options.mode === "range" ||
    !hasMetadata ||
    image.version !== undefined ||
    (await askForByte(requester, addresses, signal));
  return isRaw ? rangedContent(parts, hints, image) : chunkedContent(parts, hints);
}

function rangedContent({ requester, addresses, options, signal: life }, hints, image) {
  if (addresses.version !== undefined && addresses.version !== image.version) {
    throw new AeroDiskError("changed", `${addresses.name} has no version ${addresses.version} any more`);
  }
  return {
    image,
    hints,
    blockSize: options.blockSize,
    source: new RangeSource(requester, addresses, image),
    storeName: image.version && `${image.version}/${options.blockSize}`,
    keyOf: keyOfIndex,
    async findZeros(store) {
      if (hints.areDismissed) return undefined;
      const noted = await store?.note("extents");
      if (noted !== undefined) return extentsOf(noted, image);
      const found = await hints.extents(image);
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

async function chunkedContent({ requester, addresses, options, confirm, signal }, hints) {
  const manifest = await openManifest(requester, addresses.manifest, { verify: options.verify, signal });
  const digests = options.verify && manifest.digests?.every(Boolean) ? manifest.digests : undefined;
  return {
    image: imageOf(manifest),
    hints,
    blockSize: manifest.chunkSize,
    source: new ChunkSource(requester, manifest, options.verify, confirm),
    storeName: digests ? `digests/${manifest.chunkSize}` : `${manifest.version}/${manifest.chunkSize}`,
    keyOf: index => digests?.[index] ?? keyOfIndex(index),
    keys: digests,
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
