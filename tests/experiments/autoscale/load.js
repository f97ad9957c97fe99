// One shape of load on two functions at once, through the function gateway; arrivals are displaced by up to a second,
// so that they come as independent callers' do and not one exactly after the other.
// Environment: TARGETS ({name: address}), START (rate), STAGES ([{duration, target}]), VUS.
import http from 'k6/http';
import { sleep } from 'k6';
import exec from 'k6/execution';
import { Gauge } from 'k6/metrics';

const targets = JSON.parse(__ENV.TARGETS);

export const options = {
  discardResponseBodies: true,
  systemTags: ['status', 'scenario', 'error_code'],
  summaryTrendStats: ['count'],
  thresholds: { dropped_iterations: ['count==0'] },
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

const began = new Gauge('load_began');

export function setup() {
  began.add(Date.now());
}

export default function () {
  sleep(Math.random());
  http.get(targets[exec.scenario.name], { timeout: '20s' });
}
