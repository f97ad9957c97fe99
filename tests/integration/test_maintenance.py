"""Maintenance calls the functions' own housekeeping: bounded, repeatable, told what it did."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from prometheus_client import REGISTRY

from functions.maintenance.handler import create_app
from functions.shared import FunctionApp
from tests.support.carts import Shop, add, expire_all, running_shop
from tests.support.hand_made_gateway import LONGEST_HOLD_SECONDS, Hold
from tests.support.postgres import TEMPLATE, Database, PostgresServer
from tests.support.replicas import running_replicas
from tests.support.waiting import wait_for


@pytest.fixture(scope="module")
def database(postgres_server: PostgresServer) -> Iterator[Database]:
    """One for all tests of this file; `shop` empties it."""
    database = postgres_server.create_database(TEMPLATE)
    yield database
    database.drop()


@pytest.fixture
def shop(database: Database, tmp_path: Path) -> Iterator[Shop]:
    with running_shop(database, tmp_path, expiry_batch="5") as shop:
        shop.empty()
        yield shop


@pytest.fixture
def cart(shop: Shop, tmp_path: Path) -> Iterator[None]:
    """A real replica of cart behind the gateway, on the shop's database."""
    environ = {**shop.secrets.environ, "gateway_url": shop.gateway.url, "expiry_batch": "5"}
    with running_replicas("cart", 1, tmp_path, environ) as [replica]:
        shop.gateway.replicas["cart"] = [replica.url]
        yield


def maintenance(shop: Shop, **settings: str) -> FunctionApp:
    return create_app({**shop.secrets.environ, "gateway_url": shop.gateway.url, **settings})


def run(app: FunctionApp) -> dict[str, object]:
    """Invoke as the scheduler does, with a POST without a body or a token; what became of the carts."""
    response = app.test_client().post("/")
    assert response.status_code == 200, response.data
    [result] = [task for task in response.get_json()["tasks"] if task["task"] == "expire_carts"]
    return dict(result)


def leave_expired_carts(shop: Shop, count: int) -> None:
    for _ in range(count):
        add(shop.visitor(), "A")
    expire_all(shop)


@pytest.mark.usefixtures("cart")
def test_all_expired_carts_are_deleted_batch_by_batch(shop: Shop):
    leave_expired_carts(shop, 12)
    add(shop.visitor(), "B")
    app = maintenance(shop)
    assert run(app) == {"task": "expire_carts", "outcome": "done", "handled": 12}
    assert run(app)["handled"] == 0
    assert shop.count("carts") == 1


@pytest.mark.usefixtures("cart")
def test_overlapping_runs_share_the_work(shop: Shop):
    leave_expired_carts(shop, 40)
    app = maintenance(shop)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: run(app), range(8)))
    assert {result["outcome"] for result in results} == {"done"}
    assert sum(int(str(result["handled"])) for result in results) == 40
    assert shop.count("carts") == 0


def test_run_ends_in_time_while_a_function_hangs(shop: Shop):
    shop.gateway.hold = Hold("*", "before")
    started = time.monotonic()
    assert run(maintenance(shop, run_seconds="1"))["outcome"] == "unfinished"
    assert time.monotonic() - started < LONGEST_HOLD_SECONDS / 2


@pytest.mark.parametrize(
    "answer", [b"", b"[]", b"null", b'{"expired": "x", "more": false}', b'{"expired": 1}']
)
def test_answer_that_is_none_is_a_failure_and_no_error(shop: Shop, answer: bytes):
    shop.gateway.answers["*"] = (200, answer)
    assert run(maintenance(shop))["outcome"] == "failed"


def test_endless_work_is_left_to_the_next_run(shop: Shop):
    shop.gateway.answers["*"] = (200, b'{"expired": 1, "more": true}')
    result = run(maintenance(shop, run_seconds="2"))
    assert result["outcome"] == "unfinished"
    assert int(str(result["handled"])) >= 1


def test_function_that_is_away_is_a_failure_that_metrics_show(shop: Shop):
    labels = {"task": "expire_carts", "outcome": "failed"}
    before = REGISTRY.get_sample_value("maintenance_runs_total", labels) or 0
    shop.gateway.away.add("*")
    assert run(maintenance(shop))["outcome"] == "failed"
    assert REGISTRY.get_sample_value("maintenance_runs_total", labels) == before + 1


@pytest.mark.usefixtures("cart")
def test_run_goes_on_once_the_database_is_back(shop: Shop):
    leave_expired_carts(shop, 7)
    app = maintenance(shop)
    with shop.database.server.outage():
        assert run(app)["outcome"] == "failed"
    wait_for(lambda: run(app)["outcome"] == "done", what="a run that is done")
    assert shop.count("carts") == 0


def test_maintenance_killed_half_way_leaves_work_that_the_next_run_does(shop: Shop, tmp_path: Path):
    leave_expired_carts(shop, 30)
    environ = {**shop.secrets.environ, "gateway_url": shop.gateway.url, "expiry_batch": "1"}
    with running_replicas("cart", 1, tmp_path, environ) as [cart]:
        shop.gateway.replicas["cart"] = [cart.url]
        killed = _start_and_kill(shop, tmp_path)
        assert killed.process.returncode == -9
        left = shop.count("carts")
        assert 0 < left < 30, "killed too early or too late to show anything"
        result = run(maintenance(shop))
        assert result["outcome"] == "done"
        assert result["handled"] in {left - 1, left}, "the call under way at the kill is carried out by cart"
        assert shop.count("carts") == 0


def _start_and_kill(shop: Shop, directory: Path):
    """Start a maintenance process, invoke it, and kill it once it has done some of the work."""
    environ = {**shop.secrets.environ, "gateway_url": shop.gateway.url}
    with running_replicas("maintenance", 1, directory, environ) as [replica]:
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(requests.post, f"{replica.url}/", timeout=20)
            deadline = time.monotonic() + 10
            while shop.gateway.requests.count("/function/cart/expire") < 3:
                assert time.monotonic() < deadline
            replica.process.kill()
            replica.process.wait()
            with pytest.raises(requests.ConnectionError):
                running.result()
        return replica
