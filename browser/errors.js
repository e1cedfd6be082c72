/** The errors that users of the client see. */

/** An error of the client. `code` says what to do about it; `cause` is the error below, if there is one. */
export class AeroDiskError extends Error {
  /**
   * @param {string} code `changed`, `damaged`, `expired`, `forbidden`, `missing`, `network`, `aborted` or `quota`
   * @param {string} message what happened, for people
   * @param {{cause?: unknown, status?: number}} [facts] `status` is that of the answer, where one was the reason
   */
  constructor(code, message, { cause, status } = {}) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = "AeroDiskError";
    this.code = code;
    if (status !== undefined) this.status = status;
  }
}

/** @returns {AeroDiskError} the error of something that was given up because `signal` asked for it */
export function aborted(signal, what = "reading") {
  return new AeroDiskError("aborted", `${what} was aborted`, { cause: signal?.reason });
}

/** Throws if `signal` has been aborted, or is none. */
export function throwIfAborted(signal, what) {
  if (signal?.aborted) throw aborted(signal, what);
  if (signal && typeof signal.addEventListener !== "function") throw new TypeError("the signal is no AbortSignal");
}

/** @returns {AeroDiskError} the error itself, or one with code `network` around it */
export function asAeroDiskError(error) {
  return error instanceof AeroDiskError
    ? error
    : new AeroDiskError("network", String(error?.message ?? error), { cause: error });
}
