// Prepares the shop for a journey in a shape, as k6-test.js does, and writes what visits need to the file FEED: for JMeter,
// which has no setup of its own. `python -m tests.load.jmeter run` calls it. Environment: as of k6-test.js, and FEED.
import { chosen, wants } from '../lib/shapes.js';
import { prepare } from '../lib/target.js';

export const options = { scenarios: { none: { executor: 'shared-iterations', iterations: 1, vus: 1 } }, setupTimeout: '120s' };

export function setup() {
  return prepare(wants(chosen('journeys', __ENV.JOURNEY), chosen('shapes', __ENV.SHAPE)));
}

export default function () {}

export function handleSummary(data) {
  return data.setup_data ? { [__ENV.FEED]: JSON.stringify(data.setup_data) } : {};
}
