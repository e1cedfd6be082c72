// @ts-check
/** Examples that read an image, to be copied. */

/** A lease is never put into an example unless the user asks for that; this word stands for it. */
export const PLACE_OF_LEASE = "YOUR-LEASE";

/**
 * @typedef {object} Facts
 * @property {string} origin of the server, as browsers write it: scheme, host and port
 * @property {string} id
 * @property {number} size
 * @property {boolean} isPublic
 * @property {string} [version]
 * @property {string} [lease] to be shown; else a private image has the word for it
 *
 * @typedef {{id: string, title: string, text: string}} Snippet
 */

/** @param {Facts} facts @returns {Snippet[]} */
export function snippetsOf(facts) {
  const { origin, id, version, size } = facts;
  const path = `/v1/images/${encodeURIComponent(id)}`;
  const lease = leaseOf(facts);
  const places = {
    origin,
    path,
    image: `${origin}${path}`,
    bytes: `${origin}${path}${version === undefined ? "" : `/versions/${version}`}`,
    file: fileName(id),
    last: Math.min(511, Math.max(0, size - 1)),
    lease,
  };
  return [
    { id: "curl", title: "curl", text: curl(places) },
    { id: "fetch", title: "fetch", text: byFetch(places) },
    { id: "aero-disk", title: "AeroDisk", text: byAeroDisk(places) },
    { id: "v86", title: "v86", text: byV86(places) },
    { id: "qemu", title: "qemu", text: byQemu(places) },
    { id: "nginx", title: "nginx", text: byNginx(places) },
  ];
}

/** @typedef {{origin: string, path: string, image: string, bytes: string, file: string, last: number,
 *   lease: string | undefined}} Places */

/** @param {Facts} facts */
function leaseOf({ isPublic, lease }) {
  return lease ?? (isPublic ? undefined : PLACE_OF_LEASE);
}

/** @param {string} id @returns {string} a name for a file, whatever the id has in it */
function fileName(id) {
  return `${id.replace(/[^A-Za-z0-9._-]/g, "_").replace(/^[.-]+/, "_")}.img`;
}

/** @param {string} text @returns {string} one word of a shell */
function shell(text) {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

/** @param {Places} places */
function curl({ bytes, file, last, lease }) {
  const header = lease === undefined ? "" : `-H ${shell(`Authorization: Bearer ${lease}`)} `;
  return [
    "# the first sector",
    `curl -fsS ${header}-r 0-${last} ${shell(bytes)} | od -A x -t x1z`,
    "# all of it; a broken transfer goes on where it stopped",
    `curl -f ${header}-C - -o ${file} ${shell(bytes)}`,
  ].join("\n");
}

/** @param {Places} places */
function byFetch({ bytes, last, lease }) {
  const headers = [`Range: "bytes=0-${last}"`];
  if (lease !== undefined) headers.push(`Authorization: ${JSON.stringify(`Bearer ${lease}`)}`);
  return [
    `const answer = await fetch(${JSON.stringify(bytes)}, {`,
    `  headers: { ${headers.join(", ")} },`,
    "});",
    "if (answer.status !== 206) throw new Error(`status ${answer.status}`);",
    "const sector = new Uint8Array(await answer.arrayBuffer());",
  ].join("\n");
}

/** @param {string | undefined} lease @param {string} more */
function options(lease, more) {
  const parts = [lease === undefined ? "" : `lease: ${JSON.stringify(lease)}`, more].filter(Boolean);
  return parts.length ? `, { ${parts.join(", ")} }` : "";
}

/** @param {Places} places */
function byAeroDisk({ origin, image, last, lease }) {
  return [
    `import { AeroDisk } from ${JSON.stringify(`${origin}/client/aero-disk.js`)};`,
    "",
    `const disk = await AeroDisk.open(${JSON.stringify(image)}${options(lease, "")});`,
    `const sector = await disk.read(0, ${last + 1});`,
    "await disk.close();",
  ].join("\n");
}

/** @param {Places} places */
function byV86({ origin, image, lease }) {
  return [
    `import { AeroDisk, Overlay, v86Buffer } from ${JSON.stringify(`${origin}/client/aero-disk.js`)};`,
    "",
    `const disk = await AeroDisk.open(${JSON.stringify(image)}${options(lease, 'persistent: "opfs"')});`,
    "const top = await Overlay.open(disk); // writes stay in the browser",
    "const emulator = new V86({",
    '  wasm_path: "v86.wasm",',
    '  bios: { url: "bios.bin" },',
    '  vga_bios: { url: "vgabios.bin" },',
    '  screen_container: document.getElementById("screen"),',
    "  hda: v86Buffer(top),",
    "  autostart: true,",
    "});",
  ].join("\n");
}

/** @param {Places} places */
function byQemu({ bytes, lease }) {
  const url = lease === undefined ? bytes : `${bytes}?lease=${encodeURIComponent(lease)}`;
  const driver = new URL(bytes).protocol.slice(0, -1);
  const drive = `if=ide,format=raw,file.driver=${driver},file.url=${url.replaceAll(",", ",,")}`;
  return [
    ...(lease === undefined ? [] : ["# other users of the machine see the lease in the list of processes"]),
    "# writes go to a temporary file (-snapshot)",
    "qemu-system-x86_64 -m 1024 -snapshot \\",
    `  -drive ${shell(drive)}`,
  ].join("\n");
}

/** @param {Places} places */
function byNginx({ origin, path, lease }) {
  const lines = [
    "# in a server block; etc/nginx has configurations with a cache",
    `location ${path} {`,
    `    proxy_pass ${origin};`,
    "    proxy_http_version 1.1;",
    '    proxy_set_header Connection "";',
    "    proxy_buffering off;",
  ];
  if (lease !== undefined) lines.push("    # the client's own lease passes through: none belongs into this file");
  return [...lines, "}"].join("\n");
}
