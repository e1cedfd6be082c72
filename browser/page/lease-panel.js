// @ts-check
/** Where leases of private images are given, and forgotten. */

import { element, fill } from "./dom.js";
import { LeaseError } from "./leases.js";
import { wordsFor } from "./problem.js";
import { counted } from "./text.js";

const HINT =
  "It stays in this tab, and is gone when the tab is closed. Bytes of its image that this browser keeps after " +
  "“Look inside” or “Boot it” stay until you forget them there.";

/**
 * @param {import("./leases.js").Leases} leases
 * @param {{ announce: (text: string) => void, changed: () => unknown }} hooks `changed`: other images may be had now
 */
export function leasePanel(leases, { announce, changed }) {
  const error = element("p", { class: "error", id: "lease-error", hidden: true });
  const field = element("input", {
    id: "lease",
    type: "text",
    autocomplete: "off",
    autocapitalize: "off",
    spellcheck: "false",
    required: true,
    "aria-describedby": "lease-hint lease-error",
  });
  const held = element("ul", { class: "held" });
  const panel = element(
    "details",
    { class: "leases", hidden: true },
    element("summary", {}, "Private images"),
    element(
      "form",
      { onsubmit: take, novalidate: true },
      element("label", { for: "lease" }, "Lease, or a URL that carries one"),
      element("div", { class: "line" }, field, element("button", { type: "submit" }, "Use it")),
      element("p", { class: "hint", id: "lease-hint" }, HINT),
      error,
    ),
    held,
  );

  /** @param {SubmitEvent} event */
  function take(event) {
    event.preventDefault();
    try {
      const ids = leases.add(field.value);
      field.value = "";
      tell("");
      announce(`Lease for ${counted(ids.length, "image")} taken`);
      changed();
    } catch (failure) {
      if (!(failure instanceof LeaseError)) throw failure;
      tell(failure.message);
      field.focus();
    }
  }

  /** @param {string} text */
  function tell(text) {
    error.textContent = text;
    error.hidden = text === "";
    field.setAttribute("aria-invalid", String(text !== ""));
    if (text) announce(text);
  }

  /** @param {string} id */
  function forget(id) {
    leases.forget(id);
    announce(`Lease of ${id} forgotten`);
    changed();
    field.focus();
  }

  /** @param {import("./api.js").Listing} listing */
  function update({ checksLeases, troubles }) {
    panel.hidden = !checksLeases && leases.ids.length === 0;
    const words = new Map(troubles.map(({ id, error: trouble }) => [id, wordsOf(trouble)]));
    if (words.size) panel.open = true;
    fill(
      held,
      leases.ids.map(id =>
        element(
          "li",
          {},
          element("code", {}, id),
          words.has(id) && element("span", { class: "error" }, words.get(id)),
          element("button", { type: "button", "aria-label": `Forget: ${id}`, onclick: () => forget(id) }, "Forget"),
        ),
      ),
    );
  }

  return { panel, update };
}

/** @param {import("./api.js").Failure} trouble why an image is not shown @returns {string} */
function wordsOf(trouble) {
  if (trouble.kind === "refused") return "The server does not accept this lease";
  return wordsFor(trouble).title;
}
