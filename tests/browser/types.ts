// Uses of the client that compile, and some that must not.

import { AeroDisk, AeroDiskError, asyncBuffer, Overlay, v86Buffer } from "../../browser/aero-disk.js";

export async function reads(url: URL): Promise<ArrayBuffer> {
  const disk = await AeroDisk.open(url, {
    mode: "auto",
    blockSize: 65536,
    concurrency: 6,
    readAhead: false,
    persistent: "opfs",
    verify: true,
    profile: "boot",
    lease: async () => (await fetch("/lease")).text(),
    headers: { "X-Aero-User-Id": "ada" },
    credentials: "include",
    signal: AbortSignal.timeout(1000),
  });
  disk.addEventListener("changed", ({ detail }) => console.log(detail.version?.length, detail.old.size));
  disk.addEventListener("error", event => console.log(event.detail.error.code));
  disk.addEventListener("progress", ({ detail: { loaded, total } }) => console.log(loaded / total));
  const bytes: Uint8Array = await disk.read(0, 512, { signal: AbortSignal.timeout(100) });
  const hits: number = disk.stats.hits.memory + disk.stats.hits.disk + disk.stats.hits.shared + bytes.length;
  const isComplete: boolean = await disk.prefetch(0, hits);
  const here: number = disk.coverage().reduce((sum, [, length]) => sum + length, 0);
  if ((await disk.reprobe()) || here === 0) await disk.forget();
  await disk.close();
  return asyncBuffer(disk).slice(-22, isComplete ? undefined : -1);
}

export async function writes(disk: AeroDisk, file: ReadableStream<Uint8Array>): Promise<Response> {
  const top: Overlay = await Overlay.open(disk, { persistent: "opfs" });
  await top.write(512, new Uint8Array(512));
  const back = await Overlay.import(file);
  const buffer = v86Buffer(back, {
    onTrouble: ({ error, delay }) => console.warn(error.code, delay ?? "for ever"),
  });
  buffer.get(0, 512, bytes => buffer.set(512, bytes, () => undefined));
  return new Response(top.export("diff"));
}

export function tells(error: unknown): string {
  if (!(error instanceof AeroDiskError)) return "other";
  switch (error.code) {
    case "changed":
    case "damaged":
    case "expired":
    case "forbidden":
    case "missing":
    case "network":
    case "aborted":
    case "quota":
      return error.code;
    default: {
      const none: never = error.code;
      return none;
    }
  }
}

export function refused(disk: AeroDisk): void {
  // @ts-expect-error disks are opened, not made
  new AeroDisk();
  // @ts-expect-error the size is the image's
  disk.size = 5;
  // @ts-expect-error no such mode
  void AeroDisk.open("x", { mode: "all" });
  // @ts-expect-error no such event
  disk.addEventListener("change", ({ detail }) => detail);
  // @ts-expect-error no such code
  new AeroDiskError("oops", "");
}
