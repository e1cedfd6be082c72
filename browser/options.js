/** The options of a disk: defaults and checks. */

const MIB = 1 << 20;
const LONGEST_TIMER = 2 ** 31 - 1; // platforms take a longer one for none at all

const DEFAULTS = {
  mode: "auto",
  blockSize: 32 << 10,
  maxRequest: 8 * MIB,
  concurrency: 6,
  readAhead: 16 * MIB,
  memory: 64 * MIB,
  persistent: false,
  verify: true,
  profile: "boot",
  lease: undefined,
  leaseCarrier: "auto",
  headers: undefined,
  credentials: undefined,
  retries: 5,
  retryDelay: 200,
  timeout: 20_000,
};

const CHOICES = {
  mode: ["auto", "range", "chunks"],
  persistent: ["opfs", "cache", false],
  leaseCarrier: ["auto", "query", "header"],
  credentials: ["omit", "same-origin", "include"],
};

const LEAST = {
  blockSize: 512,
  maxRequest: 512,
  concurrency: 1,
  readAhead: 0,
  memory: 0,
  retries: 0,
  retryDelay: 0,
  timeout: 1,
};

const PROFILE = /^[\w.-]{1,128}$/;

/** @returns {typeof DEFAULTS} every option; throws a TypeError or RangeError for one that makes no sense */
export function checkedOptions(given) {
  const options = { ...DEFAULTS };
  for (const [name, value] of Object.entries(given)) {
    if (value !== undefined && value !== null) options[name] = value;
  }
  if (options.readAhead === false) options.readAhead = 0;
  if (!options.profile || given.profile === null) options.profile = false;
  for (const name of Object.keys(CHOICES)) if (options[name] !== undefined) checkChoice(name, options[name]);
  checkNumbers(options);
  checkKinds(options);
  options.timeout = Math.min(options.timeout, LONGEST_TIMER);
  return options;
}

/** Throws unless an option has one of the values that there are for it. */
export function checkChoice(name, value) {
  const choices = CHOICES[name];
  if (choices.includes(value)) return;
  const words = choices.map(choice => JSON.stringify(choice));
  throw new TypeError(`${name} is ${words.slice(0, -1).join(", ")} or ${words.at(-1)}, not ${String(value)}`);
}

function checkNumbers(options) {
  for (const [name, least] of Object.entries(LEAST)) {
    if (!(Number.isFinite(options[name]) && options[name] >= least))
      throw new RangeError(`${name} is a number of at least ${least}, not ${String(options[name])}`);
  }
  if (options.blockSize % 512 !== 0) throw new RangeError(`blockSize is a multiple of 512, not ${options.blockSize}`);
}

function checkKinds({ profile, lease, headers }) {
  if (profile !== false && !(typeof profile === "string" && PROFILE.test(profile)))
    throw new TypeError(`profile is a name of letters, digits, "_", "." and "-", or false, not ${String(profile)}`);
  if (!["undefined", "string", "function"].includes(typeof lease))
    throw new TypeError(`lease is a token, or a function that brings one, not ${String(lease)}`);
  try {
    new Headers(headers);
  } catch (cause) {
    throw new TypeError(`headers are none that can be sent: ${cause.message}`, { cause });
  }
}
