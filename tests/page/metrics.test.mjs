/** Metrics as text, and the figures that are made of them. */

import assert from "node:assert/strict";
import test from "node:test";

import { readMetrics, total } from "../../browser/page/metrics-text.js";
import { chartsOf, facts } from "../../browser/page/server-figures.js";

const TEXT = `# HELP http_requests_total Requests.
# TYPE http_requests_total counter
http_requests_total{method="GET",route="/",status="200"} 10.0
http_requests_total{method="GET",route="/",status="404"} 2 1700000000000
http_requests_total{method="GET",route="/",status="503"} 1
aero_storage_connections 7
aero_storage_places_limit 64
aero_storage_places_taken 3
aero_storage_catalog_invalid 0
aero_storage_server_build_info{version="0.2.0 \\"x\\"\\n"} 1
odd_bucket{le="+Inf"} +Inf
not a sample
broken{a="b" x
`;

/** @param {string} text @param {number} at */
function look(text, at) {
  return { at, metrics: readMetrics(text) };
}

/** @param {{ metrics: any, at: number }} now @param {{ metrics: any, at: number } | undefined} before */
function values(now, before) {
  const charts = chartsOf(now.metrics);
  return Object.fromEntries(
    charts.flatMap(({ title, figures }) =>
      figures.map(({ name, value }) => [`${title}: ${name}`, value(now, before)]),
    ),
  );
}

test("samples are read with their labels, and lines that are none are left out", () => {
  const metrics = readMetrics(TEXT);
  assert.equal(metrics.get("http_requests_total")?.length, 3);
  assert.equal(metrics.get("aero_storage_server_build_info")?.[0]?.labels.version, '0.2.0 "x"\n');
  assert.equal(metrics.get("odd_bucket")?.[0]?.value, Infinity);
  assert.equal(metrics.has("not"), false);
  assert.equal(metrics.has("broken"), false);
});

test("samples add up, those that are wanted alone, and a metric that is not there is not 0", () => {
  const metrics = readMetrics(TEXT);
  assert.equal(total(metrics, "http_requests_total"), 13);
  assert.equal(
    total(metrics, "http_requests_total", ({ status }) => status === "404"),
    2,
  );
  assert.equal(total(metrics, "odd"), undefined);
});

test("labels of a hostile name are no properties of an object", () => {
  const [sample] = readMetrics('x{__proto__="y"} 1').get("x") ?? [];
  assert.equal(Object.getPrototypeOf(sample?.labels), null);
  assert.equal(sample?.labels.__proto__, "y");
});

test("rates are of the time between two looks; gauges are of now", () => {
  const before = look('http_requests_total{status="200"} 10\naero_storage_bytes_sent_total 1000\n', 1000);
  const now = look(
    'http_requests_total{status="200"} 14\nhttp_requests_total{status="503"} 2\naero_storage_bytes_sent_total 5000\naero_storage_connections 7\n',
    3000,
  );
  const found = values(now, before);
  assert.equal(found["Throughput: image bytes"], 2000);
  assert.equal(found["Requests: answered"], 3);
  assert.equal(found["Errors: 5xx"], 1);
  assert.equal(found["Errors: 4xx"], 0);
  assert.equal(found["Connections: open"], 7);
});

test("the first look has no rates, and neither has one of the same moment", () => {
  const first = look(TEXT, 1000);
  assert.equal(values(first, undefined)["Requests: answered"], undefined);
  assert.equal(values(first, first)["Requests: answered"], undefined);
});

test("a counter that went down began anew", () => {
  const found = values(look("http_requests_total 3\n", 2000), look("http_requests_total 100\n", 1000));
  assert.equal(found["Requests: answered"], 3);
});

test("cache and origin have charts where there is an origin, and a share of nothing is unknown", () => {
  const before = 'aero_storage_origin_up 1\naero_storage_cache_requests_total{result="hit"} 10\n';
  const now =
    'aero_storage_origin_up 0\naero_storage_cache_requests_total{result="hit"} 13\naero_storage_cache_requests_total{result="miss"} 1\n';
  assert.equal(values(look(now, 2000), look(before, 1000))["Cache hits: of blocks"], 75);
  assert.equal(values(look(before, 2000), look(before, 1000))["Cache hits: of blocks"], undefined);
  assert.equal("Cache hits: of blocks" in values(look(TEXT, 1000), undefined), false);
  assert.deepEqual(facts(readMetrics(now)).at(-1), ["Origin", "does not answer"]);
});

test("facts say places, catalog and version", () => {
  assert.deepEqual(facts(readMetrics(TEXT)), [
    ["Version", '0.2.0 "x"\n'],
    ["Places", "3 of 64"],
    ["Catalog", "good"],
  ]);
  const bad = new Map(facts(readMetrics("aero_storage_catalog_invalid 1\naero_storage_places_limit 0\n")));
  assert.match(bad.get("Catalog") ?? "", /invalid/);
  assert.equal(bad.get("Places"), "no limit");
});
