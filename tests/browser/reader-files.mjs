// Writes the files that tests/browser/readers.test.mjs reads: node reader-files.mjs MODULES DIRECTORY

import { writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [modules, directory] = process.argv.slice(2);

export const load = (root, path) => import(pathToFileURL(`${root}/node_modules/${path}`));

export const ROWS = Array.from({ length: 300_000 }, (_, index) => ({
  id: index,
  name: `row ${index}`,
  value: (index * 7919) % 1000,
}));
export const WIDTH = 300;
export const pixel = index => (index * 31) % 251;
export const TEXTS = Array.from({ length: 200 }, (_, index) => [
  `part-${index}.txt`,
  `text ${index}\n`.repeat(200 + index),
]);

async function writeZip() {
  const { BlobWriter, TextReader, ZipWriter } = await load(modules, "@zip.js/zip.js/index.js");
  const writer = new ZipWriter(new BlobWriter());
  for (const [name, text] of TEXTS) await writer.add(name, new TextReader(text));
  writeFileSync(`${directory}/texts.zip`, Buffer.from(await (await writer.close()).arrayBuffer()));
}

async function writeParquet() {
  const { parquetWriteBuffer } = await load(modules, "hyparquet-writer/src/index.js");
  const columnData = Object.keys(ROWS[0]).map(name => ({ name, data: ROWS.map(row => row[name]) }));
  writeFileSync(`${directory}/rows.parquet`, Buffer.from(parquetWriteBuffer({ columnData, rowGroupSize: 10_000 })));
}

async function writeTiff() {
  const { writeArrayBuffer } = await load(modules, "geotiff/dist-module/geotiff.js");
  const values = Uint8Array.from({ length: WIDTH * WIDTH }, (_, index) => pixel(index));
  writeFileSync(
    `${directory}/picture.tif`,
    Buffer.from(await writeArrayBuffer(values, { width: WIDTH, height: WIDTH })),
  );
}

if (directory) await Promise.all([writeZip(), writeParquet(), writeTiff()]);
