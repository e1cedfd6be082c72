/**
 * The worker of a persistent store: it has the files of OPFS open, or asks the worker of another tab that has them.
 *
 * One worker is the owner: it holds a lock of `navigator.locks`, since a file has one sync handle at a time. Others
 * ask it over a BroadcastChannel. When it goes, one of them becomes the owner, says so, and is asked again what was
 * not answered. The owner tells all of them which keys have come and gone.
 */

import { StoreFiles } from "./store-files.js";
import { awakeTimeout } from "./waiting.js";

const ANSWER_MILLISECONDS = 3000;
const WRITES = ["write", "setNote"];

/** The store as this tab sees it: its own files, or those of the owner. */
class Store {
  #words;
  #files;
  #failure;
  #channel;
  #question = 0;
  /** Questions without an answer so far, by their id. */
  #open = new Map();
  #release;
  #giveUp = new AbortController();
  #me = `${Date.now()}-${Math.random()}`;

  async open(words) {
    this.#words = words;
    const lock = `aero-disk:${words.path.join("/")}`;
    this.#channel = new BroadcastChannel(lock);
    this.#channel.onmessage = ({ data }) => this.#hear(data);
    const options = words.exclusive && words.isRestart ? {} : { ifAvailable: true };
    const isOwner = await this.#own(lock, options, words);
    if (!isOwner && words.exclusive) throw new DOMException("another tab has it open", "InUseError");
    if (!isOwner) this.#succeed(lock);
    return this.call("keys");
  }

  /** Does something with the files, or has the owner do it. */
  async call(name, ...words) {
    if (this.#failure) throw this.#failure;
    return this.#files ? this.#act(name, words) : this.#ask(name, words);
  }

  async close() {
    this.#giveUp.abort();
    this.#channel?.close();
    if (this.#files && !(await this.#files.isLost())) this.#files.close();
    this.#release?.();
  }

  /** @returns {Promise<boolean>} whether this worker has the lock, which it holds until it is closed */
  #own(lock, options, words) {
    return new Promise((resolve, reject) => {
      navigator.locks
        .request(lock, options, async held => {
          if (!held) return resolve(false);
          this.#files = await StoreFiles.open(words);
          const released = new Promise(release => {
            this.#release = release;
          });
          this.#channel.postMessage({ isOwner: true });
          resolve(true);
          await released;
        })
        .catch(reject);
    });
  }

  /** Becomes the owner when the one before is gone, and answers what that one has not. */
  async #succeed(lock) {
    try {
      await this.#own(lock, { signal: this.#giveUp.signal }, { ...this.#words, keepsOthers: true });
    } catch (error) {
      if (!this.#giveUp.signal.aborted) this.#failure = error;
    }
    for (const [id, { name, words }] of this.#open) this.#settle(id, await answerOf(() => this.call(name, ...words)));
  }

  async #act(name, words) {
    if (WRITES.includes(name) && (await this.#files.isLost())) this.#giveUpFiles();
    const gone = name === "clear" ? this.#files.keys() : words[0];
    const value = await this.#files[name](...words);
    if (name === "write") this.#publish({ added: words[0].map(([key]) => key), removed: [] });
    if (name === "remove" || name === "clear") this.#publish({ added: [], removed: gone });
    return value;
  }

  /** The files were cleared away, and Chromium never comes back from closing them: another worker begins anew. */
  #giveUpFiles() {
    this.#failure ??= new DOMException("the files of the store were cleared away", "NotFoundError");
    this.#channel.postMessage({ news: { isFresh: true, added: [], removed: [] } });
    self.postMessage({ isLost: true });
    throw this.#failure;
  }

  #publish(news) {
    this.#channel.postMessage({ news });
    self.postMessage({ news });
  }

  #ask(name, words) {
    return new Promise((resolve, reject) => {
      const id = `${this.#me}-${(this.#question += 1)}`;
      const question = { name, words, resolve, reject };
      this.#open.set(id, question);
      this.#send(id, question);
    });
  }

  #send(id, question) {
    question.stop?.();
    question.stop = awakeTimeout(ANSWER_MILLISECONDS, () =>
      this.#settle(id, { error: ["TimeoutError", "the owner of the store does not answer"] }),
    );
    this.#channel.postMessage({ id, name: question.name, words: question.words });
  }

  async #hear({ id, name, words, answer, isOwner, news }) {
    if (news) self.postMessage({ news });
    else if (isOwner) for (const [open, question] of this.#open) this.#send(open, question);
    else if (answer) this.#settle(id, answer);
    else if (this.#files && !this.#failure)
      this.#channel.postMessage({ id, answer: await answerOf(() => this.#act(name, words)) });
  }

  #settle(id, { value, error }) {
    const question = this.#open.get(id);
    if (!question) return;
    this.#open.delete(id);
    question.stop();
    if (error) question.reject(new DOMException(error[1], error[0]));
    else question.resolve(value);
  }
}

async function answerOf(act) {
  try {
    return { value: await act() };
  } catch (error) {
    return { error: [error.name, error.message] };
  }
}

const store = new Store();
self.onmessage = async ({ data: { id, name, words } }) => {
  const act = () => (name === "open" || name === "close" ? store[name](...words) : store.call(name, ...words));
  self.postMessage({ id, answer: await answerOf(act) });
};
