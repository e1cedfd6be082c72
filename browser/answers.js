/** Checks of an answer's head, and reading of its body to the byte. */

import { AeroDiskError } from "./errors.js";

/** A try that failed in a way that another try may mend. */
export class Setback extends Error {
  /**
   * @param {AeroDiskError} error what users see if no further try succeeds
   * @param {{delay?: number, isDoubtful?: boolean, isRefusal?: boolean, isFree?: boolean}} [facts] `delay`:
   *   milliseconds that the server asked for; `isDoubtful`: the image may have been replaced; `isRefusal`: too many
   *   requests at once; `isFree`: the next try follows at once and is not counted
   */
  constructor(error, { delay, isDoubtful = false, isRefusal = false, isFree = false } = {}) {
    super(error.message, { cause: error });
    Object.assign(this, { error, delay, isDoubtful, isRefusal, isFree });
  }
}

const LONGEST_WAIT = 60_000;
const HTTP_DATE = /^[A-Z][a-z]+,? .*\d\d:\d\d:\d\d/;

/**
 * @returns {number | undefined} milliseconds that `Retry-After` asks for, a minute at most. Those of a date count
 *   from `Date`, if that may be read: the clock here may be wrong
 */
export function retryAfter(headers) {
  const field = headers.get("Retry-After") ?? "";
  const now = Date.parse(headers.get("Date")) || Date.now();
  const wait = /^\d+$/.test(field) ? Number(field) * 1000 : HTTP_DATE.test(field) ? Date.parse(field) - now : NaN;
  return Number.isFinite(wait) ? Math.min(Math.max(wait, 0), LONGEST_WAIT) : undefined;
}

/** Lets go of a body that nobody wants, so that it takes no bandwidth; one that was read to its end is over. */
export function cancelBody(response) {
  response.body?.cancel().catch(() => {});
}

/** Throws for a status that means the same for every request. */
export function checkCommonStatus(response, what) {
  const { status } = response;
  const fail = (code, message) => new AeroDiskError(code, `${what}: ${message}`, { status });
  if (status === 403) throw fail("forbidden", "the lease does not open this (403)");
  if (status === 429) {
    throw new Setback(fail("network", "too many requests (429)"), {
      delay: retryAfter(response.headers) ?? 1000,
      isRefusal: true,
    });
  }
  if (status === 408 || status >= 500)
    throw new Setback(fail("network", `status ${status}`), { delay: retryAfter(response.headers) });
}

/** Throws unless the body is sent as it is. */
export function checkEncoding(response, what) {
  const encoding = response.headers.get("Content-Encoding");
  if (encoding !== null && encoding.toLowerCase() !== "identity") {
    throw new Setback(new AeroDiskError("network", `${what}: the body is encoded as ${encoding}`));
  }
}

function wrongLength(what, got, length) {
  return new Setback(new AeroDiskError("network", `${what}: the body has ${got} bytes instead of ${length}`));
}

/**
 * Reads a body of exactly `length` bytes.
 *
 * @param {(count: number) => void} onBytes told of each piece
 * @returns {Promise<Uint8Array>}
 */
export async function readBody(response, length, what, onBytes) {
  checkEncoding(response, what);
  const announced = response.headers.get("Content-Length");
  if (announced !== null && Number(announced) !== length) throw wrongLength(what, announced, length);
  const { body, got, isMore } = await (intoBuffer(response, length, onBytes) ?? inPieces(response, length, onBytes));
  if (isMore || got !== length) throw wrongLength(what, isMore ? "more" : got, length);
  return body;
}

/** Has the stream write into the body itself. @returns {Promise<object> | undefined} undefined: it cannot */
function intoBuffer(response, length, onBytes) {
  try {
    return fill(response.body.getReader({ mode: "byob" }), length, onBytes);
  } catch {
    return undefined;
  }
}

async function fill(reader, length, onBytes) {
  let body = new Uint8Array(length);
  let got = 0;
  try {
    while (got < length) {
      const { value, done } = await reader.read(body.subarray(got)); // takes the buffer, and gives it back
      if (value) body = new Uint8Array(value.buffer);
      if (done) return { body, got, isMore: false };
      onBytes(value.length);
      got += value.length;
    }
    const { done } = await reader.read(new Uint8Array(1));
    return { body, got, isMore: !done };
  } finally {
    reader.cancel().catch(() => {});
  }
}

async function inPieces(response, length, onBytes) {
  const body = new Uint8Array(length);
  let got = 0;
  for await (const piece of pieces(response)) {
    onBytes(piece.length);
    if (got + piece.length > length) return { body, got, isMore: true };
    body.set(piece, got);
    got += piece.length;
  }
  return { body, got, isMore: false };
}

/** Reads a body of at most `most` bytes, whose length is not known before. */
export async function readText(response, most, what, onBytes) {
  checkEncoding(response, what);
  const announced = response.headers.get("Content-Length");
  const parts = [];
  let got = 0;
  for await (const piece of pieces(response)) {
    onBytes(piece.length);
    got += piece.length;
    if (got > most) throw new AeroDiskError("damaged", `${what}: longer than ${most} bytes`);
    parts.push(piece);
  }
  if (announced !== null && Number(announced) !== got) throw wrongLength(what, got, announced);
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

/** Yields the pieces of a body; the rest is cancelled if the caller stops before its end. */
async function* pieces(response) {
  if (!response.body) return;
  const reader = response.body.getReader();
  try {
    for (let next = await reader.read(); !next.done; next = await reader.read()) yield next.value;
  } finally {
    reader.cancel().catch(() => {});
  }
}
