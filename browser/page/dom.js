// @ts-check
/** Makes elements. Text from outside goes in as text alone: nothing here reads HTML. */

/**
 * @typedef {Node | string | number | false | null | undefined} Child
 * @typedef {string | number | boolean | null | undefined | ((event: any) => unknown)} Value
 */

/**
 * Makes an element. Attributes that begin with `on` are listeners; false, undefined and null leave one out, true sets
 * it empty.
 * @template {keyof HTMLElementTagNameMap} Name
 * @param {Name} name
 * @param {Record<string, Value>} [attributes]
 * @param {...(Child | Child[])} children
 * @returns {HTMLElementTagNameMap[Name]}
 */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) set(made, key, value);
  made.append(...nodesOf(children));
  return made;
}

/**
 * Puts children in the place of those that an element has.
 * @template {Element} T
 * @param {T} parent
 * @param {...(Child | Child[])} children
 * @returns {T}
 */
export function fill(parent, ...children) {
  parent.replaceChildren(...nodesOf(children));
  return parent;
}

/**
 * @param {(Child | Child[])[]} children
 * @returns {(Node | string)[]}
 */
function nodesOf(children) {
  const nodes = [];
  for (const child of children.flat()) {
    if (child === false || child === null || child === undefined) continue;
    nodes.push(typeof child === "number" ? String(child) : child);
  }
  return nodes;
}

/** @param {HTMLElement} made @param {string} key @param {Value} value */
function set(made, key, value) {
  if (value === false || value === null || value === undefined) return;
  if (typeof value === "function") made.addEventListener(key.replace(/^on/, ""), value);
  else made.setAttribute(key, value === true ? "" : String(value));
}
