// @ts-check
/** The partitions of a disk, and its boot sector. */

import { element } from "./dom.js";
import { factList, section } from "./panel.js";
import { byteSize, shown } from "./text.js";

const LONGEST = 120;
const MOST_SHOWN = 128;
/** Facts with a line of their own. */
const LONG = ["Name", "Label", "UUID", "Details"];

/**
 * @typedef {import("./panel.js").Parts} Parts
 * @typedef {import("./partitions.js").Examined} Examined
 * @typedef {import("./partitions.js").FileSystem} FileSystem
 */

/** @param {Parts} parts @returns {import("./panel.js").Panel} */
export function partitionsPanel({ layout, disk, goTo }) {
  const { scheme, partitions, whole, remarks, sectorSize } = layout;
  const left = partitions.length - MOST_SHOWN;
  return {
    section: section(
      "partitions",
      "Partitions",
      element("p", {}, sentence(scheme, partitions.length, sectorSize)),
      whole && element("div", { class: "whole" }, element("h3", {}, wholeTitle(scheme)), contentFacts(whole)),
      partitions.length > 0 &&
        element(
          "ol",
          { class: "cards" },
          partitions.slice(0, MOST_SHOWN).map(one => card(one, sectorSize, disk.size, goTo)),
        ),
      left > 0 && element("p", {}, `And ${left} more.`),
      remarks.length > 0 && [
        element("h3", {}, "What is odd"),
        element(
          "ul",
          { class: "remarks" },
          remarks.map(text => element("li", {}, text)),
        ),
      ],
    ),
  };
}

/** @param {string} scheme */
function wholeTitle(scheme) {
  return scheme === "none" ? "The whole disk" : "From its first byte on";
}

/** @param {import("./partitions.js").Layout["scheme"]} scheme @param {number} count @param {number} sectorSize */
function sentence(scheme, count, sectorSize) {
  if (scheme === "none") return "There is no partition table.";
  const names = { GPT: "a GUID partition table", MBR: "a master boot record", Apple: "an Apple partition map" };
  const sectors = sectorSize === 512 ? "" : `, of sectors of ${sectorSize} bytes`;
  return `The disk has ${names[scheme]} with ${count === 1 ? "1 partition" : `${count} partitions`}${sectors}.`;
}

/** @param {Examined} partition @param {number} sectorSize @param {number} size @param {Parts["goTo"]} goTo */
function card(partition, sectorSize, size, goTo) {
  const { number, start, size: length, type, name, isBootable, content, isExtended } = partition;
  const isThere = Number.isSafeInteger(start) && start < size;
  const label = `Show bytes of partition ${number}`;
  return element(
    "li",
    { class: "card" },
    element("h3", {}, `${number}: ${shown(type, LONGEST)}`),
    factList(
      [
        ["Begins at", `LBA ${start / sectorSize}`],
        ["Size", byteSize(length)],
        ["Name", name && element("bdi", {}, shown(name, LONGEST))],
        ["Bootable", isBootable && "yes"],
        ["Holds", isExtended ? "logical partitions" : (content?.name ?? "nothing that is known")],
        ...labels(content),
      ],
      LONG,
    ),
    isThere && element("button", { type: "button", onclick: () => goTo(start), "aria-label": label }, "Show bytes"),
  );
}

/** @param {FileSystem} content */
function contentFacts(content) {
  return factList([["Holds", content.name], ...labels(content)], LONG);
}

/** @param {FileSystem | undefined} content @returns {[string, import("./dom.js").Child][]} */
function labels(content) {
  return [
    ["Label", content?.label && element("bdi", {}, shown(content.label, LONGEST))],
    ["UUID", content?.uuid && element("code", {}, shown(content.uuid, LONGEST))],
    ["Details", content?.details && shown(content.details, LONGEST)],
  ];
}

/** @param {Parts} parts @returns {import("./panel.js").Panel} */
export function bootSectorPanel({ layout, goTo }) {
  const { jump, oem, isSigned, isEmpty, texts, loader } = layout.bootSector;
  const facts = factList([
    ["Signature", isSigned ? "55 AA" : "none"],
    ["Begins with", jump && `a jump, ${jump}`],
    ["Made by", oem && shown(oem, LONGEST)],
    ["Boots with", loader],
  ]);
  return {
    section: section(
      "boot-sector",
      "Boot sector",
      isEmpty ? element("p", {}, "It is empty: all zeros.") : facts,
      texts.length > 0 && [
        element("h3", {}, "Texts in it"),
        element(
          "ul",
          { class: "texts" },
          texts.map(text => element("li", {}, element("code", {}, shown(text, 512)))),
        ),
      ],
      element(
        "button",
        { type: "button", onclick: () => goTo(0), "aria-label": "Show bytes of the boot sector" },
        "Show bytes",
      ),
    ),
  };
}
