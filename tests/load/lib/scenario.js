// The scenario as data (scenario.json, or the file that SCENARIO names) and what can be done with it: an action, by
// whoever does it, with checks on status and answer. scenario.py says what each field means.
import http from 'k6/http';
import { check } from 'k6';
import exec from 'k6/execution';

export const scenario = JSON.parse(open(__ENV.SCENARIO || import.meta.resolve('../scenario.json')));

const PLACE = /\$\{([a-z_]+)(:json)?\}/g;
const WHOLE = /^\$\{([a-z_]+):json\}$/;
const TIMEOUT = '20s';
const MOST_COMPLAINTS = 3; // of one virtual user; the rest is counted only

let complaints = 0;

export function fill(what, values) {
  if (Array.isArray(what)) return what.map((one) => fill(one, values));
  if (what && typeof what === 'object') return Object.fromEntries(Object.entries(what).map(([name, one]) => [name, fill(one, values)]));
  if (typeof what !== 'string') return what;
  const whole = WHOLE.exec(what);
  if (whole) return valueOf(whole[1], values);
  return what.replace(PLACE, (_, name) => valueOf(name, values));
}

function valueOf(name, values) {
  if (values[name] === undefined) throw new Error(`nothing gives ${name}`);
  return values[name];
}

export function at(document, path) {
  return path.split('.').reduce((part, name) => (part === undefined || part === null ? undefined : part[name]), document);
}

/** One request; `address` makes a URL of its path. A jar of its own, since a cart is opened by its header and no cookie. */
export function send(ask, values, people, address) {
  const headers = { ...fill(ask.headers || {}, values) };
  if (people[ask.who]) headers.Authorization = `Bearer ${people[ask.who]}`;
  if (ask.method === 'POST') headers['Idempotency-Key'] = crypto.randomUUID();
  if (ask.body) headers['Content-Type'] = 'application/json';
  const body = ask.body ? JSON.stringify(fill(ask.body, values)) : null;
  return http.request(ask.method, address(fill(ask.path, values)), body, { headers, timeout: TIMEOUT, redirects: 0, jar: new http.CookieJar(), tags: { name: ask.name } });
}

/** What must hold of an answer, as k6's check takes it. */
function claims(ask, values, document) {
  const all = { [`${ask.name} answers ${ask.status.join(' or ')}`]: (answer) => ask.status.includes(answer.status) };
  for (const [path, wanted] of Object.entries(ask.answer)) {
    const there = document === undefined ? undefined : at(document, path);
    all[`${ask.name} has ${path}`] = () =>
      there !== undefined && there !== null && (wanted === '*' || String(there) === String(fill(wanted, values)));
  }
  if (ask.contains) all[`${ask.name} contains ${ask.contains}`] = (answer) => String(answer.body).includes(fill(ask.contains, values));
  return all;
}

/** The requests of an action, until one is not answered as it should be; whether all were. Adds to `values`. */
export function perform(action, values, people, address, seen = () => {}) {
  return scenario.actions[action].every((ask) => fulfil(ask, values, people, address, seen));
}

export function fulfil(ask, values, people, address, seen = () => {}) {
  const answer = send(ask, values, people, address);
  seen(answer);
  const document = parsed(answer);
  const well = check(answer, claims(ask, values, document), { name: ask.name });
  if (!well) {
    if ((complaints += 1) <= MOST_COMPLAINTS) console.error(`${ask.name}: ${said(answer)}`);
    return false;
  }
  keep(ask, values, answer, document);
  return true;
}

export function keep(ask, values, answer, document) {
  for (const [name, from] of Object.entries(ask.take || {})) {
    values[name] = from.startsWith('header ') ? header(answer, from.slice('header '.length)) : at(document, from);
  }
}

export function parsed(answer) {
  try {
    return JSON.parse(answer.body);
  } catch {
    return undefined;
  }
}

export function header(answer, name) {
  const found = Object.entries(answer.headers).find(([one]) => one.toLowerCase() === name.toLowerCase());
  return found && found[1];
}

export function said(answer) {
  return answer.status ? `${answer.status} ${String(answer.body).slice(0, 300)}` : `no answer (${answer.error})`;
}

/** What a visit begins with: the next product, the next customer, the till. */
export function visitor(found) {
  const turn = found.start + exec.scenario.iterationInTest;
  const values = { ...found.rows[turn % found.rows.length], ...found.till };
  const customer = found.customers.length ? found.customers[turn % found.customers.length] : undefined;
  return { values, people: { customer, staff: found.staff } };
}
