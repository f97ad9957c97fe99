"""kill -9 of the process that sells, after each step: the sale is finished or undone, and told once, whoever asks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from functions.maintenance.handler import create_app as create_maintenance
from tests.support.functions import problem
from tests.support.hand_made_gateway import Hold
from tests.support.postgres import PostgresServer
from tests.support.replicas import Replica, running_replicas
from tests.support.tills import Till, as_lines, running_till
from tests.support.waiting import wait_for


@pytest.fixture(scope="module")
def store(postgres_server: PostgresServer) -> Iterator[Till]:
    with running_till(postgres_server) as till:
        yield till


@pytest.fixture
def till(store: Till) -> Iterator[Till]:
    store.renew()
    yield store
    store.check_books()


@contextmanager
def killed_while_held(till: Till, directory: Path, hold: Hold, path: str, body: Any) -> Iterator[None]:
    """A replica of its own is asked, and killed while inventory holds the call; held still inside the block."""
    till.gateway.hold = hold
    headers = {**till.clerk, "Idempotency-Key": "k", "Content-Type": "application/json"}
    with running_replicas("sales", 1, directory, {**till.environ, "threads": "2"}) as [replica]:
        with ThreadPoolExecutor(1) as pool:
            content = json.dumps(body)
            asking = pool.submit(requests.post, f"{replica.url}{path}", content, headers=headers, timeout=20)
            assert hold.reached.wait(10)
            kill(replica)
            with pytest.raises(requests.ConnectionError):
                asking.result()
        till.gateway.hold = None
        yield


def kill(replica: Replica) -> None:
    replica.process.kill()
    replica.process.wait()


def sale_body(till: Till, *lines: tuple[str, int]) -> dict[str, Any]:
    tenders = [{"kind": "cash", "given_cents": till.total(*lines)}]
    return {"register": "R1", "lines": as_lines(lines), "tenders": tenders}


def test_killed_after_recording_it_is_undone_and_the_late_call_issues_nothing(till: Till, tmp_path: Path):
    hold = Hold("issues", "before")
    with killed_while_held(till, tmp_path, hold, "/", sale_body(till, ("A", 2))):
        assert till.statuses() == ["pending"]
        settled(till, "undone")
        hold.release.set()
        wait_for(lambda: till.gateway.answered("issues"), 10, "the call that was under way is answered")
    assert till.stock("A") == 10_000
    assert till.sell(("A", 2), key="k", tenders=sale_body(till, ("A", 2))["tenders"]).status_code == 201
    assert till.stock("A") == 9_998


def test_killed_after_the_stock_has_left_it_is_completed_and_its_key_answers(till: Till, tmp_path: Path):
    hold = Hold("issues", "after")
    body = sale_body(till, ("A", 2))
    with killed_while_held(till, tmp_path, hold, "/", body):
        assert (till.statuses(), till.stock("A")) == (["pending"], 9_998)
        settled(till, "complete")
    sale = till.post("/", body, key="k").get_json()
    assert (sale["status"], sale["receipt_number"], till.stock("A")) == ("complete", 1, 9_998)
    assert till.close(counted=10_000 + sale["total_cents"]).get_json()["discrepancy_cents"] == 0


def test_killed_half_way_the_same_request_goes_on_with_it(till: Till, tmp_path: Path):
    body = sale_body(till, ("A", 2))
    with killed_while_held(till, tmp_path, Hold("issues", "after"), "/", body):
        sale = once_free(till, "/", body)
    assert (sale["receipt_number"], till.stock("A"), till.statuses()) == (1, 9_998, ["complete"])
    assert till.recover().get_json() == {"recovered": 0, "more": False}


def test_killed_while_voiding_it_is_voided(till: Till, tmp_path: Path):
    sale = till.sold(("A", 2))
    path = f"/{sale['sale_id']}/void"
    body = {"register": "R1", "reason": "a mistake"}
    hold = Hold(f"issues/{sale['sale_id']}/undo", "after")
    with killed_while_held(till, tmp_path, hold, path, body):
        settled(till, "voided")
    assert till.post(path, body, key="k").get_json()["status"] == "voided"
    assert till.stock("A") == 10_000


def test_killed_while_goods_come_back_the_return_is_finished_once(till: Till, tmp_path: Path):
    sale = till.sold(("A", 2))
    path = f"/{sale['sale_id']}/returns"
    lines = [{"line": 1, "quantity": 1, "restock": True}, {"line": 1, "quantity": 1, "restock": False}]
    body = {"register": "R1", "reason": "broken", "lines": lines, "refund": {"kind": "cash"}}
    with killed_while_held(till, tmp_path, Hold("returns", "after"), path, body):
        wait_for(lambda: till.recover().get_json().get("recovered"), 5, "the return is recovered")
    back = till.post(path, body, key="k").get_json()
    assert (back["status"], back["total_cents"], till.stock("A")) == (
        "complete", sale["total_cents"], 9_999,
    )  # fmt: skip


def settled(till: Till, status: str) -> None:
    """Maintenance's next calls settle it, as soon as the dead process' connection is gone."""
    wait_for(lambda: till.recover().status_code == 200 and till.statuses() == [status], 5, status)


def once_free(till: Till, path: str, body: Any) -> Any:
    """Repeat a request until the dead process' claim on it is gone."""

    def answer() -> Any:
        response = till.post(path, body, key="k")
        assert response.status_code in {201, 409}, response.get_json()
        return response.get_json() if response.status_code == 201 else None

    return wait_for(answer, 5, "the request is answered")


def test_recoveries_at_once_share_the_work(till: Till):
    tenders = sale_body(till, ("A", 1))["tenders"]
    till.gateway.lost.add("inventory")
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _: till.sell(("A", 1), tenders=tenders), range(12)))
    assert {answer.status_code for answer in answers} == {503}
    till.gateway.lost.clear()
    with ThreadPoolExecutor(4) as pool:
        counts = [answer.get_json()["recovered"] for answer in pool.map(lambda _: till.recover(), range(6))]
    assert sum(counts) == 12
    assert (set(till.statuses()), till.stock("A")) == ({"undone"}, 10_000)


def test_documents_that_cannot_be_settled_do_not_keep_others_back(till: Till):
    till.gateway.lost.add("inventory")
    for _ in range(5):
        till.sell(("A", 1))
    till.gateway.lost.clear()
    poisoned = [
        row[0] for row in till.execute("SELECT sale_id::text FROM sales.sales ORDER BY tried_at LIMIT 4")
    ]
    till.gateway.answers = {f"inventory/*{sale_id}*": (500, b"{}") for sale_id in poisoned}
    assert problem(till.recover()) == (503, "recovery_unfinished")
    assert till.statuses().count("undone") == 0, (
        "three failures in a row, and the rest is left to the next call"
    )
    assert problem(till.recover()) == (503, "recovery_unfinished")
    assert till.statuses().count("undone") == 1
    till.gateway.answers.clear()
    assert till.recovered() == 4


def test_recovery_that_died_after_undoing_the_issue_leaves_a_key_that_sells(till: Till):
    tenders = sale_body(till, ("A", 1))["tenders"]
    till.gateway.lost.add("inventory")
    assert till.sell(("A", 1), key="k", tenders=tenders).status_code == 503
    till.gateway.lost.clear()
    [(sale_id,)] = till.execute("UPDATE sales.sales SET status = 'pending' RETURNING sale_id::text")
    headers = {**till.secrets.bearer("service", subject="sales"), "Idempotency-Key": "u"}
    inventory = till.gateway.apps["inventory"].test_client()
    assert inventory.post(f"/issues/{sale_id}/undo", headers=headers).status_code == 200
    assert problem(till.sell(("A", 1), key="k", tenders=tenders)) == (503, "stock_unavailable")
    assert till.sell(("A", 1), key="k", tenders=tenders).status_code == 201
    assert (till.statuses(), till.stock("A")) == (["undone", "complete"], 9_999)


@pytest.mark.parametrize("who", ["hq", "staff", "customer"])
def test_only_services_recover(till: Till, who: str):
    store = "S1" if who == "staff" else None
    response = till.app.test_client().post("/recover", headers=till.secrets.bearer(who, store=store))
    assert problem(response)[0] == 403


NOTHING_TO_DO = {
    "cart/expire": (200, b'{"expired": 0, "more": false}'),
    "checkout/recover": (200, b'{"recovered": 0, "more": false}'),
    "customers/erasures": (200, b'{"items": [], "next": null}'),
    "orders/recover": (200, b'{"recovered": 0, "more": false}'),
    "reports/refresh": (200, b'{"refreshed": 0, "more": false}'),
}
"""What functions that are not here answer."""


def test_maintenance_recovers_sales_and_does_the_rest_when_one_task_fails(till: Till):
    till.gateway.lost.add("inventory")
    assert till.sell(("A", 1)).status_code == 503
    till.gateway.lost.clear()
    till.gateway.answers.update(NOTHING_TO_DO)
    till.gateway.answers["cart/expire"] = (200, b'{"expired": 3, "more": false}')
    till.gateway.answers["orders/recover"] = (200, b'{"recovered": 2, "more": false}')
    maintenance = create_maintenance({**till.secrets.environ, "gateway_url": till.gateway.url})
    assert tasks(maintenance) == {
        "recover_checkouts": ("done", 0),
        "recover_sales": ("done", 1),
        "recover_orders": ("done", 2),
        "expire_reservations": ("done", 0),
        "refresh_reports": ("done", 0),
        "expire_carts": ("done", 3),
        "erase_customers": ("done", 0),
    }
    till.gateway.answers["sales"] = (503, b"{}")
    till.gateway.answers["checkout/recover"] = (200, b"garbage")
    assert tasks(maintenance) == {
        "recover_checkouts": ("failed", 0),
        "recover_sales": ("failed", 0),
        "recover_orders": ("done", 2),
        "expire_reservations": ("done", 0),
        "refresh_reports": ("done", 0),
        "expire_carts": ("done", 3),
        "erase_customers": ("done", 0),
    }


def test_task_that_hangs_leaves_the_others_their_share(till: Till):
    till.gateway.answers.update(NOTHING_TO_DO)
    till.gateway.hold = Hold("refresh", "before")
    environ = {**till.secrets.environ, "gateway_url": till.gateway.url, "run_seconds": "2"}
    found = tasks(create_maintenance(environ))
    assert found.pop("refresh_reports") == ("unfinished", 0)
    assert {outcome for outcome, _ in found.values()} == {"done"}
    till.gateway.hold.release.set()


def tasks(maintenance: Any) -> dict[str, tuple[str, int]]:
    """One run, as the scheduler starts it: the outcome of each task."""
    response = maintenance.test_client().post("/")
    assert response.status_code == 200, response.data
    return {row["task"]: (row["outcome"], row["handled"]) for row in response.get_json()["tasks"]}
