// Ends: a closed disk leaves no timer, request or rejection behind; waits have an end; a program of Node.js ends.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, test } from "node:test";

import { AeroDisk, AeroDiskError } from "../../browser/aero-disk.js";
import { bytesOf, first, lies, LyingServer, send } from "./lying-server.mjs";

const BLOCK = 4096;
const IMAGE = bytesOf(9, 300_000);
const OPTIONS = { blockSize: BLOCK, profile: false, retryDelay: 1, readAhead: 0, retries: 3, timeout: 15_000 };
const CLIENT = fileURLToPath(new URL("../../browser/aero-disk.js", import.meta.url));
const isRead = ({ range }) => range !== undefined;
const isMeta = ({ path }) => path.endsWith("/meta");

let server;

beforeEach(async () => {
  server = await LyingServer.start(IMAGE);
});
afterEach(() => server.stop());

const code = wanted => error => {
  assert.ok(error instanceof AeroDiskError, String(error));
  assert.equal(error.code, wanted, error.message);
  return true;
};
const open = (options = {}) => AeroDisk.open(server.base, { ...OPTIONS, ...options });
const until = async holds => {
  while (!holds()) await new Promise(resolve => setTimeout(resolve, 2));
};

// Runs a program with `AeroDisk`, `base` and `options`; gives the milliseconds from its last line to its end.
async function timeToEnd(body) {
  const program = `
    import { AeroDisk, Overlay, v86Buffer } from ${JSON.stringify(CLIENT)};
    const base = ${JSON.stringify(server.base)};
    const options = ${JSON.stringify(OPTIONS)};
    process.on("unhandledRejection", error => { console.error("unhandled", error); process.exit(3); });
    ${body}
    process.stdout.write("over");
  `;
  const child = spawn(process.execPath, ["--input-type=module", "-e", program], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let complaints = "";
  child.stderr.on("data", data => (complaints += data));
  let over;
  child.stdout.on("data", () => (over = performance.now()));
  const timer = setTimeout(() => child.kill(), 30_000);
  const [status] = await once(child, "exit");
  clearTimeout(timer);
  assert.equal(status, 0, `${status} ${complaints}`);
  return performance.now() - over;
}

const PROGRAMS = {
  "that has read": [
    () => undefined,
    `const disk = await AeroDisk.open(base, options); await disk.read(0, 10); await disk.close();`,
  ],
  "whose last read was refused for an hour (429)": [
    request => (isRead(request) ? lies.status(429, { "Retry-After": "3600" }) : undefined),
    `const disk = await AeroDisk.open(base, options);
     const reading = disk.read(0, 10).catch(error => error);
     await new Promise(resolve => disk.addEventListener("waiting", resolve));
     await disk.close();
     if ((await reading).code !== "aborted") throw await reading;`,
  ],
  "that closes while it looks for another version": [
    (() => {
      let looks = 0;
      return request => (isMeta(request) && ++looks > 1 ? lies.status(503, { "Retry-After": "3600" }) : undefined);
    })(),
    `const disk = await AeroDisk.open(base, options);
     const looking = disk.reprobe().catch(error => error);
     await new Promise(resolve => disk.addEventListener("waiting", resolve));
     await disk.close();
     if ((await looking).code !== "aborted") throw await looking;`,
  ],
  "whose opening was given up while the server is silent": [
    request => (isMeta(request) ? lies.stall : undefined),
    `const found = await AeroDisk.open(base, { ...options, signal: AbortSignal.timeout(100) }).catch(error => error);
     if (found.code !== "aborted") throw found;`,
  ],
  "that closes while prefetches and reads stall": [
    request => (isMeta(request) || request.path.endsWith("/extents") ? undefined : lies.stall),
    `const disk = await AeroDisk.open(base, { ...options, profile: "other", readAhead: 65536 });
     const all = [disk.read(0, 10), disk.read(10, 10), disk.prefetch(40960, 100000)].map(some => some.catch(error => error.code));
     await disk.close();
     await disk.close();
     if (String(await Promise.all(all)) !== "aborted,aborted,aborted") throw new Error(await Promise.all(all));`,
  ],
  "whose reads failed in all ways": [
    request => (isRead(request) ? lies.short : undefined),
    `const disk = await AeroDisk.open(base, { ...options, retries: 1, readAhead: 65536 });
     for (let at = 0; at < 20; at += 1) disk.read(at * 4096, 4096).catch(() => {});
     await disk.read(0, 100000).catch(() => {});
     await disk.close();`,
  ],
};
for (const [name, [fault, body]] of Object.entries(PROGRAMS)) {
  test(`a program ${name} ends at once`, { timeout: 40_000 }, async () => {
    server.fault = fault;
    const milliseconds = await timeToEnd(body);
    assert.ok(milliseconds < 4000, `${milliseconds} ms`);
  });
}

test("a read of no bytes asks for nothing, wherever it is", async () => {
  const disk = await open({ readAhead: 65536 });
  for (const offset of [0, 5, BLOCK, BLOCK + 1, IMAGE.length]) {
    assert.deepEqual(await disk.read(offset, 0), new Uint8Array(0));
    assert.equal(await disk.prefetch(offset, 0), true);
  }
  assert.equal(server.reads.length, 0);
  await disk.close();
  await assert.rejects(disk.read(5, 0), code("aborted"));
});

test("a lease function that never answers is an error after the timeout", { timeout: 5000 }, async () => {
  await assert.rejects(open({ lease: () => new Promise(() => {}), timeout: 50, retries: 1 }), code("network"));
  server.lease = "good";
  let calls = 0;
  const lease = () => ((calls += 1) === 1 ? "good" : new Promise(() => {}));
  const disk = await open({ lease, timeout: 50, retries: 1 });
  server.lease = "better";
  await assert.rejects(disk.read(0, 10), error => ["network", "expired"].includes(error.code));
  await disk.close();
});

test("a read whose lease is being brought can be aborted", { timeout: 5000 }, async () => {
  let calls = 0;
  const lease = () => ((calls += 1) === 1 ? "good" : new Promise(() => {}));
  server.lease = "good";
  const disk = await open({ lease, concurrency: 1, timeout: 60_000 });
  server.lease = "better";
  const controller = new AbortController();
  const reading = disk.read(0, 10, { signal: controller.signal });
  await until(() => calls === 2);
  controller.abort();
  await assert.rejects(reading, code("aborted"));
  server.lease = "good";
  assert.deepEqual(await disk.read(BLOCK, 10), IMAGE.slice(BLOCK, BLOCK + 10)); // its place is free again
  await disk.close();
});

test("the longer of two waits that a server asked for counts", { timeout: 20_000 }, async () => {
  const disk = await open({ concurrency: 1 });
  const times = [];
  let refusals = 0;
  server.fault = request => {
    if (!isRead(request) && !isMeta(request)) return undefined;
    times.push(performance.now());
    if (isRead(request)) return (refusals += 1) === 1 ? lies.status(429, { "Retry-After": "1" }) : undefined;
    return refusals === 1 && times.length === 2 ? lies.status(429, { "Retry-After": "0" }) : undefined;
  };
  const start = performance.now();
  const reading = disk.read(0, 10);
  await until(() => refusals === 1);
  await disk.reprobe();
  await disk.read(BLOCK, 10);
  assert.ok(performance.now() - start > 950, "another read came before the time");
  await reading;
  await disk.close();
});

test("Retry-After is waited for as a date too; one that is none of both is no wait of nothing", async () => {
  const disk = await open({ retryDelay: 100 });
  const waits = [];
  disk.addEventListener("waiting", ({ detail }) => waits.push(detail.delay));
  const [now, then] = [1000, 2000].map(time => new Date(time).toUTCString()); // the server's clock counts, not ours
  server.fault = first(isRead, lies.status(503, { Date: now, "Retry-After": then }));
  await disk.read(0, 10);
  assert.equal(waits[0], 1000);
  for (const field of ["-1", "1.5", "soon", ""]) {
    server.fault = first(isRead, lies.status(503, { "Retry-After": field }));
    waits.length = 0;
    disk.forget();
    await disk.read(0, 10);
    assert.ok(waits[0] >= 50, `${field}: ${waits}`);
  }
  await disk.close();
});

test("a timer that no platform has is no timeout of a millisecond", async () => {
  for (const timeout of [2 ** 31, 1e12]) {
    server.delay = 20;
    const disk = await open({ timeout, retries: 0 });
    assert.deepEqual(await disk.read(0, 10), IMAGE.slice(0, 10));
    await disk.close();
  }
});

test("a 401 that no lease mends ends fetching ahead until a request is answered again", async () => {
  server.lease = "good";
  const disk = await AeroDisk.open(`${server.base}?lease=good`, { ...OPTIONS, readAhead: 16 * BLOCK });
  await disk.read(0, 32 * BLOCK);
  server.lease = "other";
  const before = server.reads.length;
  assert.equal(await disk.prefetch(60 * BLOCK, BLOCK).catch(error => error.code), "expired");
  for (let at = 0; at < 32; at += 1) await disk.read(at * BLOCK, BLOCK); // all in memory
  assert.equal(await disk.prefetch(61 * BLOCK, BLOCK), false);
  await new Promise(resolve => setTimeout(resolve, 30));
  assert.equal(server.reads.length, before + 1);
  server.lease = "good";
  await disk.read(50 * BLOCK, 10);
  assert.equal(await disk.prefetch(60 * BLOCK, BLOCK), true);
  await disk.close();
});

test("a limit of ranges that is no number of bytes is not believed", { timeout: 5000 }, async () => {
  for (const limit of ["0.5", "-3", "many", "0"]) {
    server.fault = request =>
      isRead(request) && request.range[1] - request.range[0] >= 3000
        ? lies.status(413, { "Aero-Max-Range-Bytes": limit })
        : undefined;
    const disk = await open();
    assert.deepEqual(await disk.read(0, BLOCK), IMAGE.slice(0, BLOCK), limit);
    await disk.close();
  }
});

test("a signal that is none is a TypeError, and leaves no rejection behind", async () => {
  const disk = await open();
  server.fault = () => lies.reset;
  await assert.rejects(disk.read(0, 10, { signal: "now" }), TypeError);
  await assert.rejects(disk.prefetch(0, 10, { signal: "now" }), TypeError);
  await disk.close();
});

const NONSENSE = {
  persistent: [true, "indexeddb", "OPFS"],
  leaseCarrier: ["cookie", ""],
  credentials: ["yes", 5],
  headers: [5, { "not a name": "x" }],
  lease: [5, true],
  retries: [-1, "many"],
  concurrency: [0, NaN],
  profile: [true, 7, "a/b"],
  timeout: ["soon", 0],
  signal: ["now"],
};
for (const [name, values] of Object.entries(NONSENSE)) {
  test(`an option ${name} that makes no sense is an error that names it, before any request`, async () => {
    for (const value of values) {
      await assert.rejects(open({ [name]: value }), error => {
        assert.ok(error instanceof TypeError || error instanceof RangeError, `${value}: ${error}`);
        assert.match(error.message, new RegExp(name), String(value));
        return true;
      });
    }
    assert.equal(server.requests.length, 0);
  });
}
