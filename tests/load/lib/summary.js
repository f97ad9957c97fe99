// What k6 has counted, as JSON for programs and as a few lines for people.
import { scenario } from './scenario.js';

export const STATISTICS = ['count', 'min', 'med', 'p(90)', 'p(99)', 'max'];

/** A threshold that always holds, so that k6 keeps the times of each request by its name. */
export function byName(actions) {
  const names = actions.flatMap((action) => scenario.actions[action]).map((ask) => ask.name);
  return Object.fromEntries(names.map((name) => [`http_req_duration{name:${name}}`, ['max>=0']]));
}

export function milliseconds(value) {
  return value === undefined ? '-' : value.toFixed(value < 100 ? 2 : 0);
}

export function row(cells, widths) {
  return `  ${cells.map((cell, place) => (place ? String(cell).padStart(widths[place]) : String(cell).padEnd(widths[place]))).join('  ')}`;
}

export function failures(data) {
  const rules = Object.entries(data.metrics).flatMap(([metric, { thresholds }]) =>
    Object.entries(thresholds || {}).filter(([, { ok }]) => !ok).map(([rule]) => `${metric} ${rule}`),
  );
  const checks = checksOf(data.root_group).filter((one) => one.fails).map((one) => `${one.fails} of ${one.passes + one.fails}: ${one.name}`);
  return [...rules, ...checks];
}

function checksOf(group) {
  return [...group.checks, ...group.groups.flatMap(checksOf)];
}

export function latencies(data) {
  const widths = [32, 7, 8, 8, 8, 8];
  const names = Object.values(scenario.actions).flatMap((asks) => asks.map((ask) => ask.name));
  const lines = names
    .map((name) => [name, (data.metrics[`http_req_duration{name:${name}}`] || { values: {} }).values])
    .filter(([, values]) => values.count)
    .map(([name, values]) => row([name, values.count, ...['med', 'p(90)', 'p(99)', 'max'].map((one) => milliseconds(values[one]))], widths));
  return [row(['ms', 'count', 'p50', 'p90', 'p99', 'max'], widths), ...lines];
}

/** What handleSummary returns. Tokens that setup found are left out of the file. */
export function written(about, data, lines) {
  if (!data.metrics.iterations) return { stdout: 'Nothing was loaded.\n' };
  const file = __ENV.SUMMARY || `.local/load-${about.name}.json`;
  const { metrics, state, root_group } = data;
  const wrong = failures(data);
  const verdict = wrong.length ? ['', 'Not as it should be:', ...wrong.map((one) => `  ${one}`)] : ['', 'Every answer was as it should be, and nothing that was due was left out.'];
  return {
    stdout: [...lines, ...verdict, `Written to ${file}.`, ''].join('\n'),
    [file]: JSON.stringify({ ...about, failures: wrong, metrics, state, root_group }, null, 1),
  };
}
