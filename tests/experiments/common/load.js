// Blocks of load, one after the other or side by side, as a plan (JSON file named by PLAN) lays them out.
// Open blocks have a rate: request i is due at i / rate, displaced by up to `spread` seconds so that requests come as
// independent callers' do. Closed ones have users, who ask again as soon as they are answered.
// A block has one request, or several with weights, which come in exactly that proportion. $name in address, headers and body
// (there in quotes) is taken from its `turns`, one after the other. A request may have one `first`, and that one its own:
// they are sent before it, their answers fill in what turns leave open, and all count as one. And it may be insisted on:
// sent again with its key until it gets a final answer, whose field `keep` is then logged.
// Each answer becomes one row of the metric `answer`: how long it took (ms), its block, status, `ok` (0 or 1), and in
// the metadata which request of the block it was (`i`) and its displacement in ms (`d`). common/answers.py reads them.
import http from 'k6/http';
import { sleep } from 'k6';
import exec from 'k6/execution';
import { Trend, Gauge } from 'k6/metrics';

const plan = JSON.parse(open(__ENV.PLAN));
const blocks = Object.fromEntries(plan.blocks.map((block) => [block.name, block]));

function scenario(block) {
  const common = { startTime: `${Math.round(block.start * 1000)}ms`, duration: `${Math.round(block.seconds * 1000)}ms`, gracefulStop: `${Math.round((block.spread + block.patience + block.insist) * 1000) + 100}ms` };
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
  discardResponseBodies: !plan.blocks.some((block) => block.requests.some((one) => one.contains || one.first || one.keep)),
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

const GOLDEN = 0.6180339887498949;
const PASSING = [0, 429, 500, 502, 503, 504];

// Whatever part of the iterations is looked at, each request has its weight in it (Weyl's sequence of the golden ratio).
function chosen(requests, number) {
  let place = (number * GOLDEN) % 1;
  return requests.find((one) => (place -= one.weight) < 0) || requests[requests.length - 1];
}

// Three steps a turn, as two requests of one kind may follow each other that soon, and none is to have the other's turn.
const turnOf = (request, number) => request.turns[Math.floor(number * (request.weight < 1 ? 3 * request.weight : 1)) % request.turns.length] || {};
const written = (text, values) => text.replace(/\$(\w+)/g, (whole, name) => (name in values ? values[name] : whole));
const filled = (body, values) => body && body.replace(/"\$(\w+)"/g, (whole, name) => (name in values ? JSON.stringify(values[name]) : whole));

function send(request, body, values, key, patience) {
  const headers = request.key ? { 'Idempotency-Key': key } : {};
  for (const name in request.headers) headers[name] = written(request.headers[name], values);
  return http.request(request.method, written(request.url, values), body, { headers, timeout: `${Math.round(patience * 1000)}ms`, redirects: 0 });
}

// What is sent before a request, in that order.
const before = (request) => (request.first ? [...before(request.first), request.first] : []);
const milliseconds = ({ timings }) => Math.max(timings.blocked, timings.connecting + timings.tls_handshaking) + timings.duration;
const expected = (request, given) => request.statuses.includes(given.status) && (!request.contains || String(given.body).includes(request.contains));

export default function () {
  const block = blocks[exec.scenario.name];
  const number = exec.scenario.iterationInTest;
  const displaced = block.rate ? Math.random() * block.spread : 0;
  exec.vu.metrics.metadata.i = String(number);
  exec.vu.metrics.metadata.d = (displaced * 1000).toFixed(3);
  if (displaced) sleep(displaced);
  const request = chosen(block.requests, number);
  const key = `${exec.scenario.name}-${plan.id}-${number}`;
  let values = turnOf(request, number);
  let given, took = 0;
  for (const one of before(request)) {
    given = send(one, filled(one.body, values), values, key, block.patience);
    took += milliseconds(given);
    if (!expected(one, given)) {
      answer.add(took, { ok: '0', status: String(given.status) });
      return;
    }
    values = { ...given.json(), ...values };
  }
  const body = filled(request.body, values);
  given = send(request, body, values, key, block.patience);
  took += milliseconds(given);
  answer.add(took, { ok: expected(request, given) ? '1' : '0', status: String(given.status) });
  if (request.keep) insist(block, request, body, values, key, given);
}

function insist(block, request, body, values, key, first) {
  const until = Date.now() + request.insist * 1000;
  let given = first, tries = 1;
  while ((PASSING.includes(given.status) || (given.status === 409 && String(given.json('code')).endsWith('_in_flight'))) && Date.now() < until) {
    sleep(1);
    given = send(request, body, values, key, block.patience);
    tries += 1;
  }
  console.log(`kept ${JSON.stringify({ block: block.name, key, status: given.status, tries, value: given.status < 300 ? given.json(request.keep) : null })}`);
}
