// Leases: how they travel, when they are renewed, and what becomes of those that are refused.

import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";

import { AeroDisk, AeroDiskError } from "../../browser/aero-disk.js";
import { LeaseHolder } from "../../browser/leases.js";
import { bytesOf, lies, LyingServer } from "./lying-server.mjs";

const IMAGE = bytesOf(1, 102_400);
const OPTIONS = { profile: false, retryDelay: 1, readAhead: 0, blockSize: 4096 };

let server;
const disks = [];

async function open(options = {}, url = server.base) {
  const disk = await AeroDisk.open(url, { ...OPTIONS, ...options });
  disks.push(disk);
  return disk;
}

beforeEach(async () => {
  server = await LyingServer.start(IMAGE);
});
afterEach(async () => {
  await Promise.all(disks.splice(0).map(disk => disk.close()));
  await server.stop();
});

const code = wanted => error => {
  assert.ok(error instanceof AeroDiskError, String(error));
  assert.equal(error.code, wanted, error.message);
  return true;
};

// A token as the daemon's, but for its signature.
function token(claims = {}) {
  const part = value => Buffer.from(JSON.stringify(value)).toString("base64url");
  return `${part({ alg: "HS256" })}.${part({ jti: Math.random(), ...claims })}.c2ln`;
}
const inSeconds = seconds => Math.floor(Date.now() / 1000) + seconds;

test("a lease in the URL goes on in the query, and no error or name shows it", async () => {
  server.lease = token();
  const disk = await open({}, `${server.base}?lease=${server.lease}&tenant=7`);
  assert.deepEqual(await disk.read(0, 10), IMAGE.slice(0, 10));
  assert.equal(server.reads[0].query, `?lease=${server.lease}&tenant=7&0-4095`);
  assert.equal(server.reads[0].headers.authorization, undefined);
  assert.equal(disk.url, `${server.base}?tenant=7`);
  server.lease = "another";
  await assert.rejects(disk.read(50_000, 10), error => code("expired")(error) && !error.message.includes("c2ln"));
});

test("a lease that is given goes in Authorization, or in the query where that is asked for", async () => {
  server.lease = token();
  const disk = await open({ lease: server.lease });
  await disk.read(0, 10);
  assert.equal(server.reads[0].headers.authorization, `Bearer ${server.lease}`);
  assert.equal(server.reads[0].query, "?0-4095");
  const other = await open({ lease: server.lease, leaseCarrier: "query" });
  await other.read(0, 10);
  assert.equal(server.reads[1].query, `?lease=${server.lease}&0-4095`);
});

test("chunks and manifests have the lease as well", async () => {
  server.lease = token();
  const disk = await open({ lease: server.lease, mode: "chunks" });
  assert.deepEqual(await disk.read(0, 10), IMAGE.slice(0, 10));
});

test("no lease for a private image is `expired`", async () => {
  server.lease = token();
  await assert.rejects(open(), code("expired"));
});

test("a function brings the lease; on a 401 it is asked once for a fresh one, for all reads", async () => {
  server.lease = token();
  let calls = 0;
  const disk = await open({
    lease: async () => {
      calls += 1;
      return server.lease;
    },
  });
  assert.equal(calls, 1);
  server.lease = token(); // the one in hand is refused from now on
  const reads = [0, 10_000, 20_000, 30_000].map(offset => disk.read(offset, 10));
  assert.deepEqual(
    await Promise.all(reads),
    [0, 10_000, 20_000, 30_000].map(offset => IMAGE.slice(offset, offset + 10)),
  );
  assert.equal(calls, 2);
});

test("a fresh lease that is refused as well is `expired`, and so is a function that fails", async () => {
  server.lease = token();
  let given = server.lease;
  const disk = await open({
    lease: () => {
      if (given instanceof Error) throw given;
      return given;
    },
  });
  server.lease = token();
  await assert.rejects(disk.read(0, 10), code("expired"));
  assert.equal(server.reads.length, 2);
  given = new Error("the application is away");
  await assert.rejects(disk.read(0, 10), error => code("expired")(error) && error.cause === given);
});

test("a lease is renewed before its end, while reads go on with the old one", async t => {
  t.mock.timers.enable({ apis: ["Date"], now: Date.now() });
  let calls = 0;
  const holder = new LeaseHolder(() => {
    calls += 1;
    return token({ iat: inSeconds(0), exp: inSeconds(600), jti: calls });
  });
  const one = await holder.current();
  t.mock.timers.tick(500_000);
  assert.equal(await holder.current(), one);
  t.mock.timers.tick(45_000);
  assert.equal(await holder.current(), one); // this asks for the next one
  await new Promise(resolve => setImmediate(resolve));
  assert.notEqual(await holder.current(), one);
  assert.equal(calls, 2);
  t.mock.timers.tick(700_000); // a laptop that was asleep
  await holder.current();
  assert.equal(calls, 3);
});

test("a lease whose times cannot be read is renewed once, in the last quarter of its time", async t => {
  t.mock.timers.enable({ apis: ["Date"], now: Date.now() });
  let calls = 0;
  const holder = new LeaseHolder(() => `opaque-${(calls += 1)}`);
  const one = await holder.current();
  for (const remaining of [40, 30, 20]) {
    holder.noteRemaining(one, String(remaining));
    assert.equal(await holder.current(), one);
    t.mock.timers.tick(10_000);
  }
  await new Promise(resolve => setImmediate(resolve));
  assert.equal(calls, 1);
  holder.noteRemaining(one, "9");
  await holder.current();
  await new Promise(resolve => setImmediate(resolve));
  assert.equal(await holder.current(), "opaque-2");
  for (const nonsense of ["", "-5", "soon", "1e9", null]) holder.noteRemaining("opaque-2", nonsense);
  assert.equal(await holder.current(), "opaque-2");
  assert.equal(calls, 2);
});

test("a lease cannot bring further parameters into an address", () => {
  const holder = new LeaseHolder("a&b=c#d", "query");
  const url = holder.attach("a&b=c#d", new URL("http://localhost/x?y=1"), new Headers());
  assert.equal(url.search, "?lease=a%26b%3Dc%23d&y=1");
});

test("what the server says of a lease counts, not a wrong clock", async t => {
  t.mock.timers.enable({ apis: ["Date"], now: Date.now() });
  let calls = 0;
  const holder = new LeaseHolder(() => {
    calls += 1;
    return token({ iat: inSeconds(-7200), exp: inSeconds(-6600), jti: calls });
  });
  const one = await holder.current();
  assert.equal(await holder.current(), one);
  holder.noteRemaining(one, "600");
  t.mock.timers.tick(500_000);
  assert.equal(await holder.current(), one);
  assert.equal(calls, 1);
  t.mock.timers.tick(101_000);
  assert.notEqual(await holder.current(), one);
});

test("a lease that may not travel in URLs any more goes in Authorization", () => {
  const held = token({ exp: inSeconds(600), uexp: inSeconds(-5) });
  const holder = new LeaseHolder(held, "query");
  const headers = new Headers();
  assert.equal(holder.attach(held, new URL(server.base), headers).search, "");
  assert.equal(headers.get("Authorization"), `Bearer ${held}`);
});

test("a function may give a URL or an object with one", async () => {
  for (const given of [
    "t.o.k",
    "http://images.example/v1/images/win98?lease=t.o.k",
    { lease: "t.o.k" },
    { url: "/v1/images/win98?lease=t.o.k" },
  ]) {
    assert.equal(await new LeaseHolder(() => given).current(), "t.o.k");
  }
  await assert.rejects(new LeaseHolder(() => undefined).current(), code("expired"));
  await assert.rejects(new LeaseHolder(() => "http://images.example/").current(), code("expired"));
});

test("a lease for something else is `forbidden`", async () => {
  server.lease = token();
  const disk = await open({ lease: server.lease });
  server.fault = ({ range }) => (range ? lies.status(403) : undefined);
  await assert.rejects(disk.read(0, 10), code("forbidden"));
});

test("a 401 ends prefetches", async () => {
  server.lease = token();
  const disk = await open({ lease: server.lease, concurrency: 2 });
  server.lease = token();
  await assert.rejects(disk.prefetch(0, 80_000), code("expired"));
  assert.equal(server.reads.length, 1);
});
