// Examples to copy: the right address, no lease unless it was asked for, and text that stays text in a shell.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";

import "./client-modules.mjs";

const { snippetsOf } = await import("../../browser/page/snippets.js");

const FACTS = { origin: "https://images.example.com", id: "win98", size: 1 << 30, isPublic: true, version: "v-12" };
const IMAGE = "https://images.example.com/v1/images/win98";
const textsOf = facts => Object.fromEntries(snippetsOf({ ...FACTS, ...facts }).map(({ id, text }) => [id, text]));

test("there is one for each program, with the address of the image or of its version", () => {
  const texts = textsOf({});
  assert.deepEqual(Object.keys(texts), ["curl", "fetch", "aero-disk", "v86", "qemu", "nginx"]);
  for (const id of ["curl", "fetch", "qemu"]) assert.ok(texts[id].includes(`${IMAGE}/versions/v-12`), id);
  for (const id of ["aero-disk", "v86"]) assert.ok(texts[id].includes(`AeroDisk.open("${IMAGE}"`), id);
  assert.ok(texts["aero-disk"].includes('from "https://images.example.com/client/aero-disk.js"'));
  assert.match(texts.nginx, /location \/v1\/images\/win98 \{\n {4}proxy_pass https:\/\/images\.example\.com;/);
  assert.ok(textsOf({ version: undefined }).curl.includes(`'${IMAGE}'`));
});

test("a public image has no word of leases; a private one has a word in the place of one", () => {
  assert.ok(!Object.values(textsOf({})).some(text => /lease|Bearer/i.test(text)));
  const texts = textsOf({ isPublic: false });
  for (const id of ["curl", "fetch", "aero-disk", "v86", "qemu"]) assert.ok(texts[id].includes("YOUR-LEASE"), id);
});

test("a lease that was asked for is where the program takes it, and never in a configuration of nginx", () => {
  const texts = textsOf({ isPublic: false, lease: "a.b.c" });
  for (const id of ["curl", "fetch", "aero-disk", "v86", "qemu"]) assert.ok(texts[id].includes("a.b.c"), id);
  assert.ok(!texts.nginx.includes("a.b.c"));
});

test("a small image is read up to its end", () => {
  assert.ok(textsOf({ size: 100 }).curl.includes("-r 0-99 "));
  assert.ok(textsOf({ size: 0 }).curl.includes("-r 0-0 "));
});

test("nothing of an id or a lease runs in a shell, and names of files are plain", () => {
  for (const lease of ["'; echo pwned >&2; '", "$(echo pwned >&2)", "`echo pwned >&2`"]) {
    const { curl } = textsOf({ id: "a'b$(x)", lease });
    const script = `curl() { printf '%s\\n' "$@"; }; od() { cat >/dev/null; }\n${curl}`;
    const printed = execFileSync("sh", ["-c", script], { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
    assert.ok(printed.includes(`Authorization: Bearer ${lease}`), printed);
    assert.ok(printed.includes("-o\na_b__x_.img\n"), printed);
  }
});

test("programs of JavaScript compile", () => {
  const texts = textsOf({ id: 'x"y', isPublic: false, lease: 'q"\\' });
  for (const id of ["fetch", "aero-disk", "v86"]) {
    const body = texts[id].replace(/^import .*$/gm, "");
    assert.doesNotThrow(() => new Function(`return async () => { ${body} }`), id);
  }
});
