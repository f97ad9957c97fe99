// A dashboard: its controls, its rows and panels in Grafana's grid of 24 columns, and when they are asked for again.
import { askLabelValues, ask } from "./ask.js";
import { legend } from "./frames.js";
import { Panel } from "./panel.js";
import { aligned, describe, duration, intervals, moment } from "./times.js";
import { ALL, fixedOptions, initial, interpolate, labelValues } from "./variables.js";

const RANGES = ["now-5m", "now-15m", "now-30m", "now-1h", "now-3h", "now-6h", "now-12h", "now-24h"];
const REFRESHES = ["off", "5s", "10s", "30s", "1m"];

const main = document.getElementById("dashboard");
const scrapeSeconds = duration(main.dataset.scrapeInterval);
const url = new URL(location.href);
const state = { board: null, variables: [], panels: [], marks: [], from: "", to: "", refresh: "off", timer: 0 };

async function start() {
  const answer = await fetch(`/api/dashboards/${main.dataset.uid}`);
  state.board = await answer.json();
  state.from = url.searchParams.get("from") ?? state.board.time?.from ?? "now-1h";
  state.to = url.searchParams.get("to") ?? state.board.time?.to ?? "now";
  state.refresh = url.searchParams.get("refresh") ?? state.board.refresh ?? "off";
  state.variables = (state.board.templating?.list ?? []).map((one) => ({ ...one, options: [], chosen: fromUrl(one) }));
  showControls();
  build();
  await refresh();
  main.setAttribute("aria-busy", "false");
}

function fromUrl(variable) {
  const given = url.searchParams.getAll(`var-${variable.name}`).map((one) => (one === "All" ? ALL : one));
  return given.length ? given : initial(variable);
}

function view() {
  const now = Date.now() / 1000;
  return { from: moment(state.from, now), to: moment(state.to, now) };
}

async function refresh() {
  clearTimeout(state.timer);
  await Promise.all([loadVariables(), loadMarks()]);
  await Promise.all(state.panels.map((panel) => panel.refresh()));
  if (state.refresh !== "off") state.timer = setTimeout(() => (document.hidden ? refreshWhenSeen() : refresh()), duration(state.refresh) * 1000);
}

function refreshWhenSeen() {
  document.addEventListener("visibilitychange", () => refresh(), { once: true });
}

// Variables

async function loadVariables() {
  const { from, to } = view();
  for (const variable of state.variables) { // in order: a later one may use an earlier one
    try {
      variable.options = fixedOptions(variable) ?? await queried(variable, from, to);
    } catch {
      variable.options = []; // the panels say what is wrong
    }
    showVariable(variable);
  }
}

async function queried(variable, from, to) {
  const text = typeof variable.query === "string" ? variable.query : variable.query?.query ?? "";
  const found = labelValues(interpolate(text, state.variables));
  if (!found) throw new Error(`${variable.name}: only label_values(…) is understood here`);
  const values = await askLabelValues(found.label, found.selector, from, to);
  const wanted = variable.regex ? new RegExp(variable.regex.replace(/^\/|\/$/g, "")) : null;
  return wanted ? values.filter((one) => wanted.test(one)) : values;
}

function showVariable(variable) {
  if (variable.hide === 2) return;
  const id = `variable-${variable.name}`;
  let box = document.getElementById(id);
  if (!box) {
    box = Object.assign(document.createElement("details"), { id, className: "variable" });
    box.append(document.createElement("summary"), Object.assign(document.createElement("div"), { className: "choices" }));
    document.getElementById("variables").append(box);
  }
  const chosen = variable.chosen.includes(ALL) ? "All" : variable.chosen.join(" + ") || "none";
  box.firstChild.textContent = `${variable.label || variable.name}: ${chosen}`;
  const wanted = [...(variable.includeAll ? [ALL] : []), ...variable.options];
  const signature = JSON.stringify([wanted, variable.chosen]);
  if (box.dataset.signature === signature) return;
  box.dataset.signature = signature;
  box.lastChild.replaceChildren(...wanted.map((value) => choice(variable, value)));
}

function choice(variable, value) {
  const label = document.createElement("label");
  const input = document.createElement("input");
  input.type = variable.multi ? "checkbox" : "radio";
  input.name = variable.name;
  input.checked = variable.chosen.includes(value);
  input.addEventListener("change", () => choose(variable, value, input.checked));
  label.append(input, value === ALL ? "All" : value);
  return label;
}

function choose(variable, value, isOn) {
  let chosen = variable.chosen.filter((one) => one !== value && one !== ALL);
  if (!variable.multi || value === ALL) chosen = [];
  if (isOn) chosen.push(value);
  variable.chosen = chosen.length ? chosen : variable.includeAll ? [ALL] : [value];
  remember();
  refresh();
}

// Annotations

async function loadMarks() {
  const wanted = (state.board.annotations?.list ?? []).filter((one) => one.enable && one.expr);
  const { from, to } = view();
  const { step } = intervals(to - from, 600, scrapeSeconds);
  const range = aligned(from, to, step);
  const answers = await Promise.all(wanted.map((one) => ask("query_range", { query: interpolate(one.expr, state.variables), ...range, step }).catch(() => ({ result: [] }))));
  state.marks = wanted.flatMap((one, index) => answers[index].result.flatMap((found) => beginnings(found.values, step).map((time) => ({
    time: time * 1000, colour: one.iconColor, text: legend(one.titleFormat, found.metric),
  }))));
}

/** When each unbroken run of points begins. */
function beginnings(values, step) {
  return values.map(([time]) => time).filter((time, index, all) => index === 0 || time - all[index - 1] > 1.5 * step);
}

// Panels

function build() {
  const context = { view, variables: state.variables, scrapeSeconds, marks: () => state.marks, zoom };
  const watcher = new IntersectionObserver((seen) => seen.forEach(({ target, isIntersecting }) => {
    target.panel.isNear = isIntersecting;
    if (isIntersecting && target.panel.isDue) target.panel.load();
  }), { rootMargin: "200px" });
  for (const [row, panels] of rows(state.board.panels ?? [])) {
    const grid = Object.assign(document.createElement("div"), { className: "grid" });
    const top = Math.min(...panels.map((one) => one.gridPos.y));
    for (const json of panels) {
      const panel = new Panel(json, context);
      panel.element.panel = panel;
      place(panel.element, json.gridPos, top);
      grid.append(panel.element);
      state.panels.push(panel);
    }
    main.append(row ? section(row, grid) : grid);
  }
  state.panels.forEach((panel) => watcher.observe(panel.element));
}

/** Each row with the panels up to the next; first those without a row. */
function rows(panels) {
  const sorted = [...panels].sort((one, other) => one.gridPos.y - other.gridPos.y || one.gridPos.x - other.gridPos.x);
  const found = [[null, []]];
  for (const one of sorted) {
    if (one.type === "row") found.push([one, [...(one.panels ?? [])]]);
    else found.at(-1)[1].push(one);
  }
  return found.filter(([row, inside]) => row || inside.length);
}

function section(row, grid) {
  const box = Object.assign(document.createElement("details"), { className: "row", open: !row.collapsed });
  const head = document.createElement("summary");
  head.append(Object.assign(document.createElement("h2"), { textContent: interpolate(row.title ?? "", state.variables) }));
  box.append(head, grid);
  return box;
}

function place(element, { x, y, w, h }, top) {
  element.style.setProperty("--column", `${x + 1} / span ${w}`);
  element.style.setProperty("--row", `${y - top + 1} / span ${h}`);
  element.style.setProperty("--height", h);
}

// Controls

function showControls() {
  const board = document.getElementById("board");
  board.addEventListener("change", () => location.assign(`/d/${board.value}${location.search}`));
  fillSelect("range", [...new Set([...RANGES, state.from])], state.from, (value) => describe(value, /^\d/.test(value) ? state.to : "now"), (value) => {
    state.from = value;
    state.to = "now";
  });
  fillSelect("refresh", [...new Set([...REFRESHES, state.refresh])], state.refresh, (value) => (value === "off" ? "no refresh" : `every ${value}`), (value) => {
    state.refresh = value;
  });
  document.getElementById("now").addEventListener("click", refresh);
  addEventListener("themechange", refresh);
  addEventListener("resize", () => state.panels.forEach((panel) => panel.chart?.resize()));
  document.addEventListener("click", (event) => document.querySelectorAll("details.variable[open]").forEach((one) => {
    if (!one.contains(event.target)) one.open = false;
  }));
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") document.querySelectorAll("details.variable[open]").forEach((one) => { one.open = false; });
  });
}

function fillSelect(id, values, chosen, name, choosen) {
  const select = document.getElementById(id);
  select.replaceChildren(...values.map((value) => new Option(name(value), value, false, value === chosen)));
  select.onchange = () => {
    choosen(select.value);
    remember();
    refresh();
  };
}

function zoom(from, to) {
  state.from = String(Math.round(from));
  state.to = String(Math.round(to));
  state.refresh = "off";
  document.getElementById("range").prepend(new Option(describe(state.from, state.to), state.from, true, true));
  document.getElementById("refresh").value = "off";
  remember();
  refresh();
}

/** Keep what is shown in the address, as Grafana does, so that it can be sent to somebody. */
function remember() {
  const query = new URLSearchParams({ from: state.from, to: state.to, refresh: state.refresh });
  for (const { name, chosen } of state.variables) chosen.forEach((value) => query.append(`var-${name}`, value));
  history.replaceState(null, "", `?${query}`);
}

start().catch((error) => {
  main.textContent = error.message;
});
