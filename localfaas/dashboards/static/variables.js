// Variables of a dashboard in queries and titles: `$name`, `${name}`, `${name:format}` and `[[name]]`.

export const ALL = "$__all";

/** What the dashboard's JSON says is chosen, as a list. */
export function initial(variable) {
  const value = variable.current?.value ?? (variable.includeAll ? [ALL] : []);
  return Array.isArray(value) ? value : [value];
}

/** Options of a variable that needs no query. */
export function fixedOptions(variable) {
  if (!["custom", "interval", "constant", "textbox"].includes(variable.type)) return null;
  if (variable.options?.length) return variable.options.map((one) => one.value).filter((one) => one !== ALL);
  const text = typeof variable.query === "string" ? variable.query : variable.query?.query ?? "";
  return text.split(",").map((one) => one.trim()).filter(Boolean);
}

/** `label_values(label)` or `label_values(selector, label)` taken apart; null for another query. */
export function labelValues(query) {
  const found = /^\s*label_values\(\s*(?:(.+),)?\s*([A-Za-z_][A-Za-z0-9_]*)\s*\)\s*$/.exec(query);
  return found && { selector: found[1]?.trim() ?? null, label: found[2] };
}

/** A chosen value as a regular expression inside a PromQL string. */
export function regexOf(variable, chosen, options) {
  if (chosen.includes(ALL)) return variable.allValue || group(options);
  return group(chosen);
}

function group(values) {
  const escaped = values.map((one) => one.replace(/[.*+?^${}()|[\]\\]/g, "\\\\$&"));
  return escaped.length === 1 ? escaped[0] : `(${escaped.join("|")})`;
}

/**
 * `text` with variables in place. `variables` are the dashboard's, each with `chosen` and `options` lists; `builtIn`
 * gives those that start with two underscores. Unknown names, such as `$1` of label_replace, stay as they are.
 */
export function interpolate(text, variables, builtIn = {}) {
  const pattern = /\$\{(\w+)(?::(\w+))?\}|\$(\w+)|\[\[(\w+)\]\]/g;
  return text.replace(pattern, (whole, braced, kind, bare, square) => {
    const name = braced ?? bare ?? square;
    if (name in builtIn) return builtIn[name];
    const variable = variables.find((one) => one.name === name);
    if (!variable) return whole;
    if (kind === "csv" || kind === "text") return variable.chosen.join(kind === "csv" ? "," : " + ").replace(ALL, "All");
    if (kind === "raw") return variable.chosen.join(",");
    const isRegex = kind === "regex" || variable.multi || variable.includeAll;
    return isRegex ? regexOf(variable, variable.chosen, variable.options) : variable.chosen[0] ?? "";
  });
}
