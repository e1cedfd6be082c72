// Search, order and pages of the catalog.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Catalog, hashOfQuery, PAGE_SIZE, queryOf } from "../../browser/page/catalog.js";

const image = (id, more = {}) => ({ id, name: id, size_bytes: 1, last_modified: "2026-01-01T00:00:00Z", ...more });
const ALL = { words: "", order: "listed", page: 1 };
const ids = found => found.images.map(({ id }) => id);
const numbered = count => Array.from({ length: count }, (_, number) => image(`image-${number}`));

test("pages have fifty images each, in the order of the list", () => {
  const catalog = new Catalog(numbered(120));
  const found = [1, 2, 3].map(page => catalog.find({ ...ALL, page }));
  assert.deepEqual(
    found.map(({ images }) => images.length),
    [PAGE_SIZE, PAGE_SIZE, 20],
  );
  assert.deepEqual(
    found.map(({ start, pages, count }) => [start, pages, count]),
    [
      [0, 3, 120],
      [50, 3, 120],
      [100, 3, 120],
    ],
  );
  assert.deepEqual(
    found.flatMap(ids),
    numbered(120).map(({ id }) => id),
  );
});

test("a page that is not there is the nearest one", () => {
  const catalog = new Catalog(numbered(60));
  assert.deepEqual(
    [0, -3, 9].map(page => catalog.find({ ...ALL, page }).page),
    [1, 1, 2],
  );
  assert.deepEqual(new Catalog([]).find({ ...ALL, page: 4 }), { images: [], count: 0, pages: 1, page: 1, start: 0 });
});

test("a search finds all its words anywhere, whatever their case and accents", () => {
  const catalog = new Catalog([
    image("one", { name: "Système", description: "A small Linux", version: "v-7" }),
    image("two", { name: "Windows", description: "with Système" }),
  ]);
  const find = words => ids(catalog.find({ ...ALL, words }));
  assert.deepEqual(find("SYSTEME"), ["one", "two"]);
  assert.deepEqual(find(" linux   système "), ["one"]);
  assert.deepEqual([find("v-7"), find("two"), find("nothing"), find("  ")], [["one"], ["two"], [], ["one", "two"]]);
  assert.deepEqual(find("(.*"), []);
});

test("orders are by name, by size and by last change, and leave the list as it was", () => {
  const catalog = new Catalog([
    image("b", { name: "disk 10", size_bytes: 5, last_modified: "2026-03-01T00:00:00Z" }),
    image("c", { name: "disk 9", size_bytes: 7, last_modified: "2026-02-01T00:00:00Z" }),
    image("a", { name: "Alpha", size_bytes: 6, last_modified: "2026-04-01T00:00:00Z" }),
  ]);
  const found = ["name", "size", "changed", "listed"].map(order => ids(catalog.find({ ...ALL, order })).join(""));
  assert.deepEqual(found, ["acb", "cab", "abc", "bca"]);
});

test("a query survives the way through the hash", () => {
  for (const query of [
    ALL,
    { words: "a&b=c #/?é", order: "size", page: 7 },
    { words: "x", order: "name", page: 1 },
  ]) {
    assert.deepEqual(queryOf(hashOfQuery(query)), query);
  }
  assert.equal(hashOfQuery(ALL), "#/");
});

test("a hash that makes no sense is that of all images", () => {
  for (const hash of ["", "#/", "#/?page=x&order=evil", "#/?page=-1"]) assert.deepEqual(queryOf(hash), ALL, hash);
});
