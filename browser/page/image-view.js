// @ts-check
/** The view of one image: its content, its bytes, and whether they are right. */

import { digestPanel } from "./digest-panel.js";
import { element, fill } from "./dom.js";
import { hexPanel } from "./hex-panel.js";
import { openApart, openDisk, partOf } from "./image-disk.js";
import { imageFacts } from "./image-facts.js";
import { mapPanel } from "./map-panel.js";
import { examine } from "./partitions.js";
import { bootSectorPanel, partitionsPanel } from "./partitions-panel.js";
import { readingProblem } from "./reading-problem.js";
import { searchPanel } from "./search-panel.js";
import { snippetsPanel } from "./snippets-panel.js";
import { trafficPanel } from "./traffic-panel.js";

/**
 * @typedef {import("./panel.js").Parts} Parts
 * @typedef {import("./panel.js").Panel} Panel
 */

/**
 * Shows an image.
 *
 * @param {HTMLElement} root
 * @param {import("./views.js").Context} context
 * @returns {Promise<() => void>} the teardown
 */
export async function show(root, context) {
  const id = context.image ?? "";
  await styled();
  fill(root, element("p", { class: "way", role: "status" }, "Reading the image …"));
  const image = await context.api.meta(id, { signal: context.signal });
  /** @type {import("/client/aero-disk.js").AeroDisk} */
  let disk;
  try {
    disk = await openDisk(id, context);
  } catch (error) {
    if (context.signal.aborted) throw error;
    fill(root, imageFacts(image), readingProblem(error));
    return () => {};
  }
  try {
    return await showDisk(root, { image, disk, context });
  } catch (error) {
    await disk.close();
    if (context.signal.aborted) throw error;
    fill(root, imageFacts(image), readingProblem(error));
    return () => {};
  }
}

/** @param {HTMLElement} root @param {Pick<Parts, "image" | "disk" | "context">} given */
async function showDisk(root, { image, disk, context }) {
  const part = partOf(disk, context.signal);
  const layout = await examine(part);
  const hex = hexPanel({ disk, layout, context });
  const parts = {
    image,
    disk,
    part,
    layout,
    context,
    openApart: (/** @type {"range" | "chunks"} */ mode) => openApart(image, context, mode),
    goTo: hex.goTo,
  };
  const panels = [
    mapPanel(parts),
    partitionsPanel(parts),
    bootSectorPanel(parts),
    hex,
    searchPanel(parts),
    digestPanel(parts),
    trafficPanel(parts),
    snippetsPanel(parts),
  ];
  const change = element("div", {});
  disk.addEventListener("changed", () => {
    fill(change, readingProblem({ code: "changed" }));
    context.announce("The image was replaced");
  });
  fill(
    root,
    imageFacts(image),
    change,
    panels.map(({ section }) => section),
  );
  return () => {
    for (const { stop } of panels) stop?.();
    disk.close().catch(console.warn);
  };
}

/** Brings the style sheet of this view, once; without it the view is plain, not broken. @returns {Promise<void>} */
function styled() {
  const href = new URL("./image-view.css", import.meta.url).href;
  const known = [...document.querySelectorAll("link")].some(link => link.href === href);
  if (known) return Promise.resolve();
  return new Promise(resolve => {
    const link = element("link", { rel: "stylesheet", href });
    link.onload = link.onerror = () => resolve();
    document.head.append(link);
  });
}
