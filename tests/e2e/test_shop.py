"""The shop as `make up` starts it, seen from outside: through the edge, by a stranger."""

import http.client
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from tests.support.platform import PROJECT, steady_load, wait_for

pytestmark = pytest.mark.e2e

RETAIL = PROJECT.parent / "shared" / "data" / "online-retail-2010-12.csv"
INTERNAL = ["/metrics", "/_/health", "/_/ready"]
DISGUISES = ["{}", "/{}", "//{}", "/./{}", "/x/..{}"]


def raw_status(platform, path):
    """Status of a path sent exactly as written; clients and libraries tidy paths up."""
    connection = http.client.HTTPConnection("127.0.0.1", platform.settings.port("edge"), timeout=10)
    connection.putrequest("GET", path, skip_accept_encoding=True)
    connection.endheaders()
    status = connection.getresponse().status
    connection.close()
    return status


@pytest.mark.parametrize("path", ["/api/products", "/api/cart"])
def test_first_requests_answer_as_they_stand(shop, path):
    response = requests.get(shop.edge(path), timeout=10)
    assert response.status_code == 200
    assert response.headers["X-Request-Id"]


def test_demonstration_data_is_there(shop):
    page = requests.get(shop.edge("/api/products?limit=5"), timeout=10).json()
    assert len(page["items"]) == 5
    assert page["next"]


@pytest.mark.parametrize("function", ["products", "cart"])
@pytest.mark.parametrize("internal", INTERNAL)
def test_internal_paths_are_not_reached_through_the_edge(shop, function, internal):
    encoded = internal.replace("m", "%6d").replace("_", "%5F")
    paths = [f"/api/{function}{form.format(inner)}" for form in DISGUISES for inner in (internal, encoded)]
    paths += [
        f"/api/{function}{internal[1:]}",
        f"/api/{function}/%2F{internal[1:]}",
        f"/api/{function}%2F{internal[1:]}",
    ]
    answers = {path: raw_status(shop, path) for path in paths}
    assert set(answers.values()) <= {400, 404}, answers


def test_carts_are_spread_over_three_replicas(shop):
    replicas = {requests.get(shop.edge("/api/cart"), timeout=10).headers["X-Served-By"] for _ in range(12)}
    assert replicas == {"cart-1", "cart-2", "cart-3"}


def test_no_get_fails_when_one_of_three_carts_dies(shop):
    pid = shop.processes()["cart-2"]["pid"]
    with steady_load(shop.edge("/api/cart"), workers=4) as load:
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: shop.processes()["cart-2"]["pid"] not in (0, pid), 20, "cart-2 again")
    assert load.failed == 0, load.failures[:3]
    assert load.statuses[200] > 50


def test_killed_postgres_comes_back_and_functions_with_it(shop):
    pid = shop.processes()["postgres"]["pid"]
    os.kill(pid, signal.SIGKILL)
    statuses = set()

    def answers_again():
        statuses.add(requests.get(shop.edge("/api/products"), timeout=15).status_code)
        return 200 in statuses and shop.processes()["postgres"]["pid"] not in (0, pid)

    wait_for(answers_again, 30, "products after PostgreSQL")
    assert statuses <= {200, 503}


def test_schedule_runs_maintenance(shop):
    def calls():
        text = requests.get(f"http://127.0.0.1:{8099 + shop.offset}/metrics", timeout=10).text
        return sum(
            float(line.rsplit(" ", 1)[1])
            for line in text.splitlines()
            if 'http_request_duration_seconds_count{method="POST"' in line
        )

    before = wait_for(calls, 20, "a scheduled call")
    wait_for(lambda: calls() > before, 20, "the next one")


def test_prometheus_sees_every_replica(shop):
    if "prometheus" not in shop.processes():
        pytest.skip("neither a Prometheus on PATH nor Debian's package is to be had here")

    def healthy():
        targets = requests.get(shop.settings.url("prometheus") + "/api/v1/targets", timeout=10).json()
        active = targets["data"]["activeTargets"]
        return {
            t["labels"].get("kubernetes_pod_name", t["labels"]["job"]) for t in active if t["health"] == "up"
        }

    wanted = {"products-1", "cart-1", "cart-2", "cart-3", "maintenance-1", "openfaas", "edge", "prometheus"}
    wait_for(lambda: wanted <= healthy(), 30, "all targets up")


def test_real_catalogue_is_imported_and_found(shop):
    if not RETAIL.exists():
        pytest.skip("the Online Retail file is not in ../shared/data")
    command = [sys.executable, "-m", "db.seed.online_retail", str(RETAIL)]
    first = subprocess.run(
        command, env=shop.environment(), cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert first.returncode == 0, first.stdout + first.stderr
    assert "2,015 stock codes" in first.stdout
    found = requests.get(shop.edge("/api/products?q=lantern"), timeout=10).json()["items"]
    assert any("LANTERN" in item["name"] for item in found)
    again = subprocess.run(
        command, env=shop.environment(), cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert again.returncode == 0
    assert "Nothing changed" in again.stdout


def test_secrets_are_readable_by_their_owner_alone(shop):
    for path in Path(shop.settings.secrets).iterdir():
        assert path.stat().st_mode & 0o077 == 0, path.name


def test_nothing_listens_beyond_loopback(shop):
    import psutil

    pids = {row["pid"] for row in shop.processes().values()}
    family = {child.pid for pid in pids for child in psutil.Process(pid).children(recursive=True)} | pids
    listening = [
        c for c in psutil.net_connections("inet") if c.status == psutil.CONN_LISTEN and c.pid in family
    ]
    assert listening
    assert {connection.laddr.ip for connection in listening} == {"127.0.0.1"}
