// Panels that Apache ECharts draws: time series, gauges and heat maps. Each takes the panel's JSON and data, and gives options.
/* global echarts */
import { css, ofSeries, ofValue } from "./colours.js";
import { atCommonTimes, heatCells, reduce } from "./frames.js";
import { format } from "./units.js";

const FONT = "system-ui, sans-serif";

/** Colours of text and lines as the page's style sheet has them now. */
function ink() {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(name).trim();
  return { text: of("--text"), dim: of("--dim"), line: of("--line"), panel: of("--panel") };
}

/** What overrides say of a series: the panel's defaults with the properties of each that matches. */
export function fieldOf(panel, name) {
  const { defaults = {}, overrides = [] } = panel.fieldConfig ?? {};
  const field = { ...defaults, custom: { ...defaults.custom } };
  for (const { matcher, properties } of overrides) {
    if (!matches(matcher, name)) continue;
    for (const { id, value } of properties) {
      if (id.startsWith("custom.")) field.custom[id.slice(7)] = value;
      else field[id] = value;
    }
  }
  return field;
}

function matches(matcher, name) {
  if (matcher.id === "byName") return matcher.options === name;
  if (matcher.id === "byRegexp") return new RegExp(matcher.options.replace(/^\/|\/$/g, "")).test(name);
  return false;
}

function axisLabel(colours) {
  return { color: colours.dim, fontSize: 11, fontFamily: FONT, hideOverlap: true };
}

function timeAxis(range, colours) {
  return {
    type: "time", min: range.start * 1000, max: range.end * 1000,
    axisLine: { lineStyle: { color: colours.line } }, splitLine: { show: false },
    axisLabel: { ...axisLabel(colours), formatter: clock(range.end - range.start) },
  };
}

function clock(seconds) {
  return (time) => {
    const at = new Date(time);
    const hours = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: seconds <= 300 ? "2-digit" : undefined, hour12: false });
    return seconds > 2 * 86400 ? `${at.getMonth() + 1}/${at.getDate()} ${hours}` : hours;
  };
}

/** Options of a time series panel. `marks` are annotations: times, texts and colours. */
export function timeSeries(panel, answered, range, marks) {
  const colours = ink();
  const { defaults = {} } = panel.fieldConfig ?? {};
  const all = isStacked(defaults.custom) ? atCommonTimes(answered) : answered;
  const fields = all.map((one) => fieldOf(panel, one.name));
  const lines = all.map((one, index) => line(one, fields[index], index, colours));
  if (lines.length) {
    lines[0].markLine = { silent: true, symbol: "none", animation: false, label: { show: false }, data: [...limits(defaults), ...marks.map(mark)] };
  }
  return {
    animation: false, textStyle: { fontFamily: FONT },
    grid: { left: 8, right: 12, top: 10, bottom: 4, containLabel: true },
    xAxis: timeAxis(range, colours),
    yAxis: {
      type: "value", min: defaults.min ?? null, max: defaults.max ?? roomAboveNothing(defaults.unit), scale: defaults.min === undefined,
      splitNumber: 4, splitLine: { lineStyle: { color: colours.line, opacity: 0.6 } },
      axisLabel: { ...axisLabel(colours), formatter: (value) => format(value, defaults.unit, defaults.decimals) },
    },
    tooltip: {
      trigger: "axis", confine: true, backgroundColor: colours.panel, borderColor: colours.line, textStyle: { color: colours.text, fontSize: 12 },
      order: "valueDesc", axisPointer: { type: "line", lineStyle: { color: colours.dim } },
      formatter: (points) => hovered(points, (name) => fields[all.findIndex((one) => one.name === name)] ?? defaults),
    },
    toolbox: { show: false, feature: { dataZoom: { yAxisIndex: "none" } } },
    series: lines,
  };
}

function isStacked(custom) {
  return Boolean(custom?.stacking?.mode) && custom.stacking.mode !== "none";
}

/** Where nothing is above zero the axis ends at an eighth of a share, or at one of anything else, and a bit. */
function roomAboveNothing(unit) {
  return ({ max }) => (max > 0 ? null : unit === "percentunit" ? 0.12 : 1.2);
}

function line(one, field, index, colours) {
  const custom = field.custom ?? {};
  const colour = field.color?.mode === "fixed" ? css(field.color.fixedColor) : ofSeries(field.color?.mode, one.name, index);
  const bars = custom.drawStyle === "bars";
  return {
    type: bars ? "bar" : "line", name: one.name, data: one.points, step: custom.lineInterpolation === "stepAfter" ? "end" : false,
    smooth: custom.lineInterpolation === "smooth", showSymbol: custom.showPoints === "always" || one.points.length === 1,
    symbolSize: 4, color: colour === "currentColor" ? colours.text : colour, lineStyle: { width: custom.lineWidth ?? 1 },
    areaStyle: custom.fillOpacity && !bars ? { opacity: custom.fillOpacity / 100 } : undefined,
    stack: isStacked(custom) ? custom.stacking.group ?? "A" : undefined,
    emphasis: { disabled: true }, connectNulls: custom.spanNulls === true,
  };
}

function limits(defaults) {
  if (!["line", "dashed", "line+area", "dashed+area"].includes(defaults.custom?.thresholdsStyle?.mode)) return [];
  return (defaults.thresholds?.steps ?? []).filter((step) => step.value !== null).map((step) => ({
    yAxis: step.value, lineStyle: { color: css(step.color), type: "dashed", opacity: 0.8 },
  }));
}

function mark({ time, colour, text }) {
  return { xAxis: time, name: text, lineStyle: { color: css(colour), type: "dotted", opacity: 0.7 } };
}

function hovered(points, fieldOfName) {
  const box = document.createElement("div");
  const head = document.createElement("div");
  head.className = "hover-head";
  head.textContent = points.length ? new Date(points[0].value[0]).toLocaleTimeString([], { hour12: false }) : "";
  box.append(head);
  for (const point of points.filter((one) => one.value[1] !== null).slice(0, 15)) {
    const row = document.createElement("div");
    const dot = document.createElement("span");
    row.className = "hover-row";
    dot.className = "dot";
    dot.style.background = point.color;
    const name = document.createElement("span");
    name.textContent = point.seriesName;
    const value = document.createElement("b");
    const field = fieldOfName(point.seriesName);
    value.textContent = format(point.value[1], field.unit, field.decimals);
    row.append(dot, name, value);
    box.append(row);
  }
  return box;
}

/** Options of a gauge: one dial for each series. */
export function gauge(panel, all) {
  const colours = ink();
  const share = 100 / Math.max(1, all.length);
  return {
    animation: false, textStyle: { fontFamily: FONT },
    series: all.map((one, index) => dial(panel, one, `${share * (index + 0.5)}%`, Math.min(86, share), colours)),
  };
}

function dial(panel, one, centre, width, colours) {
  const field = fieldOf(panel, one.name);
  const { min = 0, max = 100, thresholds } = field;
  const value = reduce(one.points, panel.options?.reduceOptions?.calcs?.[0]);
  const steps = (thresholds?.steps ?? []).map((step, index, list) => [
    index + 1 < list.length ? (list[index + 1].value - min) / (max - min) : 1, css(step.color),
  ]);
  return {
    type: "gauge", min, max, center: [centre, "62%"], radius: `${width}%`, startAngle: 200, endAngle: -20,
    progress: { show: true, width: 14, itemStyle: { color: ofValue(thresholds, value, min, max) } },
    axisLine: { lineStyle: { width: 14, color: [[1, colours.line]] } },
    axisTick: { show: false }, splitLine: { show: false }, axisLabel: { show: false }, pointer: { show: false }, anchor: { show: false },
    splitNumber: steps.length, title: { color: colours.dim, fontSize: 12, offsetCenter: [0, "38%"] },
    detail: { color: ofValue(thresholds, value, min, max), fontSize: 22, offsetCenter: [0, "0%"], formatter: (shown) => format(value === null ? null : shown, field.unit, field.decimals) },
    data: [{ value: value ?? min, name: one.name }],
  };
}

/** Options of a heat map of a histogram's buckets over time. */
export function heatMap(panel, all) {
  const colours = ink();
  const { times, bounds, cells } = heatCells(all);
  const unit = panel.options?.yAxis?.unit ?? panel.fieldConfig?.defaults?.unit;
  const most = cells.reduce((top, [, , value]) => Math.max(top, value), 0);
  const label = (bound) => (bound === Infinity ? "+Inf" : format(bound, unit));
  return {
    animation: false, textStyle: { fontFamily: FONT },
    grid: { left: 8, right: 12, top: 10, bottom: 4, containLabel: true },
    xAxis: { type: "category", data: times, axisLine: { lineStyle: { color: colours.line } }, axisTick: { show: false },
      axisLabel: { ...axisLabel(colours), formatter: (time) => clock((times.at(-1) - times[0]) / 1000)(Number(time)) } },
    yAxis: { type: "category", data: bounds, axisTick: { show: false }, axisLine: { show: false },
      axisLabel: { ...axisLabel(colours), formatter: (_, index) => `≤ ${label(bounds[index])}` } },
    visualMap: { show: false, min: 0, max: most || 1, inRange: { color: document.documentElement.dataset.theme === "dark"
      ? ["#2b1d0e", "#7f3b08", "#e08214", "#fee0b6"] : ["#fff1e0", "#fdb863", "#e08214", "#7f3b08"] } },
    tooltip: { confine: true, backgroundColor: colours.panel, borderColor: colours.line, textStyle: { color: colours.text, fontSize: 12 },
      formatter: ({ value: [column, row, count] }) =>
        `${new Date(times[column]).toLocaleTimeString([], { hour12: false })}<br>≤ ${label(bounds[row])}: <b>${format(count)}</b>` },
    series: [{ type: "heatmap", data: cells, progressive: 0, itemStyle: { borderColor: colours.panel, borderWidth: 0.5 } }],
  };
}

/** Draw `options` in `place`, on the chart that is there already or a new one; `zoomed` is told of a range dragged out. */
export function draw(place, options, group, zoomed) {
  let chart = echarts.getInstanceByDom(place);
  if (!chart) {
    chart = echarts.init(place, null, { renderer: "canvas" });
    if (group) {
      chart.group = group;
      echarts.connect(group);
    }
    chart.on("datazoom", (event) => {
      const { startValue, endValue } = event.batch?.[0] ?? event;
      if (startValue !== undefined) zoomed(startValue, endValue);
    });
  }
  chart.setOption(options, { notMerge: true });
  if (options.toolbox) chart.dispatchAction({ type: "takeGlobalCursor", key: "dataZoomSelect", dataZoomSelectActive: true });
  return chart;
}
