// @ts-check
/** Examples that read the image, to be copied. */

import { copyButton } from "./copy-button.js";
import { element, fill } from "./dom.js";
import { section } from "./panel.js";
import { snippetsOf } from "./snippets.js";

/** @param {import("./panel.js").Parts} parts @returns {import("./panel.js").Panel} */
export function snippetsPanel({ image, context }) {
  const lease = context.leases.get(image.id);
  const list = element("div", { class: "snippets" });
  const box = element("input", { type: "checkbox", id: "with-lease", onchange: show });

  function show() {
    const snippets = snippetsOf({
      origin: location.origin,
      id: image.id,
      size: image.size_bytes,
      isPublic: image.public,
      ...(image.version === undefined ? {} : { version: image.version }),
      ...(lease !== undefined && box.checked ? { lease } : {}),
    });
    fill(
      list,
      snippets.map(snippet => shownSnippet(snippet, context.announce)),
    );
  }

  show();
  return {
    section: section(
      "examples",
      "Use it elsewhere",
      lease !== undefined &&
        element(
          "p",
          { class: "with-lease" },
          box,
          element(
            "label",
            { for: "with-lease" },
            "Put my lease into the examples: whoever sees it can read the image",
          ),
        ),
      list,
    ),
  };
}

/** @param {import("./snippets.js").Snippet} snippet @param {(text: string) => void} announce */
function shownSnippet({ id, title, text }, announce) {
  return element(
    "div",
    { class: "snippet" },
    element(
      "div",
      { class: "bar" },
      element("h3", {}, title),
      copyButton("Copy", text, { announce, name: `Copy the example for ${title}` }),
    ),
    element(
      "pre",
      { tabindex: "0", role: "region", "aria-label": `Example for ${title}`, id: `snippet-${id}` },
      element("code", {}, text),
    ),
  );
}
