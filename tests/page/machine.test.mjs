// The PC around an emulator, which here is one that does nothing but note.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Machine } from "../../browser/page/machine.js";

const HARDWARE = { drive: "hda", memory: 32, disk: {}, screen: {} };

// A class like V86, whose instances note what they are told. They are ready when `say` says so.
function emulatorClass() {
  return class {
    static made = [];
    listeners = {};
    noted = [];

    constructor() {
      this.constructor.made.push(this);
    }

    add_listener(name, act) {
      this.listeners[name] = act;
    }

    say(name, detail) {
      this.keyboard_set_enabled = this.mouse_set_enabled = hears => this.noted.push(hears);
      this.serial0_send = text => this.noted.push(text);
      this.listeners[name](detail);
    }

    is_running = () => false;
    run = async () => this.noted.push("run");
    destroy = async () => this.noted.push("destroy");
  };
}

test("a keyboard that is given to a PC before it is ready is heard once it is; what is typed before goes nowhere", async () => {
  for (const hears of [true, false]) {
    const [V86, machine] = [emulatorClass(), new Machine(() => {})];
    machine.listen(hears);
    const on = machine.powerOn(V86, {}, HARDWARE);
    machine.listen(hears);
    machine.sendSerial("early");
    V86.made[0].say("emulator-ready");
    await on;
    machine.sendSerial("late");
    assert.deepEqual(V86.made[0].noted, [hears, hears, "run", "late"]);
  }
});

test("a PC that is switched off before it is ready does not keep its caller waiting", { timeout: 5000 }, async () => {
  const [V86, machine] = [emulatorClass(), new Machine(() => {})];
  const on = machine.powerOn(V86, {}, HARDWARE);
  const failed = assert.rejects(on, /switched off/);
  await machine.powerOff();
  await failed;
  assert.deepEqual(V86.made[0].noted, ["destroy"]);
  machine.listen(true);
  machine.sendSerial("after the end");
  await machine.powerOff();
});

test("a part that cannot be had is named", async () => {
  const [V86, machine] = [emulatorClass(), new Machine(() => {})];
  const on = machine.powerOn(V86, {}, HARDWARE);
  V86.made[0].say("download-error", { file_name: "bios.bin" });
  await assert.rejects(on, /bios.bin cannot be had/);
});
