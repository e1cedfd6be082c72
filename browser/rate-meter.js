/** How fast bytes came lately: it decides how long a request that nobody waits for may be. */

const SLOT_MILLISECONDS = 250;
const SLOTS = 8;

/** The most bytes of a quarter of a second, among the last two seconds. */
export class RateMeter {
  #slots = new Float64Array(SLOTS);
  #last = 0;

  note(count) {
    this.#advance();
    this.#slots[this.#last % SLOTS] += count;
  }

  /** @returns {number} bytes that come in a quarter of a second at the best rate of late */
  get quarterSecond() {
    this.#advance();
    return Math.max(...this.#slots);
  }

  #advance() {
    const now = Math.floor(performance.now() / SLOT_MILLISECONDS);
    const passed = Math.min(SLOTS, now - this.#last);
    for (let slot = 0; slot < passed; slot += 1) this.#slots[(now - slot) % SLOTS] = 0;
    this.#last = now;
  }
}
