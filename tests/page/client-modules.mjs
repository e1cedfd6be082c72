// Modules of the page import the client by `/client/…`, as the daemon serves it; here it lies beside them.

import { register } from "node:module";

const browser = new URL("../../browser/", import.meta.url).href;
const hooks = `export const resolve = (specifier, context, next) =>
  next(specifier.startsWith("/client/") ? ${JSON.stringify(browser)} + specifier.slice(8) : specifier, context);`;

register(`data:text/javascript,${encodeURIComponent(hooks)}`);
