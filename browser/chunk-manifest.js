/** Chunk manifests, `aero.chunked-disk-image.v1` (http.md §6). */

import { readText, Setback } from "./answers.js";
import { manifestOf } from "./addresses.js";
import { AeroDiskError } from "./errors.js";
import { pairsWithin } from "./extents.js";
import { parseJson } from "./metadata.js";
import { reprDigest, sha256Hex } from "./sha256.js";

const NAMES_NO_VERSION = /\/chunked\/manifest(?:\.json)?$/;
const VERSION = /^(?!\.{1,2}$|chunks$)[A-Za-z0-9._-]{1,128}$/;
const SCHEMA = "aero.chunked-disk-image.v1";
const LONGEST_MANIFEST = 64 << 20;
const LONGEST_CHUNK = 64 << 20;
const MOST_CHUNKS = 500_000;
const WIDEST_NAME = 32;

/**
 * A manifest that keeps the rules.
 *
 * @typedef {object} Manifest
 * @property {URL} url where chunks are found beside it
 * @property {string | null} tag
 * @property {string} version
 * @property {number} size
 * @property {number} chunkSize
 * @property {number} count
 * @property {number} width digits of a name
 * @property {string[] | undefined} digests SHA-256 of each chunk, in lower case
 * @property {number[]} zeros pairs (gap, length) of chunks that are all zeros
 */

/** Reads the manifest at `url`. @returns {Promise<Manifest | undefined>} undefined where there is none */
export function fetchManifest(requester, url, { cache = "no-store", verify = true, signal } = {}) {
  const what = `chunk manifest ${url.origin}${url.pathname}`;
  return requester.askAtOnce(
    {
      url,
      what,
      cache,
      async read(response, onBytes) {
        if (response.status === 404 || response.status === 410) return undefined;
        if (response.status !== 200)
          throw new Setback(
            new AeroDiskError("network", `${what}: status ${response.status}`, {
              status: response.status,
            }),
          );
        const text = await readText(response, LONGEST_MANIFEST, what, onBytes);
        if (verify) await checkDigest(response.headers, text, what);
        return { url, tag: response.headers.get("ETag"), ...parseManifest(parseJson(text, what), what) };
      },
    },
    signal,
  );
}

/** Reads the manifest; where its URL names no version, and the server has one that does, that one. */
export async function openManifest(requester, url, options) {
  const manifest = await fetchManifest(requester, url, options);
  if (!manifest)
    throw new AeroDiskError("missing", `there is no chunk manifest at ${url.origin}${url.pathname}`, {
      status: 404,
    });
  if (!NAMES_NO_VERSION.test(url.pathname) || !VERSION.test(manifest.version)) return manifest;
  const named = await fetchManifest(requester, manifestOf(url, manifest.version), { ...options, cache: "default" });
  return named && isSameManifest(named, manifest) ? { ...manifest, url: named.url } : manifest;
}

/** @returns {boolean} whether two manifests describe the same chunks */
export function isSameManifest(one, other) {
  return (
    one.version === other.version &&
    one.size === other.size &&
    one.chunkSize === other.chunkSize &&
    one.digests?.length === other.digests?.length &&
    (one.digests ?? []).every((digest, index) => digest === other.digests[index])
  );
}

async function checkDigest(headers, text, what) {
  const digest = reprDigest(headers.get("Repr-Digest"));
  if (digest === null || digest === (await sha256Hex(text))) return;
  throw new Setback(new AeroDiskError("damaged", `${what}: its SHA-256 is not the one that the server tells`));
}

/** @returns {Omit<Manifest, "url" | "tag">} throws `damaged` where a rule is broken */
export function parseManifest(found, what) {
  const check = (holds, rule) => {
    if (!holds) throw new AeroDiskError("damaged", `${what}: ${rule}`);
  };
  check(found?.schema === SCHEMA, `the schema is not ${SCHEMA}`);
  const { version, totalSize: size, chunkSize, chunkCount: count, chunkIndexWidth: width = 8 } = found;
  check(typeof version === "string" && version !== "", "no version");
  check(isSectors(size), "totalSize is no multiple of 512");
  check(isSectors(chunkSize) && chunkSize <= LONGEST_CHUNK, "chunkSize is no multiple of 512, or over 64 MiB");
  check(count === Math.ceil(size / chunkSize) && count <= MOST_CHUNKS, "chunkCount is wrong, or over 500,000");
  check(
    Number.isInteger(width) && width <= WIDEST_NAME && width >= String(count - 1).length,
    "chunkIndexWidth is wrong",
  );
  const digests = parseChunks(found.chunks, { size, chunkSize, count }, check);
  return { version, size, chunkSize, count, width, digests, zeros: pairsWithin(found.zeros, count) };
}

function isSectors(value) {
  return Number.isSafeInteger(value) && value > 0 && value % 512 === 0;
}

function parseChunks(chunks, { size, chunkSize, count }, check) {
  if (chunks === undefined) return undefined;
  check(Array.isArray(chunks) && chunks.length === count, "chunks are not as many as chunkCount");
  return chunks.map((chunk, index) => {
    check(
      chunk?.size === undefined || chunk.size === Math.min(chunkSize, size - index * chunkSize),
      `chunk ${index} has a wrong size`,
    );
    check(chunk?.sha256 === undefined || /^[0-9a-fA-F]{64}$/.test(chunk.sha256), `chunk ${index} has no SHA-256`);
    return chunk?.sha256?.toLowerCase();
  });
}
