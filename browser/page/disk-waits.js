// @ts-check
/** Says whether a disk waits, and for what. Pure: the time is given. */

/**
 * @typedef {{ code: string, message: string }} WaitError
 * @typedef {{ state: "idle" | "waits" | "ended", text: string }} WaitState
 */

const SECOND = 1000;
/** After so long without another word a slow read has come. */
const SLOW_MS = 2500;

export class DiskWaits {
  /** @type {{ text: string, until: number } | undefined} */
  #waiting;
  /** @type {string | undefined} */
  #ended;

  /**
   * Takes an event `waiting` of a disk.
   * @param {{ reason: string, error?: WaitError, attempt?: number, delay?: number }} detail
   * @param {number} now
   */
  waits({ reason, error, attempt = 1, delay = 0 }, now) {
    if (error === undefined) {
      this.#waiting = { text: "The disk waits: the server takes more than a second.", until: now + SLOW_MS };
      return;
    }
    const tries = attempt > 1 ? `, after ${attempt} tries` : "";
    const text = `The disk waits: ${error.message || reason}; the next try is in ${seconds(delay)}${tries}.`;
    this.#waiting = { text, until: now + delay + SLOW_MS };
  }

  /**
   * Takes what `onTrouble` is told; without a delay no further try comes.
   * @param {{ error: WaitError, attempt: number, delay: number | undefined }} trouble
   * @param {number} now
   */
  failed({ error, attempt, delay }, now) {
    if (delay === undefined) this.#ended = `The PC waits for its disk for ever: ${error.message}`;
    else this.waits({ reason: error.code, error, attempt, delay }, now);
  }

  /** Begins anew. */
  clear() {
    this.#waiting = this.#ended = undefined;
  }

  /** @param {number} now @returns {WaitState} */
  at(now) {
    if (this.#ended !== undefined) return { state: "ended", text: this.#ended };
    if (this.#waiting !== undefined && now < this.#waiting.until) return { state: "waits", text: this.#waiting.text };
    return { state: "idle", text: "" };
  }
}

/** @param {number} ms */
function seconds(ms) {
  return ms < SECOND ? "less than a second" : `${Math.round(ms / SECOND)} s`;
}
