// A server with the routes of http.md, whose answers can be made wrong one by one.

import { createHash } from "node:crypto";
import { createServer } from "node:http";
import { once } from "node:events";

export const sha256 = bytes => createHash("sha256").update(bytes).digest("hex");

// Bytes that differ everywhere, the same at every run.
export function bytesOf(seed, length) {
  const bytes = new Uint8Array(length);
  let state = seed * 2654435761 + 1;
  for (let i = 0; i < length; i += 1) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[i] = state >>> 24;
  }
  return bytes;
}

export class LyingServer {
  // `requests`: all of them, in order, each {path, range, headers, query}. `fault(request)`: undefined for the truth,
  // or a function (response, answer) that answers in its own way.
  requests = [];
  fault = () => undefined;
  extents = undefined;
  profile = undefined;
  chunkSize = 64 << 10;
  hasVersions = true;
  hasDigests = true;
  maxRange = Infinity;
  lease = undefined;
  delay = 0;
  underWay = 0;
  mostUnderWay = 0;
  #server = createServer((request, response) => this.#serve(request, response));
  #sockets = new Set();

  static async start(image) {
    const server = new LyingServer();
    server.put(image);
    server.#server.on("connection", socket => {
      server.#sockets.add(socket);
      socket.on("close", () => server.#sockets.delete(socket));
    });
    server.#server.listen(0, "127.0.0.1");
    await once(server.#server, "listening");
    return server;
  }

  put(image) {
    this.image = image;
    this.tag = `"${sha256(image).slice(0, 16)}"`;
    this.version = `v-${sha256(image).slice(0, 32)}`;
  }

  get base() {
    return `http://127.0.0.1:${this.#server.address().port}/v1/images/disk.img`;
  }

  async stop() {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, "close");
  }

  // Requests for bytes and chunks.
  get reads() {
    return this.requests.filter(({ range, path }) => range !== undefined || path.includes("/chunks/"));
  }

  asked(part) {
    return this.requests.filter(({ path }) => path.endsWith(part));
  }

  async #serve(incoming, response) {
    const url = new URL(incoming.url, "http://localhost");
    const request = { method: incoming.method, path: url.pathname, query: url.search, headers: incoming.headers };
    const match = /^bytes=(\d+)-(\d+)$/.exec(incoming.headers.range ?? "");
    if (match) request.range = [Number(match[1]), Number(match[2])];
    this.requests.push(request);
    this.underWay += 1;
    this.mostUnderWay = Math.max(this.mostUnderWay, this.underWay);
    response.on("close", () => {
      this.underWay -= 1;
    });
    if (this.delay) await new Promise(resolve => setTimeout(resolve, this.delay).unref());
    const answer = this.#answer(request, url);
    const lie = this.fault(request);
    if (lie) return lie(response, answer);
    send(response, answer, incoming.method);
  }

  #answer(request, url) {
    const refusal = this.#judge(request, url);
    if (refusal) return { status: refusal, headers: {}, body: Buffer.alloc(0) };
    const path = url.pathname.replace("/v1/images/disk.img", "");
    if (path === "/meta") return json(this.#metadata());
    if (path === "" && request.method === "HEAD") return { status: 200, headers: this.#headers(), body: this.image };
    if (path === "" || path === `/versions/${this.version}`) return this.#bytes(request);
    if (path.endsWith("/extents") && this.extents) return json(this.extents);
    if (path.endsWith("/profile") && this.profile) return json(this.profile);
    const chunk = new RegExp(`^/chunked/(?:${this.version}/)?(manifest.json|chunks/(\\d{8}).bin)$`).exec(path);
    if (chunk) return chunk[2] === undefined ? json(this.manifest()) : this.#chunk(Number(chunk[2]));
    return { status: 404, headers: {}, body: Buffer.alloc(0) };
  }

  #judge(request, url) {
    if (this.lease === undefined) return undefined;
    const shown = request.headers.authorization?.replace("Bearer ", "") ?? url.searchParams.get("lease");
    return shown === this.lease ? undefined : 401;
  }

  #metadata() {
    return {
      id: "disk.img",
      size_bytes: this.image.length,
      etag: this.tag,
      ...(this.hasVersions ? { version: this.version } : {}),
    };
  }

  #headers() {
    return {
      ETag: this.tag,
      "Content-Encoding": "identity",
      "Cache-Control": "no-transform",
      "Accept-Ranges": "bytes",
    };
  }

  #bytes({ range }) {
    const total = this.image.length;
    if (!range) return { status: 200, headers: this.#headers(), body: this.image };
    const [first, last] = [range[0], Math.min(range[1], total - 1)];
    if (first > last) return { status: 416, headers: { "Content-Range": `bytes */${total}` }, body: Buffer.alloc(0) };
    if (last - first + 1 > this.maxRange)
      return { status: 413, headers: { "Aero-Max-Range-Bytes": String(this.maxRange) }, body: Buffer.alloc(0) };
    const headers = { ...this.#headers(), "Content-Range": `bytes ${first}-${last}/${total}` };
    return { status: 206, headers, body: this.image.subarray(first, last + 1) };
  }

  manifest() {
    const { chunkSize, image } = this;
    const count = Math.ceil(image.length / chunkSize);
    const chunks = Array.from({ length: count }, (_, index) => {
      const chunk = image.subarray(index * chunkSize, (index + 1) * chunkSize);
      return { size: chunk.length, sha256: sha256(chunk) };
    });
    return {
      schema: "aero.chunked-disk-image.v1",
      imageId: "disk.img",
      version: this.version,
      mimeType: "application/octet-stream",
      totalSize: image.length,
      chunkSize,
      chunkCount: count,
      chunkIndexWidth: 8,
      ...(this.hasDigests ? { chunks } : {}),
    };
  }

  #chunk(index) {
    const body = this.image.subarray(index * this.chunkSize, (index + 1) * this.chunkSize);
    return body.length ? { status: 200, headers: this.#headers(), body } : { status: 404, headers: {}, body };
  }
}

function json(value) {
  return { status: 200, headers: { "Content-Type": "application/json" }, body: Buffer.from(JSON.stringify(value)) };
}

export function send(response, { status, headers, body }, method = "GET", whenSent = () => {}) {
  response.writeHead(status, { ...headers, "Content-Length": body.length });
  response.end(method === "HEAD" ? undefined : body, whenSent);
}

// Lies. Each gives a function (response, answer).
export const lies = {
  status:
    (status, headers = {}) =>
    response =>
      send(response, { status, headers, body: Buffer.alloc(0) }),
  // A clean end too early, as of a browser's cache: the length that is announced is that of what comes.
  short: (response, { status, headers, body }) =>
    send(response, { status, headers, body: body.subarray(0, body.length >> 1) }),
  // The same, without an announcement.
  shortWithoutLength(response, { status, headers, body }) {
    response.writeHead(status, headers);
    response.end(body.subarray(0, body.length >> 1));
  },
  long(response, { status, headers, body }) {
    response.writeHead(status, headers);
    response.end(Buffer.concat([body, body]));
  },
  cut(response, { status, headers, body }) {
    response.writeHead(status, { ...headers, "Content-Length": body.length });
    response.write(body.subarray(0, body.length >> 1));
    setTimeout(() => response.destroy(), 5);
  },
  reset: response => response.destroy(),
  stall: () => {},
  stallInBody(response, { status, headers, body }) {
    response.writeHead(status, { ...headers, "Content-Length": body.length });
    response.write(body.subarray(0, body.length >> 1));
  },
  otherTag: (response, { status, headers, body }) =>
    send(response, { status, headers: { ...headers, ETag: '"other"' }, body }),
  otherRange: (response, { status, headers, body }) =>
    send(response, {
      status,
      headers: { ...headers, "Content-Range": headers["Content-Range"]?.replace(/\d+-/, "0-") },
      body,
    }),
  encoded: (response, { status, headers, body }) =>
    send(response, { status, headers: { ...headers, "Content-Encoding": "aes128gcm" }, body }),
  damaged(response, { status, headers, body }) {
    const other = Buffer.from(body);
    other[other.length >> 1] ^= 1;
    send(response, { status, headers, body: other });
  },
  whole:
    image =>
    (response, { headers }) =>
      send(response, { status: 200, headers: { ETag: headers.ETag }, body: image }),
};

// The first `count` requests that `matches` get the lie.
export function first(matches, lie, count = 1) {
  let left = count;
  return request => (left > 0 && matches(request) && left-- > 0 ? lie : undefined);
}
