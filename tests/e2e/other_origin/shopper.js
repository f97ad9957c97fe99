"use strict";

// Registers, signs in, fills a cart and checks out at the shop's edge, which is another origin, and posts what it
// could see of each answer to the server that sent this page. In the query: `shop`, the edge's address; `token`, a
// customer's, for a shop that has no sign-in.

const query = new URLSearchParams(location.search);
const shop = query.get("shop");
const seen = {};

// crypto.randomUUID is for pages on https and localhost only.
const unique = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16)).join("");

async function call(name, method, path, {body, headers = {}} = {}) {
  const content = body === undefined ? {} : {"Content-Type": "application/json"};
  const request = {
    method,
    credentials: "include",
    headers: {...content, ...headers},
    body: body === undefined ? undefined : JSON.stringify(body),
  };
  try {
    const response = await fetch(shop + path, request);
    const text = await response.text();
    seen[name] = {status: response.status, headers: Object.fromEntries(response.headers), body: parsed(text)};
  } catch (error) {
    seen[name] = {status: 0, error: String(error), headers: {}, body: null};
  }
  return seen[name].body ?? {};
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

async function signIn() {
  const email = `${unique()}@example.com`;
  const password = `correct horse ${unique()}`;
  await call("register", "POST", "/api/customers", {body: {email, password, name: "Ada"}});
  const session = await call("sign in", "POST", "/api/customers/sessions", {body: {email, password}});
  return {Authorization: `Bearer ${session.access_token ?? query.get("token")}`};
}

async function shopAsVisitor() {
  const page = await call("search", "GET", "/api/products?limit=1");
  const sku = page.items?.[0]?.sku ?? "MAG-00001";
  const key = {"Idempotency-Key": unique()};
  await call("add", "POST", "/api/cart/items", {body: {sku, quantity: 2}, headers: key});
  await call("visitor's cart", "GET", "/api/cart");
  return seen.add.headers["x-cart-token"] ?? "";
}

async function checkOut(customer) {
  const cart = await call("customer's cart", "GET", "/api/cart", {headers: customer});
  const address = {
    name: "Ada", line1: "1 Main Street", city: "Montreal", province: "QC", postal_code: "H2X 1Y4", country: "CA",
  };
  const body = {
    cart_version: cart.version, total_cents: cart.total_cents, address, payment: {card_token: "tok_ok"},
  };
  const key = {"Idempotency-Key": unique()};
  await call("check out", "POST", "/api/checkout", {body, headers: {...customer, ...key}});
}

async function visit() {
  const cartToken = await shopAsVisitor();
  const customer = await signIn();
  await call("merge", "POST", "/api/cart/merge", {headers: {...customer, "X-Cart-Token": cartToken}});
  await checkOut(customer);
  await fetch("/seen", {method: "POST", body: JSON.stringify(seen)});
}

visit();
