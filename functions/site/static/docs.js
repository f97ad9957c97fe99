"use strict";

// The page is readable without this; here the list becomes the viewer.
const place = document.getElementById("viewer");
const wanted = decodeURIComponent(location.hash.slice(1));
const dark = matchMedia("(prefers-color-scheme: dark)");
const SAID_FOR_MS = 1500;

function followColours() {
  document.documentElement.classList.toggle("dark-mode", dark.matches);
}

function showFunction() {
  const section = document.getElementById(`operations-tag-${wanted}`);
  if (section) {
    section.scrollIntoView();
  }
}

// Only pages from https or this machine may write to the clipboard; elsewhere the older way, or the text is left selected.
async function copy(code) {
  try {
    await navigator.clipboard.writeText(code.textContent);
    return "Copied";
  } catch {
    getSelection().selectAllChildren(code);
    return document.execCommand("copy") ? "Copied" : "Selected";
  }
}

async function copySample(event) {
  const button = event.currentTarget;
  button.textContent = await copy(button.parentElement.querySelector("code"));
  setTimeout(() => {
    button.textContent = "Copy";
  }, SAID_FOR_MS);
}

function addButton(sample) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = "Copy";
  button.addEventListener("click", copySample);
  sample.append(button);
}

// A plugin of the viewer: above an operation's parameters its example, with what that needs and what it uses up.
function examples() {
  return { wrapComponents: { parameters: withExample } };
}

function withExample(Parameters, { React }) {
  const make = React.createElement;
  const listed = (parts) => parts.flatMap((part, place) => (place ? [", ", part] : [part]));
  const variable = (name) => make("code", { key: name }, `$${name}`);

  function need(each) {
    const name = each.get("variable");
    const id = each.get("operationId");
    const from = id
      ? make("a", { href: `#/${id.split(".")[0]}/${id}` }, each.get("operation"))
      : make("a", { href: "#begin" }, "how to begin");
    return make("span", { key: name }, variable(name), " (", from, ")");
  }

  function Example({ operation }) {
    const source = operation.getIn(["x-codeSamples", 0, "source"]);
    if (!source) {
      return null;
    }
    const needs = operation.get("x-needs").toArray().map(need);
    const refused = operation.get("x-refused");
    const ends = operation.get("x-ends").toArray().map(variable);
    return make(
      "div",
      { className: "opblock-section" },
      make(
        "div",
        { className: "opblock-section-header" },
        make("h4", { className: "opblock-title" }, "Example"),
      ),
      make(
        "div",
        { className: "example" },
        needs.length > 0 && make("p", null, "Needs ", listed(needs)),
        make(
          "div",
          { className: "sample" },
          make("pre", { tabIndex: 0 }, make("code", null, source)),
          make("button", { type: "button", className: "copy", onClick: copySample }, "Copy"),
        ),
        refused && make("p", null, `It is refused: ${refused}.`),
        ends.length > 0 && make("p", null, "Afterwards ", listed(ends), " will not do any more."),
      ),
    );
  }

  return (properties) => make(React.Fragment, null, make(Example, properties), make(Parameters, properties));
}

followColours();
dark.addEventListener("change", followColours);
document.querySelectorAll("main > section .sample").forEach(addButton);

const viewer = SwaggerUIBundle({
  url: place.dataset.document,
  domNode: place,
  plugins: [examples],
  deepLinking: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  filter: true,
  persistAuthorization: false,
  validatorUrl: null,
  onComplete: () => {
    place.dataset.ready = "true";
    showFunction();
  },
});

// The viewer reads the address once only; links from an example to another one come later.
addEventListener("hashchange", () => {
  const [start, tag, operation] = location.hash.split("/");
  if (start === "#" && operation) {
    viewer.layoutActions.parseDeepLinkHash(location.hash);
    document.getElementById(`operations-${tag}-${operation.replaceAll(".", "\\.")}`)?.scrollIntoView();
  }
});
