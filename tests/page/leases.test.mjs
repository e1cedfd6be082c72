// Leases in the storage of a tab.

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { LeaseError, Leases } from "../../browser/page/leases.js";

const part = value => Buffer.from(JSON.stringify(value)).toString("base64url");
const token = img => `${part({ alg: "HS256" })}.${part({ img })}.c2ln`;

class TabStorage {
  kept = new Map();
  getItem = key => this.kept.get(key) ?? null;
  setItem(key, value) {
    if (this.isFull) throw new DOMException("full", "QuotaExceededError");
    this.kept.set(key, value);
  }
}

let storage;
beforeEach(() => {
  storage = new TabStorage();
});

test("a lease is kept for every image that it names, by itself or in a URL", () => {
  const leases = new Leases(storage);
  assert.deepEqual(leases.add(` ${token(["one", "two"])}\n`), ["one", "two"]);
  assert.deepEqual(leases.add(`https://images.test/v1/images/three?x=1&lease=${token("three")}#end`), ["three"]);
  assert.equal(leases.get("two"), token(["one", "two"]));
  assert.deepEqual(leases.ids, ["one", "two", "three"]);
});

test("leases come back in the same tab, and are gone when they are forgotten", () => {
  new Leases(storage).add(token(["one", "two"]));
  const again = new Leases(storage);
  again.forget("one");
  assert.deepEqual([again.ids, new Leases(storage).ids], [["two"], ["two"]]);
});

test("a text that is no lease is refused in words", () => {
  const leases = new Leases(storage);
  const texts = [
    "",
    "a.b",
    "a.b.c.d",
    "a b.c.d",
    "a.b.<script>",
    "https://images.test/?lease=",
    "x".repeat(3000),
    "a.b.c",
  ];
  for (const text of [...texts, token([]), token("../etc"), token(7), token(Array(17).fill("a"))]) {
    assert.throws(() => leases.add(text), LeaseError, text.slice(0, 40));
  }
  assert.deepEqual([leases.ids, storage.kept.size], [[], 0]);
});

test("a storage that is missing, full or spoilt costs no lease of this page", () => {
  for (const spoilt of ["", "[1", "null", "7", '{"a": "no token", "../x": "a.b.c"}']) {
    storage.kept.set("aero-leases", spoilt);
    assert.deepEqual(new Leases(storage).ids, [], spoilt);
  }
  storage.isFull = true;
  for (const place of [undefined, storage]) {
    const leases = new Leases(place);
    leases.set("one", token("one"));
    assert.equal(leases.get("one"), token("one"));
  }
});
