/** Requests with a lease, a limit on silence, and further tries. */

import { cancelBody, checkCommonStatus, retryAfter, Setback } from "./answers.js";
import { AeroDiskError, aborted } from "./errors.js";
import { awakeTimeout, backOff, linkedController, pause, withSignal } from "./waiting.js";

const LEAST_BYTES = 4096;
const DOUBTFUL_TRIES = 3;
const REFUSED_TRIES = 20;

/**
 * A request, and how its answer is read.
 *
 * @typedef {object} Question
 * @property {URL} url
 * @property {string} what the thing in words, for messages
 * @property {Record<string, string>} [headers]
 * @property {RequestCache} [cache]
 * @property {(response: Response, onBytes: (count: number) => void) => Promise<any>} read checks status and head, and
 *   reads the body; throws a Setback, or an error that is final
 */

/** Makes requests for one disk. */
export class Requester {
  #options;
  #leases;
  #queue;
  #stats;
  #confirm;
  #onBytes;
  #onWaiting;

  /**
   * @param {object} parts
   * @param {{headers, credentials, timeout, retries, retryDelay}} parts.options
   * @param {import("./leases.js").LeaseHolder} parts.leases
   * @param {import("./request-queue.js").RequestQueue} parts.queue
   * @param {object} parts.stats counts `requests` and `bytes`
   * @param {() => Promise<void>} parts.confirm rejects if the image has been replaced
   * @param {(count: number) => void} parts.onBytes told of each piece of a body
   * @param {(detail: object) => void} parts.onWaiting told before each further try of an urgent request
   */
  constructor({ options, leases, queue, stats, confirm, onBytes, onWaiting }) {
    this.#options = options;
    this.#leases = leases;
    this.#queue = queue;
    this.#stats = stats;
    this.#confirm = confirm;
    this.#onBytes = onBytes;
    this.#onWaiting = onWaiting;
  }

  /** Asks in the turn of the queue, until the answer is good or no further try is left. */
  async ask(question, job, signal) {
    return this.#try(question, job, signal, task => this.#queue.run(job, task, signal), this.#confirm);
  }

  /** Asks beside the queue: for metadata, which decides how the rest goes on. */
  async askAtOnce(question, signal) {
    return this.#try(
      question,
      { urgent: true },
      signal,
      task => task(),
      async () => {},
    );
  }

  async #try(question, job, signal, inTurn, confirm) {
    const state = { tries: 0, refusals: 0, renewed: false };
    for (;;) {
      try {
        return await inTurn(() => this.#once(question, job, state, signal));
      } catch (error) {
        if (!(error instanceof Setback)) throw error;
        if (error.isDoubtful) await confirm();
        await this.#wait(error, question, job, state, signal);
      }
    }
  }

  /** Waits before the next try; throws if there is none. */
  async #wait(setback, question, job, state, signal) {
    if (setback.isFree) return;
    if (setback.isRefusal && !job.urgent) throw setback.error;
    const count = setback.isRefusal ? (state.refusals += 1) : (state.tries += 1);
    if (count > this.#triesLeft(setback)) throw setback.error;
    const delay = setback.delay ?? backOff(count, this.#options.retryDelay);
    if (job.urgent)
      this.#onWaiting({
        reason: setback.message,
        error: setback.error,
        attempt: count,
        delay,
        url: question.url.href,
      });
    await pause(delay, signal);
  }

  #triesLeft(setback) {
    const { retries } = this.#options;
    if (setback.isRefusal) return retries === 0 ? 0 : Math.max(retries, REFUSED_TRIES);
    return setback.isDoubtful ? Math.min(retries, DOUBTFUL_TRIES) : retries;
  }

  async #once(question, job, state, signal) {
    const silence = new SilenceLimit(this.#options.timeout, signal);
    try {
      const token = await withSignal(this.#leases.current(), silence.signal);
      const response = await this.#send(question, job, token, silence.signal);
      return await this.#judge(response, question, state, token, silence);
    } catch (error) {
      throw this.#explain(error, question, signal, silence);
    } finally {
      silence.end();
    }
  }

  #note(count, silence) {
    this.#stats.bytes += count;
    this.#onBytes(count);
    silence.note(count);
  }

  #send(question, job, token, signal) {
    const headers = new Headers(this.#options.headers);
    headers.delete("If-Range");
    for (const [name, value] of Object.entries(question.headers ?? {})) headers.set(name, value);
    const url = this.#leases.attach(token, question.url, headers);
    this.#stats.requests += 1;
    return fetch(url, {
      headers,
      signal,
      cache: question.cache ?? "no-store",
      credentials: this.#options.credentials,
      priority: job.urgent ? "high" : "low",
    });
  }

  async #judge(response, question, state, token, silence) {
    try {
      this.#leases.noteRemaining(token, response.headers.get("Aero-Lease-Remaining"));
      this.#queue.isUnauthorized = response.status === 401;
      if (response.status === 401) await this.#renew(question, state, token, silence.signal);
      if (response.status === 429) this.#queue.lower(retryAfter(response.headers) ?? 1000);
      checkCommonStatus(response, question.what);
      return await question.read(response, count => this.#note(count, silence));
    } finally {
      cancelBody(response); // the rest that nobody reads
    }
  }

  /** The lease was refused: brings another one, once for each request. */
  async #renew(question, state, token, signal) {
    const refused = new AeroDiskError("expired", `${question.what}: the lease is missing or over (401)`, {
      status: 401,
    });
    if (!this.#leases.canRenew || state.renewed) throw refused;
    state.renewed = true;
    await withSignal(this.#leases.renewAfter(token), signal);
    throw new Setback(refused, { isFree: true });
  }

  #explain(error, question, signal, silence) {
    if (signal?.aborted) return aborted(signal);
    if (!silence.isOver && (error instanceof Setback || error instanceof AeroDiskError)) return error;
    const reason = silence.isOver ? `no answer within ${this.#options.timeout} ms` : (error?.message ?? error);
    return new Setback(new AeroDiskError("network", `${question.what}: ${reason}`, { cause: error }));
  }
}

/** Aborts a request on which for `milliseconds` nothing came, or next to nothing. */
class SilenceLimit {
  #milliseconds;
  #controller;
  #stop;
  #got = 0;
  isOver = false;

  constructor(milliseconds, signal) {
    this.#milliseconds = milliseconds;
    this.#controller = linkedController(signal);
    this.#restart();
  }

  get signal() {
    return this.#controller.signal;
  }

  note(count) {
    this.#got += count;
    if (this.#got >= LEAST_BYTES) this.#restart();
  }

  end() {
    this.#stop();
    this.#controller.unlink();
  }

  #restart() {
    this.#got = 0;
    this.#stop?.();
    this.#stop = awakeTimeout(this.#milliseconds, () => {
      this.isOver = true;
      this.#controller.abort(new DOMException("nothing came", "TimeoutError"));
    });
  }
}
