// A journey in a shape, through the edge: k6 run -e JOURNEY=shop -e SHAPE=smoke tests/load/k6-test.js
// Environment: JOURNEY (shop, store_day), SHAPE (smoke, steady, ramp, step, spike, soak), BASE (http://localhost:8000),
// HQ_TOKEN, STAFF_TOKEN, CUSTOMER_TOKENS (else a few customers are registered), SUMMARY (where the JSON goes).
import exec from 'k6/execution';
import { sleep } from 'k6';
import { Counter } from 'k6/metrics';
import { perform, visitor } from './lib/scenario.js';
import { chosen, due, scenarios, spread, wants } from './lib/shapes.js';
import { BASE, atEdge, prepare } from './lib/target.js';
import { STATISTICS, byName, latencies, written } from './lib/summary.js';

const JOURNEY = __ENV.JOURNEY || 'shop';
const SHAPE = __ENV.SHAPE || 'smoke';

const shape = chosen('shapes', SHAPE);
const visits = chosen('journeys', JOURNEY);
const complete = new Counter('visits');
// Of kinds that are due so rarely that none may come, none need come.
const expected = Object.entries(visits).filter(([, visit]) => due(shape, visit) >= 1.5);

export const options = {
  scenarios: scenarios(JOURNEY, shape),
  thresholds: {
    checks: ['rate==1'],
    dropped_iterations: ['count==0'],
    ...Object.fromEntries(expected.map(([kind]) => [`visits{visit:${kind}}`, ['count>0']])),
    ...byName([...new Set(Object.values(visits).flatMap((visit) => visit.actions))]),
  },
  summaryTrendStats: STATISTICS,
  setupTimeout: '120s',
};

export function setup() {
  return prepare(wants(visits, shape));
}

export function visit(found) {
  const mine = visits[exec.scenario.name];
  sleep(Math.random() * spread(shape, mine));
  const { values, people } = visitor(found);
  if (mine.actions.every((action) => perform(action, values, people, atEdge))) complete.add(1);
}

export function handleSummary(data) {
  const count = (metric) => (data.metrics[metric] ? data.metrics[metric].values.count : 0);
  const lines = [
    `${JOURNEY}, ${SHAPE}, at ${BASE}: ${count('iterations')} visits in ${Math.round(data.state.testRunDurationMs / 1000)} s, ${count('visits')} of them complete, ${count('dropped_iterations')} never begun`,
    ...latencies(data),
  ];
  return written({ name: `${JOURNEY}-${SHAPE}`, journey: JOURNEY, shape: SHAPE, base: BASE }, data, lines);
}
