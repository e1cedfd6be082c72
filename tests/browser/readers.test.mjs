// Readers of other formats, which nobody here wrote, over the daemon: directly, and through `asyncBuffer`.
// tests/browser/test_readers.py tells where daemon and readers are, in the variable READERS.

import assert from "node:assert/strict";
import { after, test } from "node:test";

import { AeroDisk, asyncBuffer } from "../../browser/aero-disk.js";
import { load, pixel, ROWS, TEXTS, WIDTH } from "./reader-files.mjs";

const { modules, base } = JSON.parse(process.env.READERS ?? "{}");
const options = { skip: base === undefined && "no readers" };
const disks = [];

async function buffer(name) {
  const disk = await AeroDisk.open(`${base}/${name}`, { profile: false, blockSize: 4096, readAhead: 0 });
  disks.push(disk);
  return { disk, file: asyncBuffer(disk) };
}

after(() => Promise.all(disks.map(disk => disk.close())));

async function readZip(reader, { TextWriter, ZipReader }) {
  const zip = new ZipReader(reader);
  const entries = await zip.getEntries();
  assert.deepEqual(
    entries.map(({ filename }) => filename),
    TEXTS.map(([name]) => name),
  );
  for (const number of [0, 77, 199]) assert.equal(await entries[number].getData(new TextWriter()), TEXTS[number][1]);
  await zip.close();
}

test("zip.js", options, async () => {
  const zip = await load(modules, "@zip.js/zip.js/index.js");
  await readZip(new zip.HttpRangeReader(`${base}/texts.zip`), zip);
  await readZip((await buffer("texts.zip")).file, zip);
});

test("hyparquet", options, async () => {
  const { asyncBufferFromUrl, parquetReadObjects } = await load(modules, "hyparquet/src/index.js");
  const { disk, file } = await buffer("rows.parquet");
  for (const source of [await asyncBufferFromUrl({ url: `${base}/rows.parquet` }), file]) {
    const rows = await parquetReadObjects({ file: source, rowStart: 5000, rowEnd: 5100 });
    assert.deepEqual(
      rows.map(({ id, name, value }) => ({ id: Number(id), name, value: Number(value) })),
      ROWS.slice(5000, 5100),
    );
  }
  assert.ok(disk.stats.bytes < disk.size / 2, `${disk.stats.bytes} of ${disk.size} bytes`);
});

test("geotiff", options, async () => {
  const { fromUrl, GeoTIFF } = await load(modules, "geotiff/dist-module/geotiff.js");
  for (const tiff of [
    await fromUrl(`${base}/picture.tif`),
    await GeoTIFF.fromSource((await buffer("picture.tif")).file),
  ]) {
    const image = await tiff.getImage();
    const [values] = await image.readRasters({ window: [10, 20, 60, 40] });
    assert.equal(values.length, 50 * 20);
    values.forEach((value, index) => {
      assert.equal(value, pixel((20 + Math.floor(index / 50)) * WIDTH + 10 + (index % 50)));
    });
  }
});
