// The first page's list of alerts, as Prometheus has them now.
import { ask } from "./ask.js";

const place = document.getElementById("alerts");

function item(alert) {
  const line = document.createElement("li");
  const name = document.createElement("a");
  name.href = `/runbooks/${alert.labels.alertname}`;
  name.textContent = alert.labels.alertname;
  line.dataset.severity = alert.labels.severity ?? "";
  line.append(name, ` ${alert.annotations.summary ?? ""}`);
  return line;
}

async function show() {
  try {
    const { alerts } = await ask("alerts", {});
    const firing = alerts.filter((one) => one.state === "firing" && !one.labels.scaling);
    const list = document.createElement("ul");
    list.className = "alerts";
    list.append(...firing.map(item));
    place.replaceChildren(firing.length ? list : "None.");
  } catch (error) {
    place.textContent = error.message;
  }
}

show();
setInterval(show, 10_000);
