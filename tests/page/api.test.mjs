// Requests of the page for lists and metadata.

import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { test } from "node:test";

import { Api } from "../../browser/page/api.js";

const IMAGES = [{ id: "one" }, { id: "two" }];

// Answers all requests with the list of images, and keeps them.
function answering(asked = []) {
  globalThis.fetch = async (path, request) => {
    asked.push({ path, ...request });
    return new Response(JSON.stringify(IMAGES), { headers: { ETag: '"list"' } });
  };
  return asked;
}

test("requests that are over leave nothing at the signal of a view", async () => {
  answering();
  const api = new Api({ get: () => undefined, ids: [] });
  const { signal } = new AbortController();
  for (let count = 0; count < 20; count += 1) await (await api.ask("/metrics", { signal })).text();
  assert.equal(getEventListeners(signal, "abort").length, 0);
});

test("a request ends with its view, also when its head has come", async () => {
  const asked = answering();
  const api = new Api({ get: () => undefined, ids: [] });
  const view = new AbortController();
  await api.ask("/metrics", { signal: view.signal });
  assert.equal(asked[0].signal.aborted, false);
  view.abort();
  assert.equal(asked[0].signal.aborted, true);
});

test("a lease of an image that is listed anyway makes it another listing", async () => {
  const asked = answering();
  const leases = { get: () => "a.b.c", ids: [] };
  const api = new Api(leases);
  const before = await api.list();
  leases.ids = ["two"];
  const after = await api.list();
  assert.notEqual(before.tag, after.tag);
  assert.deepEqual(after.images, IMAGES);
  assert.deepEqual(
    asked.map(({ path, headers }) => [path, headers]),
    [
      ["/v1/images", {}],
      ["/v1/images", {}],
    ],
  );
});
