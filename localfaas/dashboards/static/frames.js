// What Prometheus answers, as what panels draw: named series, single numbers, rows of tables, cells of heat maps.

/** A legend template such as `{{function}} {{code}}` filled in from labels; without one the series' own name. */
export function legend(template, labels, expr = "") {
  if (template && template !== "__auto") {
    return template.replace(/\{\{\s*([^}]+?)\s*\}\}/g, (_, name) => labels[name] ?? "");
  }
  const { __name__: name = "", ...rest } = labels;
  const inner = Object.entries(rest).map(([key, value]) => `${key}="${value}"`).join(", ");
  return inner ? `${name}{${inner}}` : name || expr;
}

/** Series of a range or instant answer: name, labels and [milliseconds, number or null] points, gaps kept as gaps. */
export function series(answer, target, step = 0) {
  return (answer.result ?? []).map((one) => ({
    name: legend(target.legendFormat, one.metric ?? {}, target.expr),
    labels: one.metric ?? {},
    refId: target.refId,
    points: withGaps((one.values ?? [one.value]).map(([time, text]) => [time * 1000, numeric(text)]), step * 1000),
  }));
}

function numeric(text) {
  const value = text === "+Inf" ? Infinity : text === "-Inf" ? -Infinity : Number(text);
  return Number.isFinite(value) ? value : null;
}

function withGaps(points, step) {
  if (!step) return points;
  const found = [];
  points.forEach((point, index) => {
    const before = points[index - 1];
    if (before && point[0] - before[0] > 1.5 * step) found.push([before[0] + step, null]);
    found.push(point);
  });
  return found;
}

/** The same series at common times, nothing where one has no point: charts stack point upon point, whatever their times. */
export function atCommonTimes(all) {
  const times = [...new Set(all.flatMap((one) => one.points.map(([time]) => time)))].sort((a, b) => a - b);
  return all.map((one) => {
    const known = new Map(one.points);
    return { ...one, points: times.map((time) => [time, known.get(time) ?? 0]) };
  });
}

const CALCULATIONS = {
  lastNotNull: (values) => values.at(-1),
  last: (values) => values.at(-1),
  first: (values) => values[0],
  firstNotNull: (values) => values[0],
  min: (values) => Math.min(...values),
  max: (values) => Math.max(...values),
  sum: (values) => values.reduce((total, one) => total + one, 0),
  mean: (values) => values.reduce((total, one) => total + one, 0) / values.length,
  count: (values) => values.length,
};

/** One number of a series, by Grafana's name of the calculation; null when it has none. */
export function reduce(points, calculation = "lastNotNull") {
  const values = points.map(([, value]) => value).filter((value) => value !== null);
  return values.length ? (CALCULATIONS[calculation] ?? CALCULATIONS.lastNotNull)(values) : null;
}

/** A table of instant answers: columns and rows, after the panel's transformations. */
export function table(answers, transformations = []) {
  const many = answers.length > 1;
  let frames = answers.map(({ target, result }) => frame(result, many ? `Value #${target.refId}` : "Value"));
  let shown = frames[0] ?? { columns: [], rows: [] };
  for (const { id, options = {}, disabled } of transformations) {
    if (disabled) continue;
    if (id === "merge") shown = merged(frames);
    if (id === "organize") shown = organized(shown, options);
    frames = [shown];
  }
  return shown;
}

function frame(result, valueName) {
  const names = [...new Set(result.flatMap((one) => Object.keys(one.metric)))];
  const columns = ["Time", ...names, valueName];
  const rows = result.map((one) => ({
    Time: one.value[0] * 1000, ...one.metric, [valueName]: numeric(one.value[1]),
  }));
  return { columns, rows };
}

/** Rows that agree in every column that both have become one, as Grafana's transformation `merge`. */
function merged(frames) {
  const columns = [...new Set(frames.flatMap((one) => one.columns))];
  const isValue = (name) => name === "Time" || name === "Value" || name.startsWith("Value #");
  const rows = new Map();
  for (const row of frames.flatMap((one) => one.rows)) {
    const key = JSON.stringify(columns.filter((name) => !isValue(name)).map((name) => row[name] ?? null));
    rows.set(key, { ...rows.get(key), ...row });
  }
  return { columns: columns.filter((name) => !isValue(name)).concat(columns.filter(isValue)), rows: [...rows.values()] };
}

function organized({ columns, rows }, { excludeByName = {}, indexByName = {}, renameByName = {} }) {
  const kept = columns.filter((name) => !excludeByName[name]);
  const place = (name) => indexByName[name] ?? Infinity;
  kept.sort((one, other) => (place(one) === place(other) ? 0 : place(one) - place(other)));
  const named = (name) => renameByName[name] || name;
  return {
    columns: kept.map(named),
    rows: rows.map((row) => Object.fromEntries(kept.map((name) => [named(name), row[name]]))),
  };
}

/**
 * Cells of a heat map from cumulative buckets: series labelled `le` at common times.
 *
 * Prometheus counts in each bucket all that is in those below; here what is in this one alone.
 */
export function heatCells(all) {
  const bound = (one) => (one.labels.le === "+Inf" ? Infinity : Number(one.labels.le));
  const buckets = [...all].sort((one, other) => bound(one) - bound(other));
  const times = [...new Set(buckets.flatMap((one) => one.points.map(([time]) => time)))].sort((a, b) => a - b);
  const cells = [];
  let below = new Map();
  buckets.forEach((bucket, row) => {
    const here = new Map(bucket.points);
    times.forEach((time, column) => {
      const inside = (here.get(time) ?? 0) - (below.get(time) ?? 0);
      if (inside > 1e-9) cells.push([column, row, inside]);
    });
    below = here;
  });
  return { times, bounds: buckets.map(bound), cells };
}
