/** Size, tag and version of an image, as the server tells them. */

import { checkEncoding, readText, Setback } from "./answers.js";
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

/**
 * Asks for the metadata; where a server has none, for the first byte of the image.
 *
 * @returns {Promise<{image: Image, hasMetadata: boolean}>}
 */
export async function lookUp(requester, addresses, signal) {
  const told = await askForMetadata(requester, addresses, signal);
  const image = told ?? (await askForByte(requester, addresses, signal));
  if (image) return { image, hasMetadata: told !== undefined };
  throw new AeroDiskError("missing", `there is no image at ${addresses.name}`, { status: 404 });
}

/** A bucket that may not be listed answers 403 for what it does not have: the bytes tell whether it means them. */
async function askForMetadata(requester, addresses, signal) {
  try {
    return await requester.askAtOnce(metadataQuestion(addresses), signal);
  } catch (error) {
    if (error.code === "forbidden") return undefined;
    throw error;
  }
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
      if (isNoDocument(response)) return undefined;
      if (response.status !== 200)
        throw new Setback(
          new AeroDiskError("network", `${what}: status ${response.status}`, { status: response.status }),
        );
      return imageOf(parseJson(await readText(response, LONGEST_METADATA, what, onBytes), what), what);
    },
  };
}

/** @returns {boolean} whether a server has no such route: some answer 400 or a page for every unknown address */
function isNoDocument({ status, headers }) {
  return (status >= 400 && status < 500) || /^text\/html\b/i.test(headers.get("Content-Type") ?? "");
}

function byteQuestion(addresses) {
  const what = `first byte of ${addresses.name}`;
  return {
    url: addresses.bytes,
    headers: { Range: "bytes=0-0" },
    what,
    async read(response) {
      const { status, headers } = response;
      if (status === 404 || status === 410) return undefined;
      checkEncoding(response, what);
      const isEmpty = status === 200 && headers.get("Content-Length") === "0";
      if (status !== 206 && status !== 416 && !isEmpty) throw noRange(status, what);
      const size = isEmpty ? 0 : sizeIn(headers.get("Content-Range"));
      return imageOf({ size_bytes: size, etag: tagOf(headers) }, what);
    },
  };
}

function noRange(status, what) {
  const reason = status === 200 ? "all of the image: the server does not serve ranges" : `status ${status}`;
  return new Setback(new AeroDiskError("network", `${what}: ${reason}`, { status }));
}

function sizeIn(contentRange) {
  return Number(/^bytes (?:0-0|\*)\/(\d+)$/.exec(contentRange ?? "")?.[1]);
}

function imageOf(found, what) {
  const { size_bytes: size, etag, version } = found ?? {};
  if (!Number.isSafeInteger(size) || size < 0)
    throw new AeroDiskError("damaged", `${what}: no size, or none that the server's CORS rules let be read`);
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
