// One panel: its frame, its questions, and what is drawn of the answers. A failure stays in its panel.
import { askTarget } from "./ask.js";
import * as charts from "./charts.js";
import { series, table } from "./frames.js";
import * as texts from "./texts.js";
import { aligned, duration, intervals } from "./times.js";
import { interpolate } from "./variables.js";

const FLAT = { stat: texts.stat, bargauge: texts.barGauge };

export class Panel {
  constructor(json, context) {
    this.json = json;
    this.context = context; // { view(): {from, to}, variables, scrapeSeconds, marks(), zoom(from, to) }
    this.isDue = true;
    this.isNear = false;
    this.element = document.createElement("section");
    this.element.className = "panel";
    this.element.dataset.type = json.type;
    this.head = document.createElement("h3");
    this.body = document.createElement("div");
    this.body.className = "panel-body";
    this.element.append(this.head, this.body);
    this.state("waiting");
  }

  state(state, message = "") {
    this.element.dataset.state = state;
    if (message) {
      this.dispose();
      this.body.replaceChildren(Object.assign(document.createElement("p"), { className: "message", textContent: message }));
    }
  }

  /** Ask and draw again when the panel is on the screen, or as soon as it is. */
  refresh() {
    this.isDue = true;
    if (this.isNear) return this.load();
    return null;
  }

  async load() {
    this.isDue = false;
    this.abort?.abort();
    this.abort = new AbortController();
    const { signal } = this.abort;
    this.title();
    try {
      await this.fill(signal);
    } catch (error) {
      if (!signal.aborted) this.state("error", error.message);
    }
  }

  title() {
    const { json, context } = this;
    const words = interpolate(json.title ?? "", context.variables.map((one) => ({ ...one, multi: false, includeAll: false, chosen: [one.chosen.join(" + ").replace("$__all", "All")] })));
    const info = document.createElement("span");
    if (json.description) {
      info.className = "info";
      info.tabIndex = 0;
      info.textContent = "i";
      info.title = json.description;
      info.setAttribute("aria-label", json.description);
    }
    this.head.replaceChildren(words, info);
  }

  async fill(signal) {
    const { json } = this;
    if (json.type === "text") return this.show(texts.text(json));
    const targets = (json.targets ?? []).filter((one) => !one.hide && one.expr);
    if (!DRAWN.has(json.type)) return this.state("error", `This page cannot draw a panel of type ${json.type}; Grafana can.`);
    const range = this.range();
    const answers = await Promise.all(targets.map((target) => askTarget(target, this.expression(target, range), range, signal)));
    if (signal.aborted) return null;
    if (json.type === "table") return this.showTable(targets, answers);
    const all = targets.flatMap((target, index) => series(answers[index], target, target.instant ? 0 : range.step));
    if (!all.some((one) => one.points.some(([, value]) => value !== null))) return this.state("no data", json.fieldConfig?.defaults?.noValue ?? "No data");
    if (FLAT[json.type]) return this.show(FLAT[json.type](json, all));
    return this.showChart(all, range);
  }

  range() {
    const { from, to } = this.context.view();
    const points = this.json.maxDataPoints ?? Math.max(100, this.body.clientWidth || 600);
    const { step, rateInterval } = intervals(to - from, points, this.context.scrapeSeconds, duration(this.json.interval ?? "") || 0);
    return { ...aligned(from, to, step), step, rateInterval, at: to, seconds: to - from };
  }

  expression(target, { step, rateInterval, seconds }) {
    const whole = Math.round(seconds);
    return interpolate(target.expr, this.context.variables, {
      __interval: `${step}s`, __interval_ms: String(step * 1000), __rate_interval: `${rateInterval}s`,
      __range: `${whole}s`, __range_s: String(whole), __range_ms: String(whole * 1000),
    });
  }

  show(content) {
    this.dispose();
    this.body.replaceChildren(content);
    this.state("drawn");
  }

  showTable(targets, answers) {
    const shown = table(targets.map((target, index) => ({ target, result: answers[index].result })), this.json.transformations);
    if (!shown.rows.length) return this.state("no data", this.json.fieldConfig?.defaults?.noValue ?? "No data");
    return this.show(texts.table(this.json, shown));
  }

  showChart(all, range) {
    const { json, context } = this;
    if (!this.place) {
      this.place = Object.assign(document.createElement("div"), { className: "chart" });
      this.body.replaceChildren(this.place);
      this.observer = new ResizeObserver(() => requestAnimationFrame(() => this.chart?.resize()));
      this.observer.observe(this.place);
    }
    const isSeries = json.type === "timeseries";
    const options = { timeseries: () => charts.timeSeries(json, all, range, context.marks()), gauge: () => charts.gauge(json, all), heatmap: () => charts.heatMap(json, all) }[json.type]();
    this.chart = charts.draw(this.place, isSeries ? { ...options, legend: { show: false } } : options, isSeries ? "all" : null, context.zoom);
    this.place.setAttribute("role", "img");
    this.place.setAttribute("aria-label", `${json.title}: ${all.map((one) => one.name).slice(0, 8).join(", ")}`);
    this.legend?.remove();
    this.legend = isSeries ? texts.legend(json, this.chart, all, options.series.map((one) => one.color)) : null;
    this.body.classList.toggle("legend-right", json.options?.legend?.placement === "right");
    if (this.legend) this.body.append(this.legend);
    this.chart.resize();
    this.state("drawn");
  }

  dispose() {
    this.observer?.disconnect();
    this.chart?.dispose();
    this.chart = this.place = this.legend = null;
  }
}

const DRAWN = new Set(["timeseries", "gauge", "heatmap", "stat", "bargauge", "table", "text"]);
