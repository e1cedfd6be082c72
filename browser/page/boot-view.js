// @ts-check
/** "Boot it": a PC in this page, whose disk is an image of this server. */

import { BootForm } from "./boot-form.js";
import { BootSession, forgetKept } from "./boot-session.js";
import { DiskMeter } from "./disk-meter.js";
import { element, fill } from "./dom.js";
import { findEmulator } from "./emulator-parts.js";
import { blobOf, fileName, saveFile } from "./save-file.js";
import { ScreenPanel } from "./screen-panel.js";
import { SerialPanel } from "./serial-panel.js";
import { useStyleSheet } from "./stylesheet.js";
import { byteSize, shown } from "./text.js";

const OFF = "The PC is off.";
const MOST_EXPORTED = 4 * 2 ** 30;

/**
 * @typedef {import("./views.js").Context} Context
 * @typedef {import("./boot-form.js").Choice} Choice
 */

/** @param {HTMLElement} root @param {Context} context @returns {Promise<() => void>} */
export async function show(root, context) {
  const { api, image = "", signal } = context;
  await useStyleSheet("./boot.css");
  const [meta, emulator] = await Promise.all([api.meta(image, { signal }), findEmulator(api, signal)]);
  const heading = element("h1", {}, "Boot ", element("bdi", {}, shown(meta.name, 200) || image));
  const facts = element(
    "p",
    { class: "hint" },
    `${byteSize(meta.size_bytes)}, read from this server as the PC asks for it. `,
  );
  if (emulator === undefined) {
    fill(root, heading, facts, absent());
    return () => {};
  }
  const view = new BootView(context, emulator, meta);
  fill(root, heading, facts, view.root, credits(emulator));
  return () => void view.end();
}

/** The one sentence that says how to get what is missing. */
function absent() {
  return element(
    "p",
    { class: "notice" },
    "This server does not have the emulator yet: its operator fetches v86 and SeaBIOS with ",
    element("code", {}, "aero-storage page fetch"),
    ".",
  );
}

/** @param {import("./emulator-parts.js").EmulatorParts} emulator */
function credits({ works }) {
  const of = works.map(({ name, version, licence, licence_file: text, url }, index) => [
    index ? ", " : "",
    element("a", { href: url, rel: "noreferrer" }, `${name} ${version}`),
    " (",
    element("a", { href: text }, licence),
    ")",
  ]);
  return element(
    "p",
    { class: "hint" },
    "The PC is emulated by ",
    of.flat(),
    ". What is written stays in this browser.",
  );
}

class BootView {
  #context;
  #emulator;
  #place;
  #form;
  #status = element("p", { class: "boot-status", role: "status" });
  #alert = element("div", { role: "alert" });
  #stage = element("div", { class: "stage" });
  /** @type {BootSession | undefined} */
  #session;
  /** @type {ScreenPanel | undefined} */
  #screen;
  /** @type {DiskMeter | undefined} */
  #meter;
  #isBusy = false;
  /** Whether the focus went with the PC. */
  #lacksFocus = false;

  /**
   * @param {Context} context
   * @param {import("./emulator-parts.js").EmulatorParts} emulator
   * @param {import("./api.js").Image} meta
   */
  constructor(context, emulator, meta) {
    const { api, leases, image = "" } = context;
    this.#form = new BootForm(
      choice => this.#act("boot", () => this.#boot(choice)),
      () => this.#act("forget", () => this.#forget()),
      !meta.public,
    );
    this.#context = context;
    this.#emulator = emulator;
    this.#place = { id: image, url: api.plainUrl(image, "bytes"), lease: () => leases.get(image) };
    this.root = element("div", {}, this.#form.root, this.#status, this.#alert, this.#stage);
  }

  /**
   * Does one thing at a time, and says what went wrong.
   * @param {string} what
   * @param {() => Promise<string | void>} act
   */
  async #act(what, act) {
    if (this.#isBusy) return;
    this.#isBusy = this.#form.busy = true;
    fill(this.#alert);
    try {
      this.#say((await act()) ?? "");
    } catch (error) {
      console.warn(what, error);
      this.#say("");
      fill(this.#alert, element("p", { class: "problem" }, wordsOf(error)));
    } finally {
      this.#isBusy = false;
      this.#settle();
    }
  }

  #settle() {
    const isBusy = (this.#form.busy = this.#isBusy || this.#session !== undefined);
    if (isBusy || !this.#lacksFocus) return;
    this.#lacksFocus = false;
    this.#form.focus();
  }

  /** @param {string} text */
  #say(text) {
    this.#status.textContent = text;
  }

  /** @param {Choice} choice */
  async #boot(choice) {
    const screen = new ScreenPanel(hears => this.#session?.machine.listen(hears), this.#context.announce);
    const serial = new SerialPanel(text => this.#session?.machine.sendSerial(text));
    const meter = new DiskMeter();
    this.#session = new BootSession(this.#place, this.#emulator, {
      screen: screen.container,
      onSerial: text => serial.write(text),
      onTrouble: trouble => meter.failed(trouble),
      progress: text => this.#say(text),
    });
    const session = this.#session;
    this.#screen = screen;
    this.#meter = meter;
    fill(this.#stage, this.#tools(), element("div", { class: "pc" }, screen.root, meter.root, serial.root));
    try {
      await session.begin(choice);
    } catch (error) {
      const isStopped = this.#session !== session;
      await this.#stop();
      await session.end(); // of things that began after the stop
      if (isStopped) return OFF;
      throw error;
    }
    const { disk, top } = session;
    if (disk && top) meter.follow(disk, () => top.writtenBytes);
    this.#form.clear();
    this.#form.root.hidden = true;
    screen.frame.focus({ preventScroll: true });
    return kept(session, choice);
  }

  #tools() {
    /** @param {string} label @param {() => Promise<string | void>} act */
    const tool = (label, act) => element("button", { type: "button", onclick: () => this.#act(label, act) }, label);
    const state = element("input", { type: "file", hidden: true });
    state.addEventListener("change", () => this.#restore(state));
    return element(
      "div",
      { class: "bar tools", role: "group", "aria-label": "The PC" },
      element("button", { type: "button", onclick: () => this.#off() }, "Stop"),
      tool("Restart", async () => this.#session?.machine.restart()),
      tool("Ctrl+Alt+Del", async () => this.#session?.machine.sendCtrlAltDelete()),
      tool("Lock mouse", async () => this.#session?.machine.lockMouse()),
      tool("Full screen", async () => this.#screen?.fullScreen()),
      tool("Save state", () => this.#save()),
      tool("Restore state", async () => state.click()),
      tool("Export changes", () => this.#export("diff")),
      tool("Export whole disk", () => this.#export("raw")),
      tool("Forget", () => this.#forget()),
      state,
    );
  }

  async #save() {
    const session = this.#running();
    this.#say("Saving the state …");
    const blob = await session.save();
    saveFile(blob, fileName(this.#place.id, "state"));
    return `Saved the state: ${byteSize(blob.size)}.`;
  }

  /** @param {HTMLInputElement} input */
  #restore(input) {
    const file = input.files?.[0];
    input.value = "";
    if (file === undefined) return;
    void this.#act("restore", async () => {
      await this.#running().restore(file);
      return "The PC is as it was when the state was saved.";
    });
  }

  /** @param {"diff" | "raw"} kind */
  async #export(kind) {
    const { disk, top } = this.#running();
    if (disk === undefined || top === undefined) return;
    if (kind === "raw" && disk.size > MOST_EXPORTED) {
      throw new Error(`A disk of ${byteSize(disk.size)} is too large for one file. Export its changes.`);
    }
    this.#say("Exporting …");
    const blob = await blobOf(top.export(kind));
    saveFile(blob, fileName(this.#place.id, kind === "diff" ? "changes" : "img"));
    return `Exported ${byteSize(blob.size)}.`;
  }

  async #forget() {
    if (this.#session) await this.#stop();
    await forgetKept(this.#place);
    return "This browser has forgotten what it kept of this image.";
  }

  /** @returns {BootSession} */
  #running() {
    if (this.#session === undefined) throw new Error("No PC is running.");
    return this.#session;
  }

  async #stop() {
    const session = this.#session;
    this.#session = undefined;
    this.#meter?.stop();
    this.#screen?.end();
    this.#lacksFocus ||= this.#stage.contains(document.activeElement);
    fill(this.#stage);
    this.#form.root.hidden = false;
    await session?.end();
  }

  /** Switches the PC off at any time, also while something else is under way. */
  async #off() {
    await this.#stop();
    this.#say(OFF);
    this.#settle();
  }

  async end() {
    await this.#stop();
  }
}

/** @param {BootSession} session @param {Choice} choice */
function kept({ disk, top }, { keep }) {
  if (!keep || (disk?.persistent && top?.persistent)) return "The PC is on.";
  return "The PC is on. This browser keeps nothing beyond this session.";
}

/** @type {Record<string, string>} */
const ADVICE = {
  forbidden: "Another tab may have this disk open: stop the PC there, or boot without keeping anything.",
  changed: "The image on the server is another version.",
  expired: "It takes a lease that is good for this image; give one in the list of images.",
  quota: "This browser has no room for what should be kept.",
};

/** @param {unknown} error */
function wordsOf(error) {
  const { message = "", code = "" } = /** @type {{ message?: string, code?: string }} */ (error ?? {});
  const text = message ? `${message.charAt(0).toUpperCase()}${message.slice(1)}` : "It cannot be done.";
  return [shown(text, 500).replace(/[^.!?]$/, "$&."), ADVICE[code]].filter(Boolean).join(" ");
}
