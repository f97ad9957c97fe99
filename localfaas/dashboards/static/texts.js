// Panels that need no chart: single numbers, bars, tables and texts, made of plain elements.
import { ofValue, ofSeries, css } from "./colours.js";
import { fieldOf } from "./charts.js";
import { reduce } from "./frames.js";
import { format } from "./units.js";

function element(tag, className, text = "") {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

function valueOf(panel, one) {
  return reduce(one.points, panel.options?.reduceOptions?.calcs?.[0]);
}

/** One big number for each series, coloured by its thresholds. */
export function stat(panel, all) {
  const box = element("div", "stats");
  for (const one of all) {
    const field = fieldOf(panel, one.name);
    const value = valueOf(panel, one);
    const tile = element("div", "stat");
    const number = element("div", "stat-value", format(value, field.unit, field.decimals));
    const mode = panel.options?.colorMode ?? "value";
    const colour = ofValue(field.thresholds, value);
    if (mode === "value") number.style.color = colour;
    if (mode.startsWith("background")) tile.style.background = colour;
    if (panel.options?.graphMode === "area") tile.append(sparkline(one.points, colour));
    const named = all.length > 1 || ["name", "value_and_name"].includes(panel.options?.textMode);
    if (named) tile.append(element("div", "stat-name", one.name));
    tile.append(number);
    box.append(tile);
  }
  return box;
}

function sparkline(points, colour) {
  const values = points.map(([, value]) => value).filter((value) => value !== null);
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const places = values.map((value, index) => `${(index / Math.max(1, values.length - 1)) * 100},${30 - ((value - low) / (high - low || 1)) * 28}`);
  svg.setAttribute("viewBox", "0 0 100 30");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.classList.add("sparkline");
  const path = document.createElementNS(svg.namespaceURI, "polyline");
  path.setAttribute("points", places.join(" "));
  path.setAttribute("fill", "none");
  path.setAttribute("stroke", colour);
  path.setAttribute("vector-effect", "non-scaling-stroke");
  svg.append(path);
  return svg;
}

/** A bar for each series, from the panel's least to its most. */
export function barGauge(panel, all) {
  const values = all.map((one) => valueOf(panel, one));
  const { min = 0, max, thresholds, unit, decimals, color } = panel.fieldConfig?.defaults ?? {};
  const most = max ?? Math.max(...values.filter((value) => value !== null), min + Number.EPSILON);
  const box = element("div", "bars");
  all.forEach((one, index) => {
    const field = fieldOf(panel, one.name);
    const byName = color?.mode?.startsWith("palette");
    const fixed = field.color?.mode === "fixed" ? css(field.color.fixedColor) : null;
    const colour = fixed ?? (byName ? ofSeries(color.mode, one.name, index) : ofValue(thresholds, values[index], min, most));
    const row = element("div", "bar");
    const track = element("div", "bar-track");
    const fill = element("div", "bar-fill");
    const share = ((values[index] ?? min) - min) / (most - min || 1);
    fill.style.width = `${Math.min(100, Math.max(0, share * 100))}%`;
    fill.style.background = colour;
    track.append(fill);
    row.append(element("span", "bar-name", one.name), track, element("span", "bar-value", format(values[index], unit, decimals)));
    box.append(row);
  });
  return box;
}

/** A table with a head that stays; numbers in the unit of their column. */
export function table(panel, { columns, rows }) {
  const box = element("div", "table");
  const made = document.createElement("table");
  const head = made.createTHead().insertRow();
  for (const name of columns) head.append(Object.assign(document.createElement("th"), { textContent: name, scope: "col" }));
  const body = made.createTBody();
  for (const row of rows) {
    const line = body.insertRow();
    for (const name of columns) {
      const cell = line.insertCell();
      const field = fieldOf(panel, name);
      const isNumber = typeof row[name] === "number";
      cell.textContent = isNumber ? format(row[name], field.unit, field.decimals) : row[name] ?? "–";
      if (isNumber) cell.className = "number";
    }
  }
  box.append(made);
  return box;
}

/** A text, whose Markdown the server has made HTML of. */
export function text(panel) {
  const box = element("div", "prose text");
  box.innerHTML = panel.html ?? "";
  return box;
}

/** Names and colours of a chart's series, with what the panel wants calculated; a click hides a series. */
export function legend(panel, chart, all, colours) {
  const options = panel.options?.legend ?? {};
  if (options.showLegend === false || !all.length) return null;
  const box = element("div", `legend ${options.displayMode === "table" ? "legend-table" : ""}`);
  all.forEach((one, index) => {
    const entry = element("button", "legend-entry");
    entry.type = "button";
    const dot = element("span", "dot");
    dot.style.background = colours[index];
    entry.append(dot, element("span", "legend-name", one.name));
    const field = fieldOf(panel, one.name);
    for (const calculation of options.calcs ?? []) {
      entry.append(element("span", "legend-value", format(reduce(one.points, calculation), field.unit, field.decimals)));
    }
    entry.addEventListener("click", () => {
      chart.dispatchAction({ type: "legendToggleSelect", name: one.name });
      entry.classList.toggle("off");
    });
    box.append(entry);
  });
  return box;
}
