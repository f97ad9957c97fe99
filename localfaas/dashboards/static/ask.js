// Questions to Prometheus, through the page's own server.

const LONGEST_URL = 1500;

/** The data of Prometheus' answer; throws an Error with its own words otherwise. */
export async function ask(path, parameters, signal) {
  const body = new URLSearchParams(parameters);
  const short = body.toString().length < LONGEST_URL;
  const answer = await fetch(short ? `/api/v1/${path}?${body}` : `/api/v1/${path}`,
    short ? { signal } : { method: "POST", body, signal });
  const content = await answer.json().catch(() => ({ error: `${answer.status} ${answer.statusText}` }));
  if (content.status !== "success") throw new Error(content.error ?? "Prometheus gave no answer");
  return content.data;
}

/** What a panel's query gives over a range, or at its end where the query is an instant one. */
export function askTarget(target, expr, { start, end, step, at }, signal) {
  if (target.instant) return ask("query", { query: expr, time: at }, signal);
  return ask("query_range", { query: expr, start, end, step }, signal);
}

/** The values of a label, sorted; of the series that match `selector`, if it is given. */
export async function askLabelValues(label, selector, from, to) {
  const parameters = { start: from, end: to };
  if (selector) parameters["match[]"] = selector;
  return (await ask(`label/${encodeURIComponent(label)}/values`, parameters)).sort();
}
