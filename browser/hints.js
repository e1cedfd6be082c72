/** The map of zeros and the boot profile of an image: its first questions, asked beside the one for its metadata. */

import { extentsOf, fetchExtents } from "./extents.js";
import { savesData } from "./prefetcher.js";
import { fetchProfile, leavesProfileAlone, rangesOf } from "./profile.js";
import { linkedController } from "./waiting.js";

/** Hints of one version. Those that came before the version was known are checked against it, and asked for again. */
export class Hints {
  #parts;
  #extents;
  #profile;
  #life;
  /** Whether this session follows the boot profile. */
  wantsProfile;
  /** Whether the server has no hints. */
  areDismissed = false;

  /** @param {{requester, addresses, options, signal}} parts `signal` is aborted when the disk is closed */
  constructor(parts) {
    const { options, addresses, signal } = parts;
    this.#parts = parts;
    this.#life = linkedController(signal);
    this.wantsProfile = Boolean(options.profile) && addresses.isOfImage && !savesData() && !leavesProfileAlone();
  }

  /** Asks now, for the version that the address names, or for the one that is there. */
  askEarly() {
    const { version } = this.#parts.addresses;
    this.#extents = this.#ask(fetchExtents, version);
    if (this.wantsProfile) this.#profile = this.#ask(fetchProfile, version);
  }

  /** The server knows nothing of an image but its bytes: no answer is waited for. */
  dismiss() {
    this.areDismissed = true;
    this.wantsProfile = false;
    this.#life.abort();
  }

  /** @returns {Promise<object | undefined>} the document of the extents, if there is one */
  extents(image) {
    return this.#of(image, this.#extents, extentsOf, fetchExtents);
  }

  /** @returns {Promise<[number, number][]>} the ranges of the profile; none where there is no profile */
  async profile(image) {
    return rangesOf(await this.#of(image, this.#profile, rangesOf, fetchProfile), image) ?? [];
  }

  async #of(image, early, fits, fetchPart) {
    const found = await early;
    const isFinal = early && (found === undefined || fits(found, image));
    return isFinal ? found : this.#ask(fetchPart, image.version);
  }

  #ask(fetchPart, version) {
    const { requester, addresses, options } = this.#parts;
    const asked = fetchPart(requester, addresses, version, this.#life.signal, options.profile);
    asked.catch(() => {}); // those who wait have it too
    return asked;
  }
}
