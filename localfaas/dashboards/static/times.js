// Time ranges as Grafana writes them (`now-15m`, or milliseconds), and the intervals that queries are asked in.

const UNITS = { s: 1, m: 60, h: 3600, d: 86400, w: 604800, M: 2592000, y: 31536000 };
const NICE_SECONDS = [1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1200, 1800, 3600, 7200, 10800, 21600, 43200, 86400];

/** Seconds of a duration such as `15m`; NaN for anything else. */
export function duration(text) {
  const found = /^(\d+(?:\.\d+)?)(ms|[smhdwMy])$/.exec(text);
  if (!found) return NaN;
  return found[2] === "ms" ? found[1] / 1000 : found[1] * UNITS[found[2]];
}

/** Seconds since 1970 of `now`, `now-15m` or a number of milliseconds. */
export function moment(text, now) {
  if (/^\d+$/.test(text)) return Number(text) / 1000;
  const found = /^now(?:([-+])(.+))?$/.exec(text);
  if (!found) return NaN;
  if (!found[1]) return now;
  return now + (found[1] === "-" ? -1 : 1) * duration(found[2]);
}

/**
 * Step and intervals of a query over `rangeSeconds`, drawn on `points` points.
 *
 * As Grafana's Prometheus data source computes them: the interval is the range through the points, rounded to a nice
 * number and not below the scrape interval; `$__rate_interval` is the larger of interval + scrape interval and four
 * scrape intervals (Grafana's documentation, "Use $__rate_interval").
 */
export function intervals(rangeSeconds, points, scrapeSeconds, minSeconds = 0) {
  const raw = rangeSeconds / Math.max(1, points);
  const nice = NICE_SECONDS.find((one) => one >= raw * 0.75) ?? 86400;
  const step = Math.max(nice, scrapeSeconds, minSeconds);
  return { step, rateInterval: Math.max(step + scrapeSeconds, 4 * scrapeSeconds) };
}

/** Start and end as multiples of the step, so that the same points are asked for again at the next refresh. */
export function aligned(from, to, step) {
  return { start: Math.floor(from / step) * step, end: Math.floor(to / step) * step };
}

/** What a person reads of a range: `Last 15 minutes`, or two times. */
export function describe(from, to) {
  const last = /^now-(\d+)([smhdw])$/.exec(from);
  if (last && to === "now") {
    const names = { s: "second", m: "minute", h: "hour", d: "day", w: "week" };
    return `Last ${last[1]} ${names[last[2]]}${last[1] === "1" ? "" : "s"}`;
  }
  const show = (text) => (/^\d+$/.test(text) ? new Date(Number(text)).toLocaleString() : text);
  return `${show(from)} to ${show(to)}`;
}
