// Which view a hash names.

import assert from "node:assert/strict";
import { test } from "node:test";

import "./client-modules.mjs";
import { hashOf, imageViews, viewOf, VIEWS } from "../../browser/page/views.js";

test("every view is found by the hash that leads to it", () => {
  for (const view of VIEWS) {
    const id = view.ofImage ? "win98.se_2-x" : undefined;
    assert.deepEqual(viewOf(hashOf(view, id)), { view, image: id });
    assert.deepEqual(viewOf(`${hashOf(view, id)}?q=a/b`), { view, image: id });
  }
});

test("no hash is the catalog, and one that names nothing leads nowhere", () => {
  assert.equal(viewOf("")?.view.name, "");
  for (const hash of ["#/nowhere", "#/nowhere/x", "#x", "#/image/a/b", "#//", "#/%00"]) {
    assert.equal(viewOf(hash), undefined, hash);
  }
});

test("a view of an image is not shown without one", () => {
  for (const view of imageViews()) assert.equal(viewOf(`#/${view.name}`), undefined);
});

test("every module of a view is there", async () => {
  for (const view of VIEWS) assert.equal(typeof (await view.load()).show, "function", view.name);
});
