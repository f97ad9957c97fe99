// The same requests straight at the function's own port, through the function gateway, and through the edge, by turns:
// k6 run tests/load/load_test.js
// `read` is one product; `mix` is browse, search, view and a visitor's cart. Environment: BASE (the edge,
// http://localhost:8000), GATEWAY and DIRECT (as the edge's port has them unless set; DIRECT is of products), ROUNDS,
// SECONDS (of a block), READS and ACTIONS (a second), SUMMARY.
// What is told is the difference of quantiles, which is not the quantile of the differences.
import exec from 'k6/execution';
import { Trend } from 'k6/metrics';
import { perform, scenario, visitor } from './lib/scenario.js';
import { BASE, local, products, refuse, rows } from './lib/target.js';
import { STATISTICS, milliseconds, row, written } from './lib/summary.js';

const EDGE_PORT = 8000;
const GATEWAY_PORT = 8080;
const number = (name, otherwise) => Number(__ENV[name] || otherwise);
const ROUNDS = number('ROUNDS', 4);
const SECONDS = number('SECONDS', 3);
const GAP_SECONDS = 0.3;
const RATES = { read: number('READS', 60), mix: number('ACTIONS', 20) };
const MIX = ['browse', 'search', 'view', 'cart'];
const WARM_TIMES = 10;

const moved = Number(BASE.split(':')[2] || EDGE_PORT) - EDGE_PORT; // PORT_OFFSET
const gateway = local(__ENV.GATEWAY || `http://localhost:${GATEWAY_PORT + moved}`, 'GATEWAY');
const productsMoved = __ENV.DIRECT ? Number(local(__ENV.DIRECT, 'DIRECT').split(':')[2]) - scenario.ports.products : moved;

/** Addresses of a path such as /api/products/7. */
const ARMS = {
  direct: (path) => `http://localhost:${scenario.ports[parts(path)[1]] + productsMoved}${rest(path)}`,
  gateway: (path) => `${gateway}/function/${parts(path)[1]}${rest(path)}`,
  edge: (path) => BASE + path,
};
const KINDS = Object.keys(RATES);
const took = new Trend('took', true);

function parts(path) {
  return /^\/api\/([a-z]+)(.*)$/.exec(path);
}

function rest(path) {
  const after = parts(path)[2];
  return after.startsWith('/') ? after : `/${after}`;
}

/** Each kind on each arm once a round; the arms take turns at being first. */
function blocks() {
  const names = Object.keys(ARMS);
  const planned = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const kind of KINDS) {
      for (let turn = 0; turn < names.length; turn += 1) planned.push([`${kind}_${names[(turn + round) % names.length]}_${round}`, kind, names[(turn + round) % names.length]]);
    }
  }
  return planned.map(([name, kind, arm], place) => [name, block(kind, arm, place * (SECONDS + GAP_SECONDS))]);
}

function block(kind, arm, start) {
  return {
    executor: 'constant-arrival-rate',
    exec: kind,
    tags: { arm, kind },
    env: { ARM: arm },
    startTime: `${Math.round(start * 1000)}ms`,
    duration: `${SECONDS}s`,
    rate: RATES[kind],
    timeUnit: '1s',
    preAllocatedVUs: RATES[kind],
    maxVUs: RATES[kind],
    gracefulStop: '20s',
  };
}

export const options = {
  scenarios: Object.fromEntries(blocks()),
  thresholds: {
    checks: ['rate==1'],
    dropped_iterations: ['count==0'],
    ...Object.fromEntries(KINDS.flatMap((kind) => Object.keys(ARMS).map((arm) => [`took{arm:${arm},kind:${kind}}`, ['max>0']]))),
  },
  summaryTrendStats: STATISTICS,
  setupTimeout: '60s',
};

export function setup() {
  const found = { start: 0, rows: rows(products()), customers: [] };
  for (const [arm, address] of Object.entries(ARMS)) {
    for (let times = 0; times < WARM_TIMES; times += 1) {
      const well = MIX.every((action) => perform(action, { ...found.rows[times] }, {}, address));
      if (!well) refuse(`The shop does not answer well, ${arm} (${address('/api/products')}). Are the ports right? -e GATEWAY=http://localhost:PORT -e DIRECT=http://localhost:PORT`);
    }
  }
  return found;
}

function act(action, found) {
  const { values, people } = visitor(found);
  perform(action, values, people, ARMS[__ENV.ARM], (answer) => took.add(answer.timings.duration));
}

export function read(found) {
  act('view', { ...found, rows: found.rows.slice(0, 1) });
}

export function mix(found) {
  act(MIX[exec.scenario.iterationInTest % MIX.length], found);
}

const WIDTHS = [28, 7, 8, 8, 8];
const QUANTILES = ['med', 'p(90)', 'p(99)'];

function compared(data, kind) {
  const of = (arm) => data.metrics[`took{arm:${arm},kind:${kind}}`].values;
  const less = (one, other) => QUANTILES.map((name) => milliseconds(of(one)[name] - of(other)[name]));
  return [
    row([`${kind}, ms`, 'count', 'p50', 'p90', 'p99'], WIDTHS),
    ...Object.keys(ARMS).map((arm) => row([arm, of(arm).count, ...QUANTILES.map((name) => milliseconds(of(arm)[name]))], WIDTHS)),
    row(['gateway less direct', '', ...less('gateway', 'direct')], WIDTHS),
    row(['edge less gateway', '', ...less('edge', 'gateway')], WIDTHS),
    row(['edge less direct', '', ...less('edge', 'direct')], WIDTHS),
  ];
}

export function handleSummary(data) {
  return written({ name: 'compare', base: BASE, gateway, rates: RATES }, data, KINDS.flatMap((kind) => compared(data, kind)));
}
