"""The experiment trust brings about what it says: a real file system that is full, and a PostgreSQL that lets nobody in."""

from __future__ import annotations

import json
import os
from types import SimpleNamespace
from typing import Any

import psycopg2
import pytest

from tests.experiments.common.driving import Kept
from tests.experiments.common.shop import STORE, WAREHOUSE
from tests.experiments.soak import reckoning
from tests.experiments.trust import faults, stage
from tests.experiments.trust.faults import Disk, let_all_in, let_nobody_in, nobody_is_in
from tests.support.postgres import Database, PostgresServer
from tests.support.stockroom import stockroom
from tests.support.webshop import running_webshop


def test_a_full_disk_takes_not_a_byte_until_it_is_emptied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "DISK_BYTES", 256 * 1024)
    with stage.small_disk() as (state, path):
        if path is None:
            pytest.skip("only root may mount a file system")
        disk = Disk(path)
        assert not disk.is_full()
        disk.fill()
        assert disk.is_full()
        with pytest.raises(OSError, match="No space left"):
            (path / "more").write_bytes(b"x")
        disk.empty()
        (path / "more").write_bytes(b"x")
    assert not state.exists()


def test_a_disk_of_which_others_take_some_meanwhile_is_full_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stage, "DISK_BYTES", 256 * 1024)
    with stage.small_disk() as (_, path):
        if path is None:
            pytest.skip("only root may mount a file system")
        seen = os.statvfs(path)
        with monkeypatch.context() as patch:
            patch.setattr(os, "statvfs", lambda _: seen)
            (path / "others").write_bytes(bytes(3 * seen.f_frsize))
            Disk(path).fill()
        assert Disk(path).is_full()


def test_a_function_finds_no_connection_and_loses_those_it_has(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faults, "admin_url", lambda settings: database.url())
    monkeypatch.setattr(faults, "DATABASE", database.name)
    program: Any = SimpleNamespace(settings=None)
    held = database.connect("products")
    assert not nobody_is_in(program)
    let_nobody_in(program)
    try:
        assert nobody_is_in(program)
        with pytest.raises(psycopg2.OperationalError):
            held.cursor().execute("SELECT 1")
        with pytest.raises(psycopg2.OperationalError, match="too many connections"):
            database.connect("products")
    finally:
        held.close()
        let_all_in(program)
    database.connect("products").close()


def test_a_receipt_of_goods_is_taken_and_found_in_the_ledger_by_what_is_kept(
    postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: Any = SimpleNamespace(url=lambda part: f"http://{part}")
    with stockroom(postgres_server) as room:
        monkeypatch.setattr(stage, "admin_url", lambda settings: room.database.url())
        shop: Any = SimpleNamespace(settings=settings, skus=["A"], head="")
        asked = stage.movement(shop)
        assert asked.url == "http://edge/api/inventory/receipts"
        answer = room.post("/receipts", json.loads(asked.body or ""))
        assert answer.status_code in asked.statuses, answer.get_json()
        assert asked.keep == "movements.0.movement_id"
        assert stage.moved(settings) == [str(answer.get_json()["movements"][0]["movement_id"])]


def test_an_order_that_was_cancelled_is_found_with_its_goods_and_its_money_back(
    postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: Any = None
    goods = {"EXP-0000": 10}
    with running_webshop(postgres_server) as shop:
        for module in (stage, reckoning):
            monkeypatch.setattr(module, "admin_url", lambda settings: shop.database.url())
        shop.add_products(**goods)
        for location in (STORE, WAREHOUSE):
            shop.put_in(location, **goods)
        ada = shop.customer("ada")
        kept = shop.bought(ada, **{"EXP-0000": 1})
        order = shop.bought(ada, **{"EXP-0000": 1})
        told = shop.ask("orders", f"POST /{order['order_id']}/cancel", ada, {"reason": "not wanted"})
        assert told.status_code == 200, told.get_json()
        assert stage.cancelled(settings) == [order["order_id"]]
        books = reckoning.read(settings)
        its = [Kept("checkout", one.key, 201, 1, one.document) for one in books.orders]
        assert {one.value for one in its} == {kept["order_id"], order["order_id"]}
        assert books.units[WAREHOUSE]["returned"] == 1
        assert books.given_back_cents == books.refunded_cents == order["total_cents"]
        found = reckoning.differences([], its, {"sales": 0, "orders": 0}, books)
        assert {what: some for what, some in found.items() if some} == {}
