"""What Prometheus knows of the whole shop: every target, every recorded series, and a fault in the books; and nothing false."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import psycopg2
import pytest
import requests
import yaml

from localfaas.database import DATABASE
from localfaas.platform import postgres_cluster
from tests.support.metrics_table import documented
from tests.support.platform import PROJECT, Platform
from tests.support.traffic import requests_going_on
from tests.support.waiting import wait_for

pytestmark = pytest.mark.e2e

RULES = [
    (path.name, rule)
    for path in (PROJECT / "monitoring" / "prometheus" / "rules").glob("*.yml")
    for group in yaml.safe_load(path.read_text())["groups"]
    for rule in group["rules"]
]
RECORDED = {rule["record"] for _, rule in RULES if "record" in rule}
MAY_FIRE = {"LatencyBurnsFast", "LatencyBurns"} | {
    rule["alert"] for name, rule in RULES if name == "scaling.yml" and "alert" in rule
}
"""A machine that runs tests is slow at times, and some of them are a load."""
ONLY_WHEN_IT_HAPPENS = {"function:replicas_waited_for"}
"""Has data only while requests wait although the load seems carried."""
EXPORTER = "postgres-exporter"


class Watcher:
    """The platform's own Prometheus, asked as dashboards ask it."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self._session = requests.Session()

    def api(self, path: str, **parameters: str) -> Any:
        url = f"{self.platform.settings.url('prometheus')}/api/v1/{path}"
        answer = self._session.get(url, params=parameters, timeout=10)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    def ask(self, expression: str) -> list[tuple[dict[str, str], float]]:
        found = self.api("query", query=expression)["result"]
        return [(one["metric"], float(one["value"][1])) for one in found]

    def close(self) -> None:
        self._session.close()


@pytest.fixture(scope="module")
def prometheus(shop: Platform) -> Iterator[Watcher]:
    if not {"prometheus", "alertmanager", EXPORTER} <= set(shop.processes()):
        pytest.skip("neither on PATH nor as Debian's packages is all to be had here that watches")
    watcher = Watcher(shop)
    with requests_going_on(shop):
        yield watcher
    watcher.close()


def test_every_target_is_up(prometheus: Watcher) -> None:
    def healthy() -> set[str]:
        active = prometheus.api("targets", state="active")["activeTargets"]
        return {one["labels"].get("replica", one["labels"]["job"]) for one in active if one["health"] == "up"}

    replicas = {"products-1", "cart-1", "cart-2", "cart-3", "checkout-1", "maintenance-1", "site-1"}
    wanted = replicas | {"openfaas", "edge", "postgres", "prometheus", "alertmanager"}
    wait_for(lambda: wanted <= healthy(), 30, "all targets up")


def test_every_series_of_the_database_is_there_with_its_labels(prometheus: Watcher) -> None:
    for row in documented("PostgreSQL"):
        series = wait_for(lambda row=row: prometheus.ask(row.name), 20, row.name)  # type: ignore[misc]
        labels = {label for found, _ in series for label in found} - {"__name__", "job", "instance"}
        assert labels == set(row.labels), row.name


def test_nothing_fires_on_a_healthy_platform_but_what_may(prometheus: Watcher) -> None:
    firing = prometheus.ask('ALERTS{alertstate="firing"}')
    assert [labels for labels, _ in firing if labels["alertname"] not in MAY_FIRE] == []


def test_no_alert_leads_the_gateway_to_a_function_but_those_that_scale(prometheus: Watcher) -> None:
    named = prometheus.ask('ALERTS{function_name!=""}')
    assert {labels["alertname"] for labels, _ in named} <= MAY_FIRE


def test_exporter_tells_nobody_its_password(shop: Platform, prometheus: Watcher) -> None:
    url = (shop.settings.secrets / "monitoring-db").read_text()
    password = urlsplit(url).password
    assert password
    process = psutil.Process(shop.processes()[EXPORTER]["pid"])
    told = [*process.cmdline(), *process.environ().values()]
    told.append((shop.settings.logs / f"{EXPORTER}.log").read_text())
    told += [path.read_text() for path in Path(shop.settings.supervisor).rglob(f"{EXPORTER}.*")]
    assert not [text for text in told if password in text]


def superuser(shop: Platform, statement: str) -> None:
    """As somebody would who changes the table past the function."""
    password = (shop.settings.secrets / "postgres-superuser").read_text()
    url = postgres_cluster(shop.settings).url(password, DATABASE)
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(statement)


def forget_counts(shop: Platform) -> None:
    """The exporter keeps a sum of the whole ledger for a minute; one that has just started has none."""
    pid = shop.processes()[EXPORTER]["pid"]
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: shop.processes()[EXPORTER]["pid"] not in (0, pid), 20, "the exporter again")


def mismatches(prometheus: Watcher) -> list[float]:
    return [value for _, value in prometheus.ask("shop_stock_mismatches")]


def test_stock_changed_past_its_ledger_is_seen(shop: Platform, prometheus: Watcher) -> None:
    change = (
        "UPDATE inventory.stock SET on_hand = on_hand {} WHERE (location, sku) ="
        " (SELECT location, sku FROM inventory.ledger WHERE kind = 'receipt' ORDER BY movement_id LIMIT 1)"
    )
    wait_for(lambda: mismatches(prometheus) == [0], 20, "stock that is its ledger")
    superuser(shop, change.format("+ 1"))
    try:
        forget_counts(shop)
        wait_for(lambda: mismatches(prometheus) == [1], 20, "one row of stock that differs")
    finally:
        superuser(shop, change.format("- 1"))
        forget_counts(shop)


def test_every_rule_works_and_every_recorded_series_has_data(prometheus: Watcher) -> None:
    def missing() -> set[str]:
        recorded = prometheus.ask('{__name__=~".+:.+"}')
        return RECORDED - ONLY_WHEN_IT_HAPPENS - {labels["__name__"] for labels, _ in recorded}

    wait_for(lambda: not missing(), 30, "data of every recorded series")
    rules = [rule for group in prometheus.api("rules")["groups"] for rule in group["rules"]]
    assert {rule["health"] for rule in rules} == {"ok"}
    assert {rule["name"] for rule in rules} >= {rule.get("alert") or rule["record"] for _, rule in RULES}
    wait_for(lambda: mismatches(prometheus) == [0], 20, "stock that is its ledger again")
    hops = {labels["hop"] for labels, rate in prometheus.ask("hop:http_requests:rate1m > 0")}
    assert hops == {"edge", "gateway", "function"}
