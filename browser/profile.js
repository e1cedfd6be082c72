/** Boot profiles: parts that a guest will read, fetched before it asks (http.md §15). A hint, never more. */

import { readText, Setback } from "./answers.js";
import { AeroDiskError } from "./errors.js";
import { parseJson } from "./metadata.js";

const SCHEMA = "aero.profile.v1";
const LONGEST_DOCUMENT = 1 << 20;
const SESSIONS_WITHOUT = 20;

/**
 * @returns {boolean} whether this session leaves the profile alone, as one of 20 does: profiles are learned from
 * those
 */
export function leavesProfileAlone() {
  return Math.random() * SESSIONS_WITHOUT < 1;
}

/** Asks for a profile. @returns {Promise<[number, number][]>} first bytes and lengths, in the order of time */
export async function fetchProfile(requester, addresses, image, name, signal) {
  const what = `profile ${name} of ${addresses.name}`;
  const url = addresses.part("profile", image.version);
  url.searchParams.set("name", name);
  const found = await requester.askAtOnce(
    {
      url,
      what,
      cache: "no-cache",
      async read(response, onBytes) {
        if (response.status >= 400 && response.status < 500) return undefined;
        if (response.status !== 200)
          throw new Setback(new AeroDiskError("network", `${what}: status ${response.status}`));
        return parseJson(await readText(response, LONGEST_DOCUMENT, what, onBytes), what);
      },
    },
    signal,
  );
  return found && fits(found, image)
    ? found.ranges.map(([start, count]) => [start * found.unit, count * found.unit])
    : [];
}

function fits({ schema, version, unit, ranges }, image) {
  const isCount = value => Number.isSafeInteger(value) && value >= 0;
  return (
    schema === SCHEMA &&
    version === image.version &&
    isCount(unit) &&
    unit >= 512 &&
    Array.isArray(ranges) &&
    ranges.every(range => Array.isArray(range) && isCount(range[0]) && isCount(range[1]))
  );
}
