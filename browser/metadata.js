/** Size, tag and version of an image, as the server tells them. */

import { cancelBody, checkEncoding, readText, Setback } from "./answers.js";
import { AeroDiskError } from "./errors.js";

const LONGEST_METADATA = 1 << 20;

/**
 * An image as it is now.
 *
 * @typedef {{size: number, tag: string | null, version: string | undefined}} Image
 */

/** @returns {string | null} what an answer tells versions apart by */
export function tagOf(headers) {
  return headers.get("ETag") ?? headers.get("Last-Modified");
}

/** Asks for the metadata; where a server has none, for the first byte of the image. @returns {Promise<Image>} */
export async function lookUp(requester, addresses, signal) {
  const found =
    (await requester.askAtOnce(metadataQuestion(addresses), signal)) ??
    (await askForByte(requester, addresses, signal));
  if (found) return found;
  throw new AeroDiskError("missing", `there is no image at ${addresses.name}`, { status: 404 });
}

/** Asks for the first byte, as not every server answers HEAD. @returns {Promise<Image | undefined>} */
export function askForByte(requester, addresses, signal) {
  return requester.askAtOnce(byteQuestion(addresses), signal);
}

function metadataQuestion(addresses) {
  const what = `metadata of ${addresses.name}`;
  return {
    url: addresses.metadata,
    what,
    async read(response, onBytes) {
      if (response.status === 404 || response.status === 410) return undefined;
      if (response.status !== 200)
        throw new Setback(
          new AeroDiskError("network", `${what}: status ${response.status}`, { status: response.status }),
        );
      return imageOf(parseJson(await readText(response, LONGEST_METADATA, what, onBytes), what), what);
    },
  };
}

function byteQuestion(addresses) {
  const what = `first byte of ${addresses.name}`;
  return {
    url: addresses.bytes,
    headers: { Range: "bytes=0-0" },
    what,
    async read(response) {
      const { status, headers } = response;
      cancelBody(response);
      if (status === 404 || status === 410) return undefined;
      if (status !== 206 && status !== 416)
        throw new Setback(new AeroDiskError("network", `${what}: status ${status}`, { status }));
      checkEncoding(response, what);
      const [, size] = /^bytes (?:0-0|\*)\/(\d+)$/.exec(headers.get("Content-Range") ?? "") ?? [];
      return imageOf({ size_bytes: Number(size), etag: tagOf(headers) }, what);
    },
  };
}

function imageOf(found, what) {
  const { size_bytes: size, etag, version } = found ?? {};
  if (!Number.isSafeInteger(size) || size < 0) throw new AeroDiskError("damaged", `${what}: no size`);
  const named = typeof version === "string" && /^[A-Za-z0-9._-]{1,128}$/.test(version);
  return { size, tag: typeof etag === "string" ? etag : null, version: named ? version : undefined };
}

/** @returns {any} the JSON in `bytes`; JSON that is cut short or broken is worth another try */
export function parseJson(bytes, what) {
  try {
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch (cause) {
    throw new Setback(new AeroDiskError("damaged", `${what}: no JSON`, { cause }));
  }
}

/** @returns {boolean} whether two looks found the same bytes */
export function isSame(one, other) {
  return one.version === other.version && one.tag === other.tag && one.size === other.size;
}
