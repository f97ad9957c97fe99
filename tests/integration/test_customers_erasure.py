"""Maintenance has every function forget who asked for it, and tells customers once all have."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from functions.maintenance import erasures
from functions.maintenance.erasures import EraseCustomers
from functions.shared import Unavailable, UpstreamTimeout
from tests.support.accounts import Accounts, emptied, make_accounts, shared_database
from tests.support.postgres import Database, PostgresServer


@pytest.fixture(scope="module")
def shared(postgres_server: PostgresServer) -> Iterator[Database]:
    with shared_database(postgres_server) as database:
        yield database


@pytest.fixture
def accounts(shared: Database, tmp_path: Path) -> Accounts:
    return make_accounts(emptied(shared), tmp_path)


class Others:
    """A client whose customers is the real one; cart, checkout and orders are told what they answer."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self.open: dict[str, int] = {}
        self.away: set[str] = set()
        self.told: list[tuple[str, str]] = []
        self.time_for: float = math.inf
        """So many are told before the time of a run is up."""

    def call(self, method: str, function: str, path: str, **content: Any) -> Any:
        if function == "customers":
            answer = self._accounts.send(
                method, path, who=self._accounts.service, query_string=content.get("params")
            )
            return _Answer(answer.status_code, answer.get_json())
        if function in self.away:
            raise Unavailable
        if not self.time_for:
            raise UpstreamTimeout
        self.time_for -= 1
        self.told.append((function, content["json"]["customer_id"]))
        return _Answer(200, {"erased": 1, "open": self.open.get(content["json"]["customer_id"], 0)})


class _Answer:
    def __init__(self, status_code: int, body: Any) -> None:
        self.status_code, self._body = status_code, body

    def json(self) -> Any:
        return self._body


@pytest.fixture
def others(accounts: Accounts, monkeypatch: pytest.MonkeyPatch) -> Iterator[Others]:
    others = Others(accounts)
    service = type("Service", (), {"client": others})()
    monkeypatch.setattr(erasures, "current", lambda: service)
    with Flask("maintenance").app_context():
        yield others


def erased(accounts: Accounts) -> str:
    person = accounts.person()
    assert accounts.send("DELETE", "/me", who=person).status_code == 202
    return person.customer_id


def waiting(accounts: Accounts) -> list[str]:
    page = accounts.send("GET", "/erasures", who=accounts.service).get_json()
    return [item["customer_id"] for item in page["items"]]


def test_everyone_is_told_and_then_it_is_done(accounts: Accounts, others: Others) -> None:
    customer_id = erased(accounts)
    assert sum(EraseCustomers().batches()) == 1
    assert others.told == [(name, customer_id) for name in ("cart", "checkout", "orders")]
    assert waiting(accounts) == []
    assert list(EraseCustomers().batches()) == []


def test_who_has_an_order_under_way_waits_and_keeps_nobody_else_waiting(
    accounts: Accounts, others: Others, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasures, "PAGE", 1)
    first, second, third = (erased(accounts) for _ in range(3))
    others.open = {first: 1, third: 2}
    assert list(EraseCustomers().batches()) == [0, 1, 0]
    assert waiting(accounts) == [first, third]
    others.open = {}
    assert sum(EraseCustomers().batches()) == 2
    assert second not in waiting(accounts)


def test_those_who_wait_and_take_longer_than_a_run_keep_nobody_else_waiting(
    accounts: Accounts, others: Others
) -> None:
    first, second, _third = (erased(accounts) for _ in range(3))
    others.open = {first: 1, second: 1}
    task = EraseCustomers()
    for _ in range(3):
        others.time_for = 4
        with suppress(UpstreamTimeout):
            list(task.batches())
    assert waiting(accounts) == [first, second]
    others.open, others.time_for = {}, math.inf
    for _ in range(2):
        list(task.batches())
    assert waiting(accounts) == []


def test_while_one_function_is_away_nobody_counts_as_forgotten(accounts: Accounts, others: Others) -> None:
    customer_id = erased(accounts)
    others.away = {"orders"}
    with pytest.raises(Unavailable):
        list(EraseCustomers().batches())
    assert waiting(accounts) == [customer_id]
    others.away = set()
    assert sum(EraseCustomers().batches()) == 1
