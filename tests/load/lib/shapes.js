// Shapes as k6 has them: for each kind of visit an open arrival rate of its own, which is its share of the whole.
import { scenario } from './scenario.js';

const ARRIVALS_IN_SPREAD = 20; // visits are displaced by up to the time in which so many are due, so that they come as people do
const OPEN_SECONDS = 1.5; // there are virtual users for visits that take as long; if that is not enough, visits are dropped
const SPARE_USERS = 5;
const BUYING_SECONDS = 4; // nobody buys again before their last purchase is surely done
const FEWEST_BUYERS = 4;
const MOST_BUYERS = 30;
const SELLING = ['checkout', 'till_sale'];
const UNIT_SECONDS = 1000; // k6 takes whole rates only, so a rate is given for as many seconds as makes it whole

export function chosen(kind, name) {
  const known = scenario[kind];
  if (!known[name]) throw new Error(`there is no ${name} among the ${kind}: ${Object.keys(known).join(', ')}`);
  return known[name];
}

export function seconds(shape) {
  return shape.reduce((sum, stage) => sum + stage.seconds, 0);
}

/** How many visits of a kind are due. */
export function due(shape, visit) {
  return (shape.reduce((sum, stage) => sum + (stage.seconds * (stage.from + stage.to)) / 2, 0) * visit.of_100) / 100;
}

export function peak(shape, visit) {
  return (Math.max(...shape.flatMap((stage) => [stage.from, stage.to])) * visit.of_100) / 100;
}

/** Seconds by which a visit may be displaced. */
export function spread(shape, visit) {
  return Math.min(1, ARRIVALS_IN_SPREAD / peak(shape, visit));
}

/** What the shop has to have for these visits, as lib/target.js prepares it. */
export function wants(visits, shape) {
  const selling = Object.values(visits).filter((visit) => visit.actions.some((action) => SELLING.includes(action)));
  const buying = Math.max(0, ...selling.map((visit) => peak(shape, visit)));
  return {
    visits: Object.values(visits),
    sold: selling.reduce((sum, visit) => sum + due(shape, visit), 0),
    buyers: Math.min(MOST_BUYERS, Math.max(FEWEST_BUYERS, Math.ceil(buying * BUYING_SECONDS))),
    seconds: seconds(shape),
  };
}

export function scenarios(name, shape) {
  const visits = Object.entries(chosen('journeys', name));
  return Object.fromEntries(visits.map(([kind, visit]) => [kind, arriving(name, kind, visit, shape)]));
}

function arriving(journey, kind, visit, shape) {
  const users = Math.ceil(peak(shape, visit) * (spread(shape, visit) + OPEN_SECONDS)) + SPARE_USERS;
  const rate = (visits) => Math.round((visits * visit.of_100 * UNIT_SECONDS) / 100);
  return {
    executor: 'ramping-arrival-rate',
    exec: 'visit',
    tags: { journey, visit: kind },
    startRate: rate(shape[0].from),
    timeUnit: `${UNIT_SECONDS}s`,
    stages: shape.flatMap((stage, place) => {
      const goesOn = place === 0 || shape[place - 1].to === stage.from;
      const jump = goesOn ? [] : [{ duration: '0s', target: rate(stage.from) }];
      return [...jump, { duration: `${stage.seconds}s`, target: rate(stage.to) }];
    }),
    preAllocatedVUs: users,
    maxVUs: users,
    gracefulStop: '25s',
  };
}
