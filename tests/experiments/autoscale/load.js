// One shape of load on two functions at once, through the function gateway; arrivals are displaced by up to a second,
// so that they come as independent callers' do and not one exactly after the other.
// Each answer becomes a row of the metric `answer`, as in common/load.js, so that it can be counted from when it was due.
// Environment: TARGETS ({name: address}), START (rate), STAGES ([{duration, target}]), VUS.
import http from 'k6/http';
import { sleep } from 'k6';
import exec from 'k6/execution';
import { Gauge, Trend } from 'k6/metrics';

const targets = JSON.parse(__ENV.TARGETS);

export const options = {
  discardResponseBodies: true,
  systemTags: ['status', 'scenario', 'error_code'],
  summaryTrendStats: ['count'],
  scenarios: Object.fromEntries(
    Object.keys(targets).map((name) => [
      name,
      {
        executor: 'ramping-arrival-rate',
        startRate: Number(__ENV.START),
        timeUnit: '1s',
        stages: JSON.parse(__ENV.STAGES),
        preAllocatedVUs: Number(__ENV.VUS),
        maxVUs: Number(__ENV.VUS),
        gracefulStop: '20s',
      },
    ]),
  ),
};

const answer = new Trend('answer');
const began = new Gauge('load_began');

export function setup() {
  began.add(Date.now());
}

export default function () {
  const displaced = Math.random();
  exec.vu.metrics.metadata.i = String(exec.scenario.iterationInTest);
  exec.vu.metrics.metadata.d = (displaced * 1000).toFixed(3);
  sleep(displaced);
  const { status, timings } = http.get(targets[exec.scenario.name], { timeout: '20s' });
  const took = Math.max(timings.blocked, timings.connecting + timings.tls_handshaking) + timings.duration;
  answer.add(took, { ok: status === 200 ? '1' : '0', status: String(status) });
}
