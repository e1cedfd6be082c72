// Requests of the page for lists and metadata.

import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { mock, test } from "node:test";

import { Api, Failure, waitOf } from "../../browser/page/api.js";

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

// Answers with a head, and the beginning of a body that goes on when `more` is called.
function stalling(beginning) {
  let body;
  const cancelled = [];
  const stream = new ReadableStream({
    start: controller => void (body = controller),
    cancel: reason => void cancelled.push(reason),
  });
  body.enqueue(new TextEncoder().encode(beginning));
  globalThis.fetch = async () => new Response(stream);
  return { body, cancelled };
}

const turns = async () => {
  for (let count = 0; count < 20; count += 1) await null;
};

test("a body that falls silent for half a minute is given up, and what it holds is let go", async () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  try {
    const { cancelled } = stalling("[{");
    const api = new Api({ get: () => undefined, ids: [] });
    const failed = assert.rejects(api.list(), error => error instanceof Failure && error.kind === "offline");
    await turns();
    mock.timers.tick(30_000);
    await failed;
    assert.equal(cancelled.length, 1);
  } finally {
    mock.timers.reset();
  }
});

test("a body that comes slowly is waited for", async () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  try {
    const { body } = stalling("{");
    const found = new Api({ get: () => undefined, ids: [] }).json("/slow");
    for (const part of ['"a', '":', "1}"]) {
      await turns();
      mock.timers.tick(29_000);
      body.enqueue(new TextEncoder().encode(part));
    }
    body.close();
    assert.deepEqual(await found, { a: 1 });
  } finally {
    mock.timers.reset();
  }
});

test("a body that is no JSON is the server's fault", async () => {
  globalThis.fetch = async () => new Response("<html>");
  const api = new Api({ get: () => undefined, ids: [] });
  await assert.rejects(api.list(), error => error instanceof Failure && error.kind === "broken");
});

test("an image of a lease that fails leaves the others, and is told of", async () => {
  for (const [status, kind] of [
    [500, "broken"],
    [503, "busy"],
    [401, "refused"],
    [404, "missing"],
  ]) {
    globalThis.fetch = async path =>
      path.includes("/secret/") ? new Response("", { status }) : new Response(JSON.stringify(IMAGES));
    const { images, troubles } = await new Api({ get: () => "a.b.c", ids: ["secret"] }).list();
    assert.deepEqual(images, IMAGES);
    assert.deepEqual(
      troubles.map(({ id, error }) => [id, error.kind]),
      [["secret", kind]],
    );
  }
});

test("a listing whose trouble is another one is another listing", async () => {
  const tags = [];
  for (const status of [500, 401]) {
    globalThis.fetch = async path =>
      path.includes("/secret/") ? new Response("", { status }) : new Response(JSON.stringify(IMAGES));
    tags.push((await new Api({ get: () => "a.b.c", ids: ["secret"] }).list()).tag);
  }
  assert.notEqual(tags[0], tags[1]);
});

test("a view that ends while a list comes ends it as such, and not as a failure of the server", async () => {
  globalThis.fetch = async (path, { signal }) => {
    if (!path.includes("/secret/")) return new Response(JSON.stringify(IMAGES));
    return new Promise((_, fail) => signal.addEventListener("abort", () => fail(signal.reason)));
  };
  const view = new AbortController();
  const listed = new Api({ get: () => "a.b.c", ids: ["secret"] }).list({ signal: view.signal });
  const failed = assert.rejects(listed, { name: "AbortError" });
  await turns();
  view.abort();
  await failed;
});

test("a busy server is asked again after the time that it names, within bounds", () => {
  assert.deepEqual(
    [7, 0, 3600].map(seconds => waitOf(new Failure("busy", 503, seconds))),
    [7, 1, 60],
  );
  assert.equal(waitOf(new Failure("broken", 500)), 0);
  assert.equal(waitOf(new Error("x")), 0);
});

test("the metadata tells what an image has beside its bytes", async () => {
  const api = new Api({ get: () => undefined, ids: [] });
  const link = name => `</v1/images/one/${name}>; rel="urn:aero-storage:${name}"`;
  for (const [header, found] of [
    [undefined, { profile: false, chunks: false }],
    [link("profile"), { profile: true, chunks: false }],
    [`${link("profile")}, ${link("chunks")}`, { profile: true, chunks: true }],
  ]) {
    globalThis.fetch = async (path, { method }) => {
      assert.deepEqual([path, method], ["/v1/images/one/meta", "HEAD"]);
      return new Response(null, { headers: header && { Link: header } });
    };
    assert.deepEqual(await api.linked("one"), found);
  }
});
