/** SHA-256: by the browser where it offers it, or in plain JavaScript (on plain http there is no `crypto.subtle`). */

const ROUNDS = 64;
const BLOCK = 64;
const { constants: K, initial: INITIAL } = roundConstants();

/** The first 32 bits of the fractional parts of cube and square roots of the first primes (FIPS 180-4). */
function roundConstants() {
  const constants = new Uint32Array(ROUNDS);
  const initial = new Uint32Array(8);
  const fraction = value => (value - Math.floor(value)) * 2 ** 32;
  for (let candidate = 2, found = 0; found < ROUNDS; candidate += 1) {
    if (!isPrime(candidate)) continue;
    if (found < 8) initial[found] = fraction(Math.sqrt(candidate));
    constants[found] = fraction(Math.cbrt(candidate));
    found += 1;
  }
  return { constants: Int32Array.from(constants), initial: Int32Array.from(initial) };
}

function isPrime(candidate) {
  for (let divisor = 2; divisor * divisor <= candidate; divisor += 1) {
    if (candidate % divisor === 0) return false;
  }
  return true;
}

/** Numbers are of 32 bits with a sign throughout: that is three times as fast as without. */
function mix(state, schedule) {
  let a = state[0];
  let b = state[1];
  let c = state[2];
  let d = state[3];
  let e = state[4];
  let f = state[5];
  let g = state[6];
  let h = state[7];
  for (let i = 0; i < ROUNDS; i += 1) {
    const s1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
    const t1 = (h + s1 + ((e & f) ^ (~e & g)) + K[i] + schedule[i]) | 0;
    const s0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
    const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
    h = g;
    g = f;
    f = e;
    e = (d + t1) | 0;
    d = c;
    c = b;
    b = a;
    a = (t1 + t2) | 0;
  }
  state[0] += a;
  state[1] += b;
  state[2] += c;
  state[3] += d;
  state[4] += e;
  state[5] += f;
  state[6] += g;
  state[7] += h;
}

function expand(view, offset, schedule) {
  for (let i = 0; i < 16; i += 1) schedule[i] = view.getInt32(offset + 4 * i);
  for (let i = 16; i < ROUNDS; i += 1) {
    const x = schedule[i - 15];
    const y = schedule[i - 2];
    const s0 = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3);
    const s1 = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10);
    schedule[i] = (schedule[i - 16] + s0 + schedule[i - 7] + s1) | 0;
  }
}

/** The digest of bytes that come piece by piece, computed without the browser's help: it takes whole ones alone. */
export class Sha256 {
  #state = INITIAL.slice();
  #schedule = new Int32Array(ROUNDS);
  #rest = new Uint8Array(BLOCK);
  #length = 0;

  /** @param {Uint8Array} bytes the next ones */
  update(bytes) {
    const held = this.#length % BLOCK;
    const missing = held === 0 ? 0 : Math.min(BLOCK - held, bytes.length);
    this.#rest.set(bytes.subarray(0, missing), held);
    this.#length += bytes.length;
    if (held + missing === BLOCK) this.#take(this.#rest);
    const whole = bytes.length - ((bytes.length - missing) % BLOCK);
    this.#take(bytes.subarray(missing, whole));
    this.#rest.set(bytes.subarray(whole), held + missing < BLOCK ? held + missing : 0);
    return this;
  }

  /** @returns {Uint8Array} the digest; no bytes may be added behind it */
  digest() {
    this.#take(this.#ending());
    const digest = new DataView(new ArrayBuffer(32));
    this.#state.forEach((word, index) => digest.setInt32(4 * index, word));
    return new Uint8Array(digest.buffer);
  }

  #take(blocks) {
    const view = new DataView(blocks.buffer, blocks.byteOffset, blocks.byteLength);
    for (let offset = 0; offset < blocks.length; offset += BLOCK) {
      expand(view, offset, this.#schedule);
      mix(this.#state, this.#schedule);
    }
  }

  /** The last blocks: the bytes after the last whole block, a bit, zeros, the length in bits. */
  #ending() {
    const held = this.#length % BLOCK;
    const tail = new Uint8Array(held < BLOCK - 8 ? BLOCK : 2 * BLOCK);
    tail.set(this.#rest.subarray(0, held));
    tail[held] = 0x80;
    const view = new DataView(tail.buffer);
    view.setUint32(tail.length - 8, Math.floor(this.#length / 2 ** 29));
    view.setUint32(tail.length - 4, this.#length * 8);
    return tail;
  }
}

/** @returns {Uint8Array} the digest, computed without the browser's help */
export function plainSha256(bytes) {
  return new Sha256().update(bytes).digest();
}

/** @returns {Promise<string>} the digest in lower-case hexadecimal digits */
export async function sha256Hex(bytes) {
  const subtle = globalThis.crypto?.subtle;
  return toHex(subtle ? new Uint8Array(await subtle.digest("SHA-256", bytes)) : plainSha256(bytes));
}

/** @returns {string} two lower-case digits for each byte */
export function toHex(bytes) {
  return Array.from(bytes, byte => byte.toString(16).padStart(2, "0")).join("");
}

/** @returns {string | null} the SHA-256 of a `Repr-Digest` field (RFC 9530), in hexadecimal digits */
export function reprDigest(field) {
  const match = /(?:^|[,\s])sha-256=:([A-Za-z0-9+/]{43}=):/.exec(field ?? "");
  return match ? toHex(Uint8Array.from(atob(match[1]), character => character.charCodeAt(0))) : null;
}
