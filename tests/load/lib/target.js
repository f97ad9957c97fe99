// The shop that is loaded: only one on this machine, and only one that is well; what visits need is prepared here.
import http from 'k6/http';
import { sleep } from 'k6';
import encoding from 'k6/encoding';
import exec from 'k6/execution';
import { scenario, send, keep, parsed, header, said } from './scenario.js';

const HERE = /^https?:\/\/(localhost|127\.0\.0\.1|\[::1\])(:\d+)?$/;
const ROWS = 100;
const FEWEST_PRODUCTS = 20;
const WORDS = 8;
const REGISTER = 'LOAD';
const SOLD_WITHOUT_STOCKING = 2000; // units that the demonstration's warehouse can surely spare
const TOKEN_SECONDS = 14 * 60; // an access token lasts 15 minutes
const TRIES = 20;

export const BASE = local(__ENV.BASE || 'http://localhost:8000', 'BASE');

export function local(address, name) {
  const bare = address.replace(/\/$/, '');
  if (!HERE.test(bare)) {
    throw new Error(`${name}=${address} is not on this machine: load goes to http://localhost:PORT or http://127.0.0.1:PORT only`);
  }
  return bare;
}

export const atEdge = (path) => BASE + path;

export function refuse(why) {
  exec.test.abort(why);
  throw new Error(why); // abort lets the function that calls it go on
}

function ask(method, path, body, token) {
  const headers = { 'Content-Type': 'application/json', 'Idempotency-Key': crypto.randomUUID() };
  if (token) headers.Authorization = `Bearer ${token}`;
  return http.request(method, atEdge(path), body ? JSON.stringify(body) : null, { headers, redirects: 0, tags: { name: 'setup' } });
}

function wanted(method, path, body, token, ...statuses) {
  const answer = ask(method, path, body, token);
  if (!statuses.includes(answer.status)) {
    refuse(`The shop at ${BASE} is not well: ${method} ${path} answered ${said(answer)}. \`make status\` shows its processes, \`make up\` repairs it.`);
  }
  return parsed(answer);
}

/** Some products of a shop that is well and limits nobody's rate. Ends the run with what to do otherwise. */
export function products() {
  const answer = ask('GET', `/api/products?limit=${ROWS}`);
  if (answer.status === 0) refuse(`Nothing answers at ${BASE} (${answer.error}). Start the shop with \`RATE_LIMITS=off make up\`, or name it with -e BASE=http://localhost:PORT.`);
  if (answer.status === 429 || header(answer, 'RateLimit-Limit')) {
    refuse(`The shop at ${BASE} limits how often one address may ask. Start it with \`RATE_LIMITS=off make up\` to load it.`);
  }
  if (answer.status !== 200) refuse(`The shop at ${BASE} is not well: GET /api/products answered ${said(answer)}. \`make status\` shows its processes, \`make up\` repairs it.`);
  const { items } = parsed(answer);
  if (items.length < FEWEST_PRODUCTS) refuse(`The shop at ${BASE} sells ${items.length} products; ${FEWEST_PRODUCTS} at least are needed. \`python -m db.seed.demo\` loads some.`);
  return items;
}

/** Rows of values for visits: a product, and a word that finds something. */
export function rows(items) {
  const words = findable(items);
  return items.map((item, place) => {
    const word = words[place % words.length];
    return { sku: item.sku, product_id: item.product_id, word, query: encodeURIComponent(word) };
  });
}

function findable(items) {
  const candidates = new Set(items.map((item) => item.name.split(/[\s,–()'’-]+/).find((word) => word.length >= 4)).filter((word) => word));
  const found = [];
  for (const word of candidates) {
    const answer = ask('GET', `/api/products?limit=20&q=${encodeURIComponent(word)}`);
    if (answer.status === 200 && parsed(answer).items.length && answer.body.includes(word)) found.push(word);
    if (found.length === WORDS) break;
  }
  if (!found.length) refuse(`No word of the products' names finds anything at ${BASE}.`);
  return found;
}

/** Everything that visits of these kinds need. `wants`: {visits: [visit], sold: units, buyers: number, seconds}. */
export function prepare(wants) {
  const who = new Set(wants.visits.flatMap((visit) => visit.actions).flatMap((action) => scenario.actions[action]).map((one) => one.who));
  const items = products();
  const found = { start: Math.floor(Math.random() * ROWS), rows: rows(items), customers: [], till: {}, staff: null };
  if (who.has('customer')) {
    stockUp(wants.sold, items);
    found.customers = customers(wants);
  }
  if (who.has('staff')) Object.assign(found, till(wants.sold, items));
  rehearse(wants.visits, found);
  return found;
}

/** As much goes into the warehouse as will be bought. Without the head office's token what is there has to do. */
function stockUp(sold, items) {
  if (__ENV.HQ_TOKEN) return receive('W1', sold, items, __ENV.HQ_TOKEN);
  if (sold > SOLD_WITHOUT_STOCKING) {
    refuse(`About ${Math.round(sold)} units will be bought, more than the demonstration's stock can spare. Set HQ_TOKEN, and they are received first: k6 run -e HQ_TOKEN=$(make -s token role=hq) …`);
  }
}

function receive(location, sold, items, token) {
  const quantity = 2 * Math.ceil(sold / items.length) + 1;
  const lines = items.map((item) => ({ sku: item.sku, quantity }));
  wanted('POST', '/api/inventory/receipts', { location, lines, reason: 'load test' }, token, 201);
}

function customers({ buyers, seconds }) {
  const given = (__ENV.CUSTOMER_TOKENS || '').split(/\s+/).filter((token) => token);
  if (given.length) return given;
  if (seconds > TOKEN_SECONDS) {
    refuse(`This takes longer than a customer's sign-in lasts. Use \`make load\`, which gives tokens that last, or set CUSTOMER_TOKENS to some of \`make -s token role=customer\`.`);
  }
  return Array.from({ length: buyers }, register);
}

function register() {
  const account = { email: `${crypto.randomUUID()}@example.com`, password: 'seven purple herons' };
  patiently('/api/customers', { ...account, name: 'Ada Lovelace' }, 202);
  return patiently('/api/customers/sessions', account, 201).access_token;
}

/** Passwords are hashed one at a time, and who comes while some wait is told to come again. */
function patiently(path, body, status) {
  for (let tries = 0; tries < TRIES; tries += 1) {
    const answer = ask('POST', path, body);
    if (answer.status === status) return parsed(answer);
    if (answer.status !== 503) break;
    sleep(0.1);
  }
  return wanted('POST', path, body, null, status);
}

/** The till of the store whose staff STAFF_TOKEN is of: an open register, and as much in stock as will be sold. */
export function till(sold, items) {
  const token = __ENV.STAFF_TOKEN;
  if (!token) refuse('A till needs STAFF_TOKEN: k6 run -e STAFF_TOKEN=$(make -s token role=staff store=S1) …, or `make load journey=store_day`, which sets it.');
  const { store } = JSON.parse(encoding.b64decode(token.split('.')[1], 'rawurl', 's'));
  if (!store) refuse('STAFF_TOKEN is of no store: make -s token role=staff store=S1');
  if (items) receive(store, sold, items, token);
  const opened = ask('POST', `/api/sales/registers/${REGISTER}/open`, { opening_cash_cents: 0 }, token);
  if (![201, 409].includes(opened.status)) refuse(`The register ${REGISTER} cannot be opened: ${said(opened)}`);
  return { staff: token, till: { store, register: REGISTER } };
}

/** Every action once, so that what is sick says so before anything is counted. */
function rehearse(visits, found) {
  for (const action of new Set(visits.flatMap((visit) => visit.actions))) {
    const values = { ...found.rows[0], ...found.till };
    for (const one of scenario.actions[action]) {
      const answer = send(one, values, { customer: found.customers[0], staff: found.staff }, atEdge);
      if (!one.status.includes(answer.status)) refuse(`The shop at ${BASE} is not well: ${one.name} answered ${said(answer)}`);
      keep(one, values, answer, parsed(answer));
    }
  }
}
