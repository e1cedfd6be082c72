/** Reads that go on where earlier ones ended, and the parts to fetch ahead of them. */

const MOST_STREAMS = 8;
const LARGEST_GAP = 64 << 10;
const LARGE_READ = 512 << 10;

/** Follows several rows of reads at once; a window ahead of each grows with what was read in a row. */
export class ReadAhead {
  #most;
  #streams = [];

  /** @param {number} most bytes of the largest window; 0: never ahead */
  constructor(most) {
    this.#most = most;
  }

  /**
   * Notes a read.
   *
   * A row begins with its second read, or with a large read from byte 0 on. The window is extended when half of it
   * is used up: one that slides with every read makes a request for each. For large reads it grows twice as fast.
   * It grows from the start again where reads go over into a part with another limit.
   *
   * @param {number} offset
   * @param {number} length
   * @param {number} limit where the part ends ahead of which nothing is known
   * @returns {{offset: number, length: number} | undefined} what to fetch now
   */
  note(offset, length, limit = Infinity) {
    if (this.#most <= 0) return undefined;
    const end = offset + length;
    const stream = this.#continuedBy(offset, end);
    if (!stream) {
      const begun = { next: end, ahead: end, window: length, limit };
      this.#streams.unshift(begun);
      this.#streams.length = Math.min(this.#streams.length, MOST_STREAMS);
      return offset === 0 && length >= LARGE_READ ? this.#extend(begun, length) : undefined;
    }
    if (stream.limit !== limit) Object.assign(stream, { window: length, limit });
    stream.next = Math.max(end, stream.next);
    stream.ahead = Math.max(stream.ahead, stream.next);
    if (stream.ahead - stream.next > stream.window / 2) return undefined;
    return this.#extend(stream, length);
  }

  #extend(stream, length) {
    const growth = length < LARGE_READ ? 2 : 4;
    stream.window = Math.min(this.#most, Math.max(stream.window, length) * growth);
    const from = stream.ahead;
    stream.ahead = Math.max(from, Math.min(stream.limit, stream.next + stream.window));
    return stream.ahead > from ? { offset: from, length: stream.ahead - from } : undefined;
  }

  #continuedBy(offset, end) {
    const index = this.#streams.findIndex(({ next }) => offset <= next + LARGEST_GAP && next <= end);
    if (index < 0) return undefined;
    const [stream] = this.#streams.splice(index, 1);
    this.#streams.unshift(stream);
    return stream;
  }
}
