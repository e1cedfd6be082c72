/** CRC-32 as of gzip and PNG: it finds what a crash or a cut left, not what somebody forged. */

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

/** @returns {number} CRC-32 of all parts one after the other, as of gzip and PNG */
export function crc32(...parts) {
  let value = 0xffffffff;
  for (const bytes of parts) {
    for (const byte of bytes) value = TABLE[(value ^ byte) & 0xff] ^ (value >>> 8);
  }
  return ~value >>> 0;
}
