// Grafana's units, as far as dashboards here use them: a number and a unit become a text.

const SECONDS = [[1e-6, "ns", 1e-9], [1e-3, "µs", 1e-6], [1, "ms", 1e-3], [60, "s", 1], [3600, "min", 60],
  [86400, "h", 3600], [Infinity, "d", 86400]];
const SHORT = ["", " K", " Mil", " Bil", " Tri"];
const BYTES = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
const BYTES_DECIMAL = ["B", "kB", "MB", "GB", "TB", "PB"];
const SUFFIXED = { reqps: " req/s", ops: " ops/s", rps: " reads/s", wps: " writes/s", cps: " c/s", cpm: " c/m", opm: " ops/m" };

/** `value` in `unit`, with `decimals` places or as many as three figures need. */
export function format(value, unit = "short", decimals = null) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (!Number.isFinite(value)) return value > 0 ? "+Inf" : "-Inf";
  if (unit.startsWith("currency:")) return signed(value, unit.slice(9), decimals);
  if (unit === "currencyUSD") return signed(value, "$", decimals);
  if (unit === "currencyEUR") return signed(value, "€", decimals);
  if (unit in SUFFIXED) return short(value, decimals) + SUFFIXED[unit];
  switch (unit) {
    case "s": return seconds(value, decimals);
    case "ms": return seconds(value / 1e3, decimals);
    case "µs": return seconds(value / 1e6, decimals);
    case "ns": return seconds(value / 1e9, decimals);
    case "percent": return `${number(value, decimals)}%`;
    case "percentunit": return `${number(value * 100, decimals)}%`;
    case "bytes": return scaled(value, 1024, BYTES, decimals);
    case "decbytes": return scaled(value, 1000, BYTES_DECIMAL, decimals);
    case "Bps": return `${scaled(value, 1000, BYTES_DECIMAL, decimals)}/s`;
    case "binBps": return `${scaled(value, 1024, BYTES, decimals)}/s`;
    case "none": return number(value, decimals);
    case "bool": return value ? "True" : "False";
    case "dateTimeAsIso": return new Date(value).toISOString().slice(0, 19).replace("T", " ");
    case "short": return short(value, decimals);
    default: return unit ? `${short(value, decimals)} ${unit}` : short(value, decimals);
  }
}

/** Three significant figures, and no zeros that say nothing. */
export function number(value, decimals = null) {
  const size = Math.abs(value);
  const places = decimals ?? (size === 0 ? 0 : Math.min(6, Math.max(0, 2 - Math.floor(Math.log10(size)))));
  const text = value.toFixed(places);
  return decimals === null && text.includes(".") ? text.replace(/\.?0+$/, "") : text;
}

function short(value, decimals) {
  return scaled(value, 1000, SHORT, decimals, "");
}

function scaled(value, base, names, decimals, gap = " ") {
  let step = 0;
  let left = value;
  while (Math.abs(left) >= base && step < names.length - 1) {
    left /= base;
    step += 1;
  }
  return number(left, decimals) + (names[step] ? gap : "") + names[step];
}

function seconds(value, decimals) {
  if (value === 0) return "0 s";
  const [, name, one] = SECONDS.find(([below]) => Math.abs(value) < below);
  return `${number(value / one, decimals)} ${name}`;
}

function signed(value, sign, decimals) {
  return (value < 0 ? "-" : "") + sign + scaled(Math.abs(value), 1000, ["", "K", "M", "B"], decimals ?? (Math.abs(value) < 1000 ? 2 : null), "");
}
