"use strict";

// The page is readable without this; here the list becomes the viewer.
const place = document.getElementById("viewer");
const wanted = decodeURIComponent(location.hash.slice(1));
const dark = matchMedia("(prefers-color-scheme: dark)");

function followColours() {
  document.documentElement.classList.toggle("dark-mode", dark.matches);
}

function showFunction() {
  const section = document.getElementById(`operations-tag-${wanted}`);
  if (section) {
    section.scrollIntoView();
  }
}

followColours();
dark.addEventListener("change", followColours);

SwaggerUIBundle({
  url: place.dataset.document,
  domNode: place,
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
