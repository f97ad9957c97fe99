// Blocks of load, one after the other or side by side, as a plan (JSON file named by PLAN) lays them out.
// Open blocks have a rate: request i is due at i / rate, displaced by up to `spread` seconds so that requests come as
// independent callers' do. Closed ones have users, who ask again as soon as they are answered.
// Each answer becomes one row of the metric `answer`: how long it took (ms), its block, status, `ok` (0 or 1), and in
// the metadata which request of the block it was (`i`) and its displacement in ms (`d`). common/answers.py reads them.
import http from 'k6/http';
import { sleep } from 'k6';
import exec from 'k6/execution';
import { Trend, Gauge } from 'k6/metrics';

const plan = JSON.parse(open(__ENV.PLAN));
const blocks = Object.fromEntries(plan.blocks.map((block) => [block.name, block]));

function scenario(block) {
  const common = { startTime: `${Math.round(block.start * 1000)}ms`, duration: `${Math.round(block.seconds * 1000)}ms`, gracefulStop: `${Math.round((block.spread + block.patience) * 1000) + 100}ms` };
  if (block.users) return { ...common, executor: 'constant-vus', vus: block.users };
  // k6 takes whole rates only, so a rate is given for as many seconds as makes it whole.
  return {
    ...common,
    executor: 'constant-arrival-rate',
    rate: Math.round(block.rate * 1000),
    timeUnit: '1000s',
    preAllocatedVUs: block.connections,
    maxVUs: block.connections,
  };
}

export const options = {
  discardResponseBodies: !plan.blocks.some((block) => block.request.contains),
  insecureSkipTLSVerify: true,
  noVUConnectionReuse: false,
  systemTags: ['status', 'scenario', 'error_code'],
  summaryTrendStats: ['count'],
  setupTimeout: '60s',
  scenarios: Object.fromEntries(plan.blocks.map((block) => [block.name, scenario(block)])),
};

const answer = new Trend('answer');
const began = new Gauge('load_began');

export function setup() {
  began.add(Date.now());
}

export default function () {
  const block = blocks[exec.scenario.name];
  const { request } = block;
  const displaced = block.rate ? Math.random() * block.spread : 0;
  exec.vu.metrics.metadata.i = String(exec.scenario.iterationInTest);
  exec.vu.metrics.metadata.d = (displaced * 1000).toFixed(3);
  if (displaced) sleep(displaced);
  const headers = request.key ? { ...request.headers, 'Idempotency-Key': `${exec.scenario.name}-${plan.id}-${exec.scenario.iterationInTest}` } : request.headers;
  const given = http.request(request.method, request.url, request.body, { headers, timeout: `${Math.round(block.patience * 1000)}ms`, redirects: 0 });
  const took = given.timings;
  const ok = request.statuses.includes(given.status) && (!request.contains || String(given.body).includes(request.contains));
  answer.add(Math.max(took.blocked, took.connecting + took.tls_handshaking) + took.duration, { ok: ok ? '1' : '0', status: String(given.status) });
}
