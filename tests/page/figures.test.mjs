// Plots and traffic: the scales, the words, and what the browser's timings come to.

import assert from "node:assert/strict";
import { test } from "node:test";

import "./client-modules.mjs";

const { axisEnd, plotText, since, valueText } = await import("../../browser/page/plot-scale.js");
const { latency, sampleOfEntry, throughput, Traffic } = await import("../../browser/page/traffic.js");

test("an axis ends at a round number that no value exceeds", () => {
  const ends = [0, 0.03, 1, 1.1, 2.4, 3, 7, 99, 100, 101, 12_345_678, NaN, Infinity].map(axisEnd);
  assert.deepEqual(
    ends,
    [1, 0.05, 1, 2, 2.5, 5, 10, 100, 100, 200, 2e7, 1, 1].map((end, index) => (index === 1 ? 0.05 : end)),
  );
});

test("values are told with their unit", () => {
  const texts = [
    [0, "ms"],
    [1.234, "ms"],
    [1234, "ms"],
    [999, "B/s"],
    [1500, "B/s"],
    [12_345_678, "B/s"],
    [3e15, "B/s"],
  ];
  assert.deepEqual(
    texts.map(([value, unit]) => valueText(value, unit)),
    ["0 ms", "1.23 ms", "1234 ms", "999 B/s", "1.5 kB/s", "12.3 MB/s", "3000 TB/s"],
  );
});

test("the text of a plot tells the last and the largest value of each series", () => {
  const series = [
    {
      name: "ranges",
      points: [
        [500, 9e9],
        [1000, 2e6],
        [2000, 1e6],
      ],
    },
    { name: "chunks", points: [] },
  ];
  assert.equal(
    plotText(series, { unit: "B/s", seconds: 1, now: 2500 }),
    "Last 1 seconds. ranges: 1 MB/s at last, 2 MB/s at most; chunks: nothing.",
  );
});

test("a line begins with the point before the edge", () => {
  const points = [
    [0, 1],
    [10, 2],
    [20, 3],
  ];
  assert.deepEqual([since(points, 5), since(points, 20), since(points, 21)], [points, points.slice(1), []]);
});

const PATH = "/v1/images/win98";
const entryOf = (path, facts = {}) => ({
  name: `http://images.test${path}`,
  requestStart: 100,
  responseStart: 130,
  responseEnd: 1130,
  transferSize: 1300,
  encodedBodySize: 1000,
  ...facts,
});

test("requests for bytes count as ranges or chunks; those for other things do not", () => {
  const kinds = [
    `${PATH}?0-511`,
    `${PATH}/data`,
    `${PATH}/versions/v-1?lease=secret&0-9`,
    `${PATH}/chunked/v1/chunks/00000001.bin`,
    `${PATH}/meta`,
    `${PATH}/versions/v-1/extents`,
    `${PATH}99`,
    "/ui/x.js",
  ].map(path => sampleOfEntry(entryOf(path), PATH)?.kind);
  assert.deepEqual(kinds, ["ranges", "ranges", "ranges", "chunks", undefined, undefined, undefined, undefined]);
  assert.equal(sampleOfEntry(entryOf(PATH, { transferSize: 0 }), PATH), undefined);
  assert.equal(sampleOfEntry(entryOf(PATH, { responseStart: 0 }), PATH), undefined);
});

test("the bytes of an answer are spread over the time that it took", () => {
  const sample = sampleOfEntry(entryOf(PATH, { responseStart: 1000, responseEnd: 2000 }), PATH);
  assert.deepEqual(throughput([sample], 2500, 2), [
    [750, 0],
    [1250, 1000],
    [1750, 1000],
    [2250, 0],
  ]);
  const short = { ...sample, first: 1100, end: 1100 };
  const sum = throughput([short], 2500, 2).reduce((total, [, value]) => total + value / 2, 0);
  assert.ok(Math.abs(sum - 1000) < 1e-6);
});

test("latency is the time from the request to the first byte", () => {
  const sample = sampleOfEntry(entryOf(PATH), PATH);
  assert.deepEqual(latency([sample], 2000, 60), [[1130, 30]]);
  assert.deepEqual(latency([sample], 200_000, 60), []);
});

test("a bounded number of requests is remembered", () => {
  const traffic = new Traffic(PATH);
  for (let count = 0; count < 10_000; count += 1) traffic.note(entryOf(PATH));
  assert.ok(traffic.of("ranges").length <= 4000);
  assert.deepEqual(traffic.of("chunks"), []);
});
