/** Reads of parts of an image, timed: in a row, and several at a time. */

/** @returns {(offset: number, length: number) => Promise<Uint8Array>} reads as v86's own loader makes them */
export function xhrReader(url) {
  return (offset, length) =>
    new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      request.open("GET", url);
      request.responseType = "arraybuffer";
      request.setRequestHeader("Range", `bytes=${offset}-${offset + length - 1}`);
      request.setRequestHeader("X-Accept-Encoding", "identity");
      request.onload = () => {
        const bytes = new Uint8Array(request.response);
        if (request.status === 206 && bytes.length === length) resolve(bytes);
        else reject(new Error(`status ${request.status}, ${bytes.length} bytes instead of ${length}`));
      };
      request.onerror = () => reject(new Error("the request failed"));
      request.send();
    });
}

/** Reads `length` bytes at each offset, `width` reads at a time. @returns {Promise<number>} seconds */
export async function timeReads(read, offsets, length, width) {
  const waiting = [...offsets];
  const begin = performance.now();
  const worker = async () => {
    while (waiting.length) await read(waiting.shift(), length);
  };
  await Promise.all(Array.from({ length: width }, worker));
  return (performance.now() - begin) / 1000;
}
