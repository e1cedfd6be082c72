// v86 itself boots from the client: its BIOS, its disk controller, its states.
// tests/browser/test_v86.py tells where v86 and the BIOS are, in the variable V86.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, afterEach, beforeEach, test } from "node:test";
import { pathToFileURL } from "node:url";

import { AeroDisk, Overlay, v86Buffer } from "../../browser/aero-disk.js";
import { bytesOf, first, lies, LyingServer } from "./lying-server.mjs";

const { modules, bios } = JSON.parse(process.env.V86 ?? "{}");
const options = { skip: modules === undefined && "no v86", timeout: 100_000 };
const SECTOR = 512;
const FROM = 2000;
const TO = 10;

// Reads sector FROM, writes it to sector TO, and sends it to the serial port; a `!` if a disk call fails.
const PROGRAM = [
  0x31,
  0xc0,
  0x8e,
  0xd8,
  0x8e,
  0xc0,
  0x8e,
  0xd0,
  0xbc,
  0x00,
  0x7c, // ax, ds, es, ss = 0; sp = 0x7c00
  0xb4,
  0x42,
  0xbe,
  0x60,
  0x7c,
  0xcd,
  0x13,
  0x72,
  0x1a, // int 13h, ah = 42h: read as the packet at 0x7c60 says
  0xb8,
  0x00,
  0x43,
  0xbe,
  0x70,
  0x7c,
  0xcd,
  0x13,
  0x72,
  0x10, // int 13h, ah = 43h: write as the packet at 0x7c70 says
  0xbe,
  0x00,
  0x80,
  0xb9,
  0x00,
  0x02,
  0xba,
  0xf8,
  0x03, // si = 0x8000, cx = 512, dx = 0x3f8
  0xac,
  0xee,
  0xe2,
  0xfc,
  0xf4,
  0xeb,
  0xfd, // send cx bytes; halt
  0xb0,
  0x21,
  0xba,
  0xf8,
  0x03,
  0xee,
  0xf4,
  0xeb,
  0xfd, // send a "!"; halt
];
const packet = sector => [0x10, 0, 1, 0, 0x00, 0x80, 0, 0, sector & 255, sector >> 8, 0, 0, 0, 0, 0, 0];

function bootableImage() {
  const image = bytesOf(86, 2 << 20);
  image.fill(0, 0, SECTOR);
  image.set(PROGRAM, 0);
  image.set(packet(FROM), 0x60);
  image.set(packet(TO), 0x70);
  image.set([0x55, 0xaa], 510);
  return image;
}

const IMAGE = bootableImage();
const SENT = IMAGE.slice(FROM * SECTOR, (FROM + 1) * SECTOR);

let server;
const machines = [];
const disks = [];

async function machine(buffer, autostart = true) {
  const { V86 } = await import(pathToFileURL(`${modules}/node_modules/v86/build/libv86.mjs`));
  const file = name => ({ buffer: readFileSync(`${bios}/${name}`).buffer.slice(0) });
  const emulator = new V86({
    wasm_path: `${modules}/node_modules/v86/build/v86.wasm`,
    memory_size: 32 << 20,
    bios: file("bios.bin"),
    vga_bios: file("vgabios-stdvga.bin"),
    hda: buffer,
    autostart,
    disable_speaker: true,
  });
  machines.push(emulator);
  emulator.sent = new Promise(resolve => {
    const bytes = [];
    emulator.add_listener("serial0-output-byte", byte => {
      bytes.push(byte);
      if (bytes.length === SECTOR || (bytes.length === 1 && byte === 0x21)) resolve(Uint8Array.from(bytes));
    });
  });
  await new Promise(resolve => emulator.add_listener("emulator-loaded", resolve));
  return emulator;
}

async function open() {
  const disk = await AeroDisk.open(server.base, { profile: false, retryDelay: 1, retries: 1 });
  disks.push(disk);
  return disk;
}

beforeEach(async () => {
  server = await LyingServer.start(IMAGE);
});
afterEach(async () => {
  for (const emulator of machines.splice(0)) await emulator.destroy();
  for (const disk of disks.splice(0)) await disk.close();
  await server.stop();
});
after(() => setImmediate(() => process.exit())); // v86 leaves timers

test(
  "a machine boots, reads and writes; its writes are in the overlay, in the export and in the state",
  options,
  async () => {
    const top = await Overlay.open(await open());
    const emulator = await machine(v86Buffer(top));
    assert.deepEqual(await emulator.sent, SENT);
    assert.deepEqual(await top.read(TO * SECTOR, SECTOR), SENT);
    const back = await Overlay.import(top.export("diff"), await open());
    assert.deepEqual(await back.read(TO * SECTOR, SECTOR), SENT);

    await emulator.stop();
    const state = await emulator.save_state();
    const fresh = await Overlay.open(await open());
    const restored = await machine(v86Buffer(fresh), false);
    await restored.restore_state(state);
    assert.deepEqual(await fresh.read(TO * SECTOR, SECTOR), SENT);

    server.put(bytesOf(87, 2 << 20));
    const other = await machine(v86Buffer(await open()), false);
    await assert.rejects(async () => other.restore_state(state), { code: "changed" });
  },
);

test("a machine waits for a server that fails, and boots when it is there again", options, async () => {
  const told = [];
  const buffer = v86Buffer(await open(), { onTrouble: trouble => told.push(trouble.error.code) });
  server.fault = first(({ range }) => range, lies.status(500), 5);
  const emulator = await machine(buffer);
  assert.deepEqual(await emulator.sent, SENT);
  assert.deepEqual(new Set(told), new Set(["network"]));
});
