// Each case is a call of one of the page's modules and what it has to give; what differs is posted to the test.
import { ofValue, onGround } from "./colours.js";
import * as frames from "./frames.js";
import * as times from "./times.js";
import { format } from "./units.js";
import * as variables from "./variables.js";

const HEAT = [
  { labels: { le: "+Inf" }, points: [[1, 9], [2, 4]] },
  { labels: { le: "0.5" }, points: [[1, 7], [2, 4]] },
  { labels: { le: "0.1" }, points: [[1, 2], [2, 4]] },
];
const ANSWERS = [
  { target: { refId: "A" }, result: [{ metric: { store: "S1" }, value: [5, "3"] }] },
  { target: { refId: "B" }, result: [{ metric: { store: "S2" }, value: [5, "4"] }, { metric: { store: "S1" }, value: [5, "7"] }] },
];
const ORGANIZE = { excludeByName: { Time: true }, indexByName: { "Value #B": 1, store: 0 }, renameByName: { "Value #A": "orders" } };
const FUNCTION = { name: "function", multi: true, includeAll: true, allValue: ".*", options: ["cart", "a.b"] };
const CHOSEN = (...chosen) => [{ ...FUNCTION, chosen }];
const STEPS = { mode: "absolute", steps: [{ value: null, color: "green" }, { value: 1, color: "red" }] };

const CASES = {
  "seconds are shown in the unit that suits them": [[0, 0.00042, 0.0123, 2.5, 90, 7200].map((one) => format(one, "s")),
    ["0 s", "420 µs", "12.3 ms", "2.5 s", "1.5 min", "2 h"]],
  "milliseconds too": [format(1500, "ms"), "1.5 s"],
  "shares are percent": [format(0.999, "percentunit"), "99.9%"],
  "large numbers are short": [[999, 1234, 5_600_000].map((one) => format(one)), ["999", "1.23 K", "5.6 Mil"]],
  "rates": [[0.25, 12].map((one) => format(one, "reqps")), ["0.25 req/s", "12 req/s"]],
  "bytes are binary, and decimal a second": [[format(1536, "bytes"), format(1500, "Bps")], ["1.5 KiB", "1.5 kB/s"]],
  "money keeps its cents": [[format(12.5, "currency:CA$"), format(-3, "currency:CA$"), format(10_800, "currency:CA$")],
    ["CA$12.50", "-CA$3.00", "CA$10.8K"]],
  "nothing is a dash": [format(null, "s"), "–"],
  "decimals can be asked for": [format(1.23456, "none", 1), "1.2"],
  "an unknown unit is a suffix": [format(3, "carts"), "3 carts"],
  "durations": [["15m", "1.5h", "250ms"].map(times.duration), [900, 5400, 0.25]],
  "moments": [["now", "now-15m", "1700000000000"].map((one) => times.moment(one, 1000)), [1000, 100, 1700000000]],
  "the rate interval is four scrapes at least": [times.intervals(900, 1000, 5), { step: 5, rateInterval: 20 }],
  "and a scrape more than a longer step": [times.intervals(21600, 400, 5), { step: 60, rateInterval: 65 }],
  "the least interval of a panel holds": [times.intervals(900, 1000, 5, 30).step, 30],
  "ranges begin and end at multiples of the step": [times.aligned(903, 1807, 5), { start: 900, end: 1805 }],
  "a range is told in words": [times.describe("now-1h", "now"), "Last 1 hour"],
  "all values are what allValue says": [variables.interpolate('a{f=~"$function"}', CHOSEN("$__all")), 'a{f=~".*"}'],
  "several values are a choice, escaped": [variables.interpolate("${function}", CHOSEN("cart", "a.b")), "(cart|a\\\\.b)"],
  "one value stands alone": [variables.interpolate("[[function]]", CHOSEN("cart")), "cart"],
  "places of label_replace stay": [variables.interpolate('label_replace(x, "a", "$1", "b", "(.*)")', CHOSEN("cart")),
    'label_replace(x, "a", "$1", "b", "(.*)")'],
  "built-in variables": [variables.interpolate("rate(a[$__rate_interval]) offset $__range", [], { __rate_interval: "20s", __range: "900s" }),
    "rate(a[20s]) offset 900s"],
  "label_values with a selector that has commas": [variables.labelValues('label_values(a{b="1",c="2"}, d)'), { selector: 'a{b="1",c="2"}', label: "d" }],
  "label_values of a label alone": [variables.labelValues("label_values(d)"), { selector: null, label: "d" }],
  "other queries are not understood": [variables.labelValues("query_result(up)"), null],
  "legends are filled in": [frames.legend("{{ function }} {{code}}", { function: "cart", code: "200" }), "cart 200"],
  "a series without a legend has its own name": [frames.legend("__auto", { __name__: "up", job: "edge" }), 'up{job="edge"}'],
  "gaps stay gaps": [frames.series({ result: [{ metric: {}, values: [[10, "1"], [15, "NaN"], [30, "2"]] }] }, { legendFormat: "a" }, 5)[0].points,
    [[10000, 1], [15000, null], [20000, null], [30000, 2]]],
  "the last number that is one": [frames.reduce([[1, 2], [2, 4], [3, null]]), 4],
  "other calculations": [["min", "max", "mean", "sum", "count"].map((one) => frames.reduce([[1, 2], [2, 4]], one)), [2, 4, 3, 6, 2]],
  "no number at all": [frames.reduce([[1, null]]), null],
  "stacked series have the same times": [frames.atCommonTimes([{ points: [[1, 5], [2, 6]] }, { points: [[2, 7]] }]).map((one) => one.points),
    [[[1, 5], [2, 6]], [[1, 0], [2, 7]]]],
  "buckets are taken apart": [frames.heatCells(HEAT), { times: [1, 2], bounds: [0.1, 0.5, Infinity], cells: [[0, 0, 2], [1, 0, 4], [0, 1, 5], [0, 2, 2]] }],
  "rows of several queries meet": [frames.table(ANSWERS, [{ id: "merge" }, { id: "organize", options: ORGANIZE }]),
    { columns: ["store", "Value #B", "orders"], rows: [{ store: "S1", "Value #B": 7, orders: 3 }, { store: "S2", "Value #B": 4 }] }],
  "pale colours are darkened on a light ground alone": [[onGround("#FADE2A", "light"), onGround("#705DA0", "light"), onGround("#FADE2A", "dark"), onGround("currentColor", "light")],
    ["#a29019", "#705da0", "#FADE2A", "currentColor"]],
  "thresholds colour": [[0, 1, 5].map((one) => ofValue(STEPS, one)), ["#73BF69", "#F2495C", "#F2495C"]],
};

const plain = (value) => JSON.stringify(value, (_, one) => (one === Infinity ? "Infinity" : one));
const wrong = Object.entries(CASES)
  .filter(([, [given, wanted]]) => plain(given) !== plain(wanted))
  .map(([name, [given, wanted]]) => `${name}: ${plain(given)}, not ${plain(wanted)}`);
fetch("/seen", { method: "POST", body: JSON.stringify({ count: Object.keys(CASES).length, wrong }) });
addEventListener("error", (event) => fetch("/seen", { method: "POST", body: JSON.stringify({ count: 0, wrong: [event.message] }) }));
