// Grafana's colours: the classic palette (without those too dark to be seen on dark), a colour by name, named colours, and thresholds.

const PALETTE = ["#7EB26D", "#EAB839", "#6ED0E0", "#EF843C", "#E24D42", "#1F78C1", "#BA43A9", "#705DA0", "#508642",
  "#CCA300", "#447EBC", "#C15C17", "#B7DBAB", "#F4D598", "#70DBED",
  "#F9BA8F", "#F29191", "#82B5D8", "#E5A8E2", "#AEA2E0"];
const NAMED = { green: "#73BF69", red: "#F2495C", yellow: "#FADE2A", orange: "#FF9830", blue: "#5794F2",
  purple: "#B877D9", grey: "#8E8E8E", text: "currentColor", transparent: "transparent" };

/** A colour as CSS has it; Grafana's `dark-red`, `light-blue` and the like are their plain ones. */
export function css(colour) {
  return onGround(NAMED[colour] ?? NAMED[colour?.replace(/^(super-light|light|semi-dark|dark)-/, "")] ?? colour);
}

/** The palette is made for a dark ground. On a light one a colour is darkened until it stands out 3 : 1 from white, which
 *  WCAG asks of whatever has to be told apart (success criterion 1.4.11). */
export function onGround(colour, theme = document.documentElement.dataset.theme) {
  if (theme !== "light" || !/^#[0-9a-f]{6}$/i.test(colour)) return colour;
  let parts = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  while (1.05 / (luminance(parts) + 0.05) < 3) parts = parts.map((one) => Math.floor(one * 0.95));
  return `#${parts.map((one) => one.toString(16).padStart(2, "0")).join("")}`;
}

/** Relative luminance, 0 to 1 (WCAG 2.2). */
function luminance(parts) {
  const [red, green, blue] = parts.map((one) => (one <= 10 ? one / 255 / 12.92 : ((one / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

/** The colour of the series that is number `index`, or that is called `name` where names choose. */
export function ofSeries(mode, name, index) {
  if (mode !== "palette-classic-by-name") return onGround(PALETTE[index % PALETTE.length]);
  let hash = 2166136261; // FNV-1a, which keeps short names apart
  for (const one of name) hash = Math.imul(hash ^ one.codePointAt(0), 16777619) >>> 0;
  return onGround(PALETTE[hash % PALETTE.length]);
}

/** The colour of a value by the panel's thresholds: that of the highest step which it reaches. */
export function ofValue(thresholds, value, min = 0, max = 100) {
  const steps = thresholds?.steps ?? [];
  const share = thresholds?.mode === "percentage" ? ((value - min) / (max - min)) * 100 : value;
  const reached = steps.filter((step) => step.value === null || step.value === undefined || share >= step.value);
  return css(reached.at(-1)?.color ?? "green");
}
