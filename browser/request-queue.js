/** How many requests are under way at once, and which goes next: the guest's reads first, prefetches behind. */

import { aborted } from "./errors.js";

const RAISE_AFTER_MILLISECONDS = 30_000;

/** A request as the queue sees it. `urgent` may become true while it waits or runs. */
export class Job {
  /** @param {boolean} urgent whether somebody waits for it; others have at most half of the places */
  constructor(urgent) {
    this.urgent = urgent;
  }
}

/** Starts tasks, at most `limit` at once; fewer after the server refused one for their number. */
export class RequestQueue {
  #most;
  #limit;
  #waiting = [];
  #active = new Set();
  #pausedUntil = 0;
  #timer;
  #loweredAt = -Infinity;
  /** Whether the server refused the last request for want of a lease. */
  isUnauthorized = false;

  constructor(most) {
    this.#most = this.#limit = Math.max(1, Math.floor(most));
  }

  /** How many may be under way now. */
  get limit() {
    return this.#limit;
  }

  /** Whether requests that nobody waits for are unwelcome: one was refused for their number within half a minute. */
  get isRefused() {
    return this.isUnauthorized || this.#isLowered;
  }

  get #isLowered() {
    return performance.now() - this.#loweredAt < RAISE_AFTER_MILLISECONDS;
  }

  /** Runs `task` when its turn comes; rejects without having run it if `signal` is aborted before. */
  run(job, task, signal) {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(aborted(signal));
      const entry = { job, task, resolve, reject };
      entry.leave = () => {
        this.#waiting = this.#waiting.filter(other => other !== entry);
        reject(aborted(signal));
      };
      entry.unlink = () => signal?.removeEventListener("abort", entry.leave);
      signal?.addEventListener("abort", entry.leave, { once: true });
      this.#waiting.push(entry);
      this.start();
    });
  }

  /** Starts what may start now: called when a place became free, or when a job became urgent. */
  start() {
    if (performance.now() < this.#pausedUntil) return;
    this.#raise();
    for (let entry = this.#next(); entry; entry = this.#next()) this.#begin(entry);
  }

  /** The server refused a request for their number: no more at once than were served beside it. */
  lower(milliseconds) {
    const others = Math.max(0, this.#active.size - 1);
    this.#limit = Math.min(this.#limit, Math.max(1, others));
    this.#loweredAt = performance.now();
    if (others === 0) this.#pause(milliseconds);
  }

  /** Starts nothing by itself any more; tasks that wait have signals of their own. */
  end() {
    clearTimeout(this.#timer);
  }

  #pause(milliseconds) {
    const until = performance.now() + milliseconds;
    if (until <= this.#pausedUntil) return;
    this.#pausedUntil = until;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.start(), milliseconds + 1);
  }

  #raise() {
    if (this.#limit === this.#most || this.#isLowered) return;
    this.#limit += 1;
    this.#loweredAt = performance.now() - RAISE_AFTER_MILLISECONDS / 2;
  }

  #next() {
    if (this.#active.size >= this.#limit) return undefined;
    const urgent = this.#waiting.find(entry => entry.job.urgent);
    if (urgent) return urgent;
    const background = [...this.#active].filter(job => !job.urgent).length;
    return background < Math.max(1, Math.floor(this.#limit / 2)) ? this.#waiting[0] : undefined;
  }

  #begin(entry) {
    entry.unlink();
    this.#waiting.splice(this.#waiting.indexOf(entry), 1);
    this.#active.add(entry.job);
    Promise.resolve()
      .then(entry.task)
      .finally(() => this.#active.delete(entry.job))
      .then(entry.resolve, entry.reject)
      .finally(() => this.start());
  }
}
