/** Waits that end when a signal is aborted. */

import { aborted } from "./errors.js";

/** Resolves after `milliseconds`; rejects when `signal` is aborted. */
export function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(aborted(signal));
    const timer = setTimeout(finish, milliseconds);
    function finish() {
      signal?.removeEventListener("abort", stop);
      resolve();
    }
    function stop() {
      clearTimeout(timer);
      reject(aborted(signal));
    }
    signal?.addEventListener("abort", stop, { once: true });
  });
}

const LATE_MILLISECONDS = 1000;

/**
 * Acts after `milliseconds`. A timer that is late tells of a sleep, and what came meanwhile is still to be handled:
 * then it acts after as long again.
 *
 * @returns {() => void} to be called when there is nothing to act on any more
 */
export function awakeTimeout(milliseconds, act) {
  const due = performance.now() + milliseconds;
  let timer = setTimeout(() => {
    if (performance.now() - due < LATE_MILLISECONDS) act();
    else timer = setTimeout(act, milliseconds);
  }, milliseconds);
  return () => clearTimeout(timer);
}

/** Settles as `promise` does, or rejects when `signal` is aborted before. */
export function withSignal(promise, signal) {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    const stop = () => reject(aborted(signal));
    if (signal.aborted) stop();
    signal.addEventListener("abort", stop, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", stop));
  });
}

/** @returns {AbortController} one that is aborted by `signal` as well; `unlink` takes it off the signal again */
export function linkedController(signal) {
  const controller = new AbortController();
  const stop = () => controller.abort(signal.reason);
  if (signal?.aborted) stop();
  signal?.addEventListener("abort", stop, { once: true });
  controller.unlink = () => signal?.removeEventListener("abort", stop);
  return controller;
}

const LONGEST_WAIT = 5000;

/**
 * @returns {number} milliseconds to wait after failure `attempt` (1, 2, …): they double from `first` on, with jitter
 */
export function backOff(attempt, first = 200) {
  return Math.min(LONGEST_WAIT, first * 2 ** (attempt - 1)) * (0.5 + Math.random() / 2);
}

/** Resolves as `promise` does, or after `milliseconds`. */
export async function atMost(promise, milliseconds) {
  let timer;
  const over = new Promise(resolve => {
    timer = setTimeout(resolve, milliseconds);
  });
  try {
    await Promise.race([promise, over]);
  } finally {
    clearTimeout(timer);
  }
}
