/** Neighbouring blocks that are asked for together, and what a read wants of them. */

/** One request for neighbouring blocks, and everybody who waits for it. It is given up when nobody does any more. */
export class Run {
  waiters = 0;
  controller = new AbortController();

  constructor(first, job, isStored) {
    this.first = first;
    this.count = 1;
    this.job = job;
    this.isStored = isStored;
    this.isPrefetch = !job.urgent;
    /** Whether the one who began it may still add blocks. */
    this.isOpen = true;
  }

  get indexes() {
    return Array.from({ length: this.count }, (_, at) => this.first + at);
  }

  /** @returns {boolean} whether a block may be asked for with those before it */
  mayTake(index, isStored, most) {
    return this.isOpen && this.first + this.count === index && this.count < most && this.isStored === isStored;
  }

  /** One more waits. @returns {() => void} to be called when it does not any more */
  join() {
    this.waiters += 1;
    return () => {
      this.waiters -= 1;
      if (this.waiters === 0) this.controller.abort();
    };
  }
}

/** @returns {{from: number, to: number, length: number}} the part of a block that a read wants, and where it goes */
export function copyable(start, blockLength, { whole, offset }) {
  const begin = Math.max(start, offset);
  const end = Math.min(start + blockLength, offset + whole.length);
  return { from: begin - start, to: begin - offset, length: end - begin };
}

/** @returns {Uint8Array} blocks that follow each other in one piece */
export function joined(blocks) {
  if (blocks.length === 1) return blocks[0];
  const whole = new Uint8Array(blocks.reduce((sum, block) => sum + block.length, 0));
  let at = 0;
  for (const block of blocks) {
    whole.set(block, at);
    at += block.length;
  }
  return whole;
}
