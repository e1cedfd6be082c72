/** The options of a disk: defaults and checks. */

const MODES = ["auto", "range", "chunks"];
const MIB = 1 << 20;

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

/** @returns {typeof DEFAULTS} every option; throws a TypeError or RangeError for one that makes no sense */
export function checkedOptions(given) {
  const options = { ...DEFAULTS };
  for (const [name, value] of Object.entries(given)) {
    if (value !== undefined) options[name] = value;
  }
  if (options.readAhead === false) options.readAhead = 0;
  if (!MODES.includes(options.mode)) throw new TypeError(`mode is "auto", "range" or "chunks", not ${options.mode}`);
  for (const [name, least] of Object.entries(LEAST)) {
    if (!(Number.isFinite(options[name]) && options[name] >= least))
      throw new RangeError(`${name} is at least ${least}, not ${options[name]}`);
  }
  if (options.blockSize % 512 !== 0) throw new RangeError(`blockSize is a multiple of 512, not ${options.blockSize}`);
  return options;
}
