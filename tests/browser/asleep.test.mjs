// A process that stands still: timers fire before what came meanwhile is handled.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { AeroDisk } from "../../browser/aero-disk.js";
import { awakeTimeout } from "../../browser/waiting.js";
import { bytesOf, LyingServer } from "./lying-server.mjs";

const IMAGE = bytesOf(7, 1 << 20);
let server;

before(async () => {
  server = await LyingServer.start(IMAGE);
});

after(() => server.stop());

function standStill(milliseconds) {
  const end = performance.now() + milliseconds;
  while (performance.now() < end);
}

test("an answer that came while the process stood still is taken, though the time for it is over", async () => {
  const disk = await AeroDisk.open(server.base, { profile: false, readAhead: 0, retries: 0, timeout: 1000 });
  server.fault = ({ range }) =>
    range &&
    ((response, { status, headers, body }) => {
      response.writeHead(status, headers);
      response.end(body, () => setImmediate(standStill, 2300));
    });
  assert.deepEqual(await disk.read(5000, 512), IMAGE.slice(5000, 5512));
  await disk.close();
});

test("a time limit acts once, also after it was late; not if it was stopped", async () => {
  const acts = [];
  awakeTimeout(300, () => acts.push("late"));
  awakeTimeout(5000, () => acts.push("never"))();
  const stop = awakeTimeout(300, () => acts.push("stopped"));
  standStill(1400);
  await new Promise(resolve => setTimeout(resolve, 5));
  assert.deepEqual(acts, []);
  stop();
  await new Promise(resolve => setTimeout(resolve, 400));
  assert.deepEqual(acts, ["late"]);
});
