// A plan of sales, each at its own time, at a till: python -m tests.load.replay makes the plan and runs this.
// Environment: PLAN (JSON: late_ms, users, sales: [{at, lines}], times in seconds), BASE, STAFF_TOKEN, SUMMARY.
// Each virtual user takes the next sale and waits until it is due; when all are at work a sale leaves late, which is
// counted, and with one late sale the run is worth nothing.
import exec from 'k6/execution';
import { sleep } from 'k6';
import { SharedArray } from 'k6/data';
import { Counter, Trend } from 'k6/metrics';
import { fulfil, scenario } from './lib/scenario.js';
import { BASE, atEdge, products, till } from './lib/target.js';
import { STATISTICS, byName, latencies, milliseconds, written } from './lib/summary.js';

const plan = new SharedArray('plan', () => [JSON.parse(open(__ENV.PLAN))])[0];
const sales = new SharedArray('sales', () => JSON.parse(open(__ENV.PLAN)).sales);
const START_SECONDS = 1;

const late = new Counter('late_sends');
const waited = new Trend('lateness', true);
const sold = new Counter('sales');

export const options = {
  scenarios: {
    replay: {
      executor: 'shared-iterations',
      exec: 'sell',
      vus: Math.min(plan.users, sales.length),
      iterations: sales.length,
      maxDuration: `${Math.ceil(sales[sales.length - 1].at) + 60}s`,
    },
  },
  thresholds: {
    checks: ['rate==1'],
    late_sends: ['count==0'],
    sales: [`count==${sales.length}`],
    ...byName(['till_sale']),
  },
  summaryTrendStats: STATISTICS,
  setupTimeout: '60s',
};

export function setup() {
  products();
  return { ...till(), begins: Date.now() + START_SECONDS * 1000 };
}

export function sell(found) {
  const sale = sales[exec.scenario.iterationInTest];
  const due = found.begins + sale.at * 1000;
  sleep(Math.max(0, due - Date.now()) / 1000);
  const behind = Math.max(0, Date.now() - due);
  waited.add(behind);
  late.add(behind > plan.late_ms ? 1 : 0);
  const values = { ...found.till, sku: sale.lines[0].sku };
  const asks = scenario.actions.till_sale.map((ask) => ({ ...ask, body: { ...ask.body, lines: sale.lines } }));
  if (asks.every((ask) => fulfil(ask, values, { staff: found.staff }, atEdge))) sold.add(1);
}

export function handleSummary(data) {
  const count = (metric) => (data.metrics[metric] ? data.metrics[metric].values.count : 0);
  const { lateness } = data.metrics;
  const lines = [
    `${count('sales')} of ${sales.length} sales at ${BASE}, ${count('late_sends')} sent more than ${plan.late_ms} ms late` +
      (lateness ? ` (p99 ${milliseconds(lateness.values['p(99)'])} ms, at most ${milliseconds(lateness.values.max)} ms)` : ''),
    ...latencies(data),
  ];
  return written({ name: 'replay', base: BASE, late_ms: plan.late_ms }, data, lines);
}
