/** The kinds of errors: `changed` – the image was replaced; `damaged` – bytes are not those that they should be. */
export type AeroDiskErrorCode =
  "changed" | "damaged" | "expired" | "forbidden" | "missing" | "network" | "aborted" | "quota";

export class AeroDiskError extends Error {
  constructor(code: AeroDiskErrorCode, message: string, facts?: { cause?: unknown; status?: number });
  readonly name: "AeroDiskError";
  readonly code: AeroDiskErrorCode;
  /** The status of the answer, where that was the reason. */
  readonly status?: number;
  /** The index of the chunk, where one is damaged. */
  readonly chunk?: number;
}

/** A lease, a URL that has one in its query, or an object with either. */
export type Lease = string | { lease: string } | { token: string } | { url: string };

export interface OpenOptions {
  /** Ranges or chunks. Default: `auto`, by what the URL names and the server has. */
  mode?: "auto" | "range" | "chunks";
  /** Bytes that are kept and fetched together: a multiple of 512, 32 KiB by default. With chunks it is their size. */
  blockSize?: number;
  /** Bytes of one request at most, or one block where that is longer. Default: 8 MiB. */
  maxRequest?: number;
  /** Requests under way at most; prefetches have half of them. Default: 6. */
  concurrency?: number;
  /** Bytes of the largest window that is fetched ahead of reads in a row; 0 or false: none. Default: 16 MiB. */
  readAhead?: number | false;
  /** Bytes of blocks in memory. Default: 64 MiB. */
  memory?: number;
  /**
   * Where blocks are kept beyond the session. Default: nowhere. A browser that does not have it (on plain http) keeps
   * them in IndexedDB, or in memory alone: `disk.persistent` tells.
   */
  persistent?: "opfs" | "cache" | false;
  /** Whether digests are checked where they are known. Default: true. */
  verify?: boolean;
  /** The profile that is fetched ahead; false: none. Default: `boot`. */
  profile?: "boot" | (string & {}) | false;
  /** A lease of a private image, or a function that brings a fresh one. */
  lease?: string | (() => Lease | Promise<Lease>);
  /**
   * How the lease travels. Default: from other origins in the query, which needs no preflight; else `Authorization`.
   */
  leaseCarrier?: "auto" | "query" | "header";
  /** Further header fields of every request. */
  headers?: HeadersInit;
  credentials?: RequestCredentials;
  /** Further tries of a request that failed. Default: 5. */
  retries?: number;
  /** Milliseconds before the first of them; they double. Default: 200. */
  retryDelay?: number;
  /** Milliseconds without bytes after which a request counts as failed. Default: 20,000. */
  timeout?: number;
  /** Aborts the opening. */
  signal?: AbortSignal;
}

export interface ReadOptions {
  signal?: AbortSignal;
}

export interface DiskStats {
  /** Requests, tries that failed and metadata included. */
  requests: number;
  /** Bytes of bodies that came over the network. */
  bytes: number;
  /** Blocks that were in memory, in the persistent store, or on their way for another read. */
  hits: { memory: number; disk: number; shared: number };
  /** Bytes that were read of holes, without a request. */
  zeroBytes: number;
  prefetchedBytes: number;
  prefetchedUsedBytes: number;
  /** Reads that waited for the network. */
  waits: number;
}

export interface ImageFacts {
  size: number;
  tag: string | null;
  version: string | undefined;
}

export interface DiskEventMap {
  /** The image was replaced. */
  changed: CustomEvent<ImageFacts & { old: ImageFacts }>;
  /** A read waits: for a further try, or for more than a second. */
  waiting: CustomEvent<
    | { reason: string; error: AeroDiskError; attempt: number; delay: number; url: string }
    | { reason: "slow"; offset: number; length: number }
  >;
  /** A prefetch goes on. */
  progress: CustomEvent<{ loaded: number; total: number }>;
  /** Something failed that no read waits for. */
  error: CustomEvent<{ error: AeroDiskError }>;
}

/** A disk image of aero-storage. */
export class AeroDisk extends EventTarget {
  private constructor();
  /** Opens an image, a chunk manifest, or an image with a lease in its query. */
  static open(url: string | URL, options?: OpenOptions): Promise<AeroDisk>;
  /** The address of the image, without a lease. */
  readonly url: string;
  readonly size: number;
  /** Names these bytes and no others; undefined where the server has no versions. */
  readonly version: string | undefined;
  /** The entity tag of these bytes, with its quotes. */
  readonly tag: string | null;
  readonly blockSize: number;
  /** Where blocks are kept beyond the session; false where they are not. */
  readonly persistent: "opfs" | "cache" | "indexeddb" | false;
  /** Counters since the opening: a copy. */
  readonly stats: DiskStats;
  /** Reads exactly `length` bytes; past the end a RangeError. */
  read(offset: number, length: number, options?: ReadOptions): Promise<Uint8Array<ArrayBuffer>>;
  /** Fetches what will be read, behind all reads. False: it stopped, as prefetches are not welcome. */
  prefetch(offset: number, length: number, options?: ReadOptions): Promise<boolean>;
  /** First bytes and lengths of what is here, in memory or kept, in order; holes are not counted. */
  coverage(): [number, number][];
  /** Looks whether the image was replaced, and reads the new one from then on. True: it was. */
  reprobe(): Promise<boolean>;
  /** Drops what is kept of the image, and gives its room back. */
  forget(): Promise<void>;
  close(): Promise<void>;
  addEventListener<K extends keyof DiskEventMap>(
    type: K,
    listener: ((event: DiskEventMap[K]) => void) | { handleEvent(event: DiskEventMap[K]): void } | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  removeEventListener<K extends keyof DiskEventMap>(
    type: K,
    listener: ((event: DiskEventMap[K]) => void) | { handleEvent(event: DiskEventMap[K]): void } | null,
    options?: boolean | EventListenerOptions,
  ): void;
}

export interface OverlayOptions {
  /** Where writes are kept beyond the session. Default: nowhere. */
  persistent?: "opfs" | "cache" | false;
}

export interface OverlayState {
  image: ImageFacts & { url: string };
  runs: [number, Uint8Array][];
}

/** A disk that can be written to; it belongs to one version of the image. */
export class Overlay {
  private constructor();
  static open(disk: AeroDisk, options?: OverlayOptions): Promise<Overlay>;
  /** Opens what `export("diff")` gave, over this disk, or over the one that it names. */
  static import(
    stream: ReadableStream<Uint8Array>,
    disk?: AeroDisk,
    options?: OverlayOptions & OpenOptions,
  ): Promise<Overlay>;
  static inMemory(disk: AeroDisk): Overlay;
  readonly disk: AeroDisk;
  readonly size: number;
  readonly version: string | undefined;
  readonly tag: string | null;
  /** Where writes are kept beyond the session; false where they are not. */
  readonly persistent: "opfs" | "cache" | "indexeddb" | false;
  /** The bytes of memory that writes take. */
  readonly writtenBytes: number;
  read(offset: number, length: number, options?: ReadOptions): Promise<Uint8Array<ArrayBuffer>>;
  write(offset: number, bytes: Uint8Array): Promise<void>;
  /** Resolves after all writes so far are where they are kept. */
  flush(): Promise<void>;
  /** Forgets all writes. */
  discard(): Promise<void>;
  /** Closes what writes are kept in; the disk stays open. */
  close(): Promise<void>;
  /** The writes (`diff`), or the whole disk with it (`raw`), as it is now. */
  export(kind?: "diff" | "raw"): ReadableStream<Uint8Array>;
  save(): OverlayState;
  restore(state: OverlayState): void;
}

export interface Trouble {
  error: AeroDiskError;
  offset: number;
  length: number;
  /** How many times it has failed. */
  attempt: number;
  /** Milliseconds until it is tried again; undefined: the guest waits for ever. */
  delay: number | undefined;
}

/** A disk for v86: `new V86({ hda: v86Buffer(top) })`. */
export interface V86DiskBuffer {
  readonly byteLength: number;
  onload: ((event: object) => void) | undefined;
  onprogress: ((event: object) => void) | undefined;
  load(): void;
  get(offset: number, length: number, callback: (bytes: Uint8Array) => void, options?: ReadOptions): void;
  get_and_cache(offset: number, length: number, callback: (bytes: Uint8Array) => void, options?: ReadOptions): void;
  get_from_cache(offset: number, length: number): Uint8Array | undefined;
  get_buffer(callback: (buffer: ArrayBuffer | undefined) => void): void;
  set(offset: number, bytes: Uint8Array, callback: () => void): void;
  get_state(): unknown[];
  set_state(state: unknown[]): void;
}

export function v86Buffer(
  top: Overlay | AeroDisk,
  options?: { onTrouble?: (trouble: Trouble) => void },
): V86DiskBuffer;

/** A file for readers of zip, Parquet, GeoTIFF and SQLite. */
export interface AsyncBuffer {
  readonly byteLength: number;
  readonly size: number;
  readonly fileSize: number;
  init(): Promise<void>;
  fetch(slices: { offset: number; length: number }[], signal?: AbortSignal): Promise<ArrayBuffer[]>;
  slice(start?: number, end?: number, options?: ReadOptions): Promise<ArrayBuffer>;
  readUint8Array(offset: number, count: number): Promise<Uint8Array<ArrayBuffer>>;
  createReadable(options?: { offset?: number; size?: number }): ReadableStream<Uint8Array<ArrayBuffer>>;
}

export function asyncBuffer(disk: AeroDisk | Overlay, options?: { length?: number }): AsyncBuffer;
