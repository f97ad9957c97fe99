"""The importer and the demonstration data against products and inventory themselves, on a real PostgreSQL."""

from __future__ import annotations

import csv
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import requests
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.serving import WSGIRequestHandler, make_server

from db.seed import demo, online_retail
from db.seed.secrets import make_missing
from functions.inventory.handler import create_app as create_inventory
from functions.products.handler import create_app
from functions.shared.app import FunctionApp
from tests.support.functions import Secrets
from tests.support.postgres import PROJECT, Database

RETAIL = PROJECT.parent / "shared" / "data" / "online-retail-2010-12.csv"


class Shop:
    """Products and inventory behind the paths that the edge gives them; `refusals` are answered first."""

    def __init__(self, products: FunctionApp, inventory: FunctionApp) -> None:
        self.refusals: list[tuple[str, list[tuple[str, str]]]] = []
        self.calls = 0
        routed = DispatcherMiddleware(
            _not_found, {"/api/products": products.wsgi_app, "/api/inventory": inventory.wsgi_app}
        )
        self._server = make_server(
            "127.0.0.1", 0, self._front(routed), threaded=True, request_handler=_Silent
        )
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def _front(self, routed: Callable[..., Any]) -> Callable[..., Any]:
        def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
            self.calls += 1
            if self.refusals:
                start_response(*self.refusals.pop(0))
                return [b"{}"]
            return routed(environ, start_response)

        return application

    def products(self, path: str = "?limit=200&active=any") -> Any:
        return requests.get(f"{self.url}/api/products{path}", timeout=10).json()

    def stock(self, sku: str, token: Mapping[str, str]) -> dict[str, int]:
        """On hand by location."""
        answer = requests.get(f"{self.url}/api/inventory/stock/{sku}", headers=dict(token), timeout=10).json()
        return {row["location"]: row["on_hand"] for row in answer["locations"]}

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join(10)
        self._server.server_close()


class _Silent(WSGIRequestHandler):
    def log(self, *_: Any) -> None:
        """The function writes a line for each request itself."""


def _not_found(_environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    start_response("404 Not Found", [("Content-Type", "application/json")])
    return [b'{"message": "no Route matched with those values"}']


@pytest.fixture
def shop(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    secrets = tmp_path / "secrets"
    make_missing(secrets, ["products"])
    (secrets / "products-db").write_text(database.url("products"))
    (secrets / "inventory-db").write_text(database.url("inventory"))
    environ = {**Secrets(secrets).environ, "threads": "4"}
    running = Shop(create_app(environ), create_inventory(environ))
    monkeypatch.setenv("SECRETS_DIR", str(secrets))
    monkeypatch.setenv("EDGE_URL", running.url)
    yield running
    running.close()


def write_sales(path: Path, *rows: tuple[str, str, str]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("StockCode", "Description", "UnitPrice"), *rows])
    return path


def test_an_import_is_found_and_a_second_one_changes_nothing(
    shop: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_sales(
        tmp_path / "sales.csv", ("85123A", "CAFÉ LANTERN", "2.55"), ("POST", "POSTAGE", "18"), ("1", "", "0")
    )
    assert online_retail.main([str(file)]) == 0
    assert "1 created, 0 updated" in capsys.readouterr().out
    assert online_retail.main([str(file)]) == 0
    assert "Nothing changed: all 1 products were already so." in capsys.readouterr().out

    (found,) = shop.products("?q=cafe")["items"]
    assert (found["sku"], found["name"], found["price_cents"]) == ("85123A", "CAFÉ LANTERN", 255)
    assert found["version"] == 1


def test_what_the_file_does_not_know_stays_as_the_shop_has_it(shop: Shop, tmp_path: Path) -> None:
    file = write_sales(tmp_path / "sales.csv", ("1", "LANTERN", "2.55"))
    online_retail.main([str(file)])
    secrets = Secrets(tmp_path / "secrets")
    product_id = shop.products()["items"][0]["product_id"]
    requests.patch(
        f"{shop.url}/api/products/{product_id}",
        json={"category": "Lights", "active": False},
        headers={**secrets.bearer("hq"), "If-Match": '"1"'},
        timeout=10,
    ).raise_for_status()

    write_sales(file, ("1", "LANTERN", "3.00"))
    assert online_retail.main([str(file)]) == 0
    (found,) = shop.products()["items"]
    assert (found["price_cents"], found["category"], found["active"]) == (300, "Lights", False)


def test_a_busy_shop_is_waited_for_and_the_import_completes(shop: Shop, tmp_path: Path) -> None:
    file = write_sales(tmp_path / "sales.csv", ("1", "LANTERN", "2.55"))
    shop.refusals = [
        ("429 Too Many Requests", [("Retry-After", "1")]),
        ("503 Service Unavailable", [("Retry-After", "0")]),
    ]
    started = time.monotonic()
    assert online_retail.main([str(file)]) == 0
    assert time.monotonic() - started >= 1
    assert len(shop.products()["items"]) == 1


def test_an_import_that_was_interrupted_is_completed_by_the_next(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_sales(tmp_path / "sales.csv", *[(f"{number:05d}", "LANTERN", "1") for number in range(1500)])
    progress = online_retail.Progress.__call__

    def interrupt(self: online_retail.Progress, done: int) -> None:
        progress(self, done)
        raise KeyboardInterrupt

    monkeypatch.setattr(online_retail.Progress, "__call__", interrupt)
    assert online_retail.main([str(file)]) == 130
    assert "run it again to go on" in capsys.readouterr().err
    monkeypatch.setattr(online_retail.Progress, "__call__", progress)
    assert online_retail.main([str(file)]) == 0
    assert "500 created, 0 updated, 1,000 already so." in capsys.readouterr().out


def test_a_dry_run_sends_nothing(shop: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_sales(tmp_path / "sales.csv", ("1", "LANTERN", "2.55"))
    assert online_retail.main([str(file), "--dry-run"]) == 0
    assert "1  to import" in capsys.readouterr().out
    assert shop.calls == 0


def test_a_file_without_a_single_product_is_no_success(
    shop: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_sales(tmp_path / "sales.csv", ("POST", "POSTAGE", "18"))
    assert online_retail.main([str(file)]) == 1
    assert "no product that can be imported" in capsys.readouterr().err
    assert shop.calls == 0


def test_a_foreign_key_is_refused_with_advice(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_missing(tmp_path / "others", [])
    monkeypatch.setenv("SECRETS_DIR", str(tmp_path / "others"))
    file = write_sales(tmp_path / "sales.csv", ("1", "LANTERN", "2.55"))
    assert online_retail.main([str(file)]) == 1
    assert "belong to one platform" in capsys.readouterr().err


def test_a_currency_can_be_named_and_a_wrong_one_names_every_row(
    shop: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_sales(tmp_path / "sales.csv", ("1", "LANTERN", "2.55"))
    assert online_retail.main([str(file), "--currency", "pounds"]) == 3
    assert "refused 1: currency" in capsys.readouterr().out
    assert online_retail.main([str(file), "--currency", "GBP"]) == 0
    assert shop.products()["items"][0]["currency"] == "GBP"


def test_demonstration_data_is_loaded_once_and_what_people_change_stays(
    shop: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert demo.main(["--size", "S"]) == 0
    assert "200 products created" in capsys.readouterr().out
    found = requests.get(f"{shop.url}/api/products/sku/MAG-00200", timeout=10).json()
    assert shop.products("?q=erable&limit=1")["items"]
    requests.patch(
        f"{shop.url}/api/products/{found['product_id']}",
        json={"price_cents": 1},
        headers={**Secrets(tmp_path / "secrets").bearer("hq"), "If-Match": '"1"'},
        timeout=10,
    ).raise_for_status()

    calls = shop.calls
    assert demo.main(["--size", "S"]) == 0
    assert shop.calls == calls + 2
    assert "are there" in capsys.readouterr().out
    assert requests.get(f"{shop.url}/api/products/sku/MAG-00200", timeout=10).json()["price_cents"] == 1


def test_an_import_stocks_what_the_file_sells_once(
    shop: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, hq = tmp_path / "sales.csv", Secrets(tmp_path / "secrets").bearer("hq")
    header = "InvoiceNo,StockCode,Description,Quantity,UnitPrice\n"
    file.write_text(header + "1,A,LANTERN,21,1\nC2,A,LANTERN,-4,1\n3,A,,-9,0\n")
    assert online_retail.main([str(file)]) == 0
    assert "Opening stock: 6 rows received, 0 were there." in capsys.readouterr().out
    assert online_retail.main([str(file)]) == 0
    assert "Opening stock: all 6 rows were there." in capsys.readouterr().out
    assert shop.stock("A", hq) == {"S1": 30, "S2": 3, "S3": 3, "S4": 3, "S5": 3, "W1": 3}
    file.write_text(header + "1,A,LANTERN,10,1\n")
    assert online_retail.main([str(file)]) == 0
    assert shop.stock("A", hq)["S1"] == 40


def test_a_larger_size_adds_to_a_smaller_one(
    shop: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hq = Secrets(tmp_path / "secrets").bearer("hq")
    demo.main(["--size", "S"])
    stocked = shop.stock("MAG-00200", hq)
    assert demo.main(["--size", "M"]) == 0
    assert "1,800 products created, 0 updated" in capsys.readouterr().out
    assert shop.stock("MAG-00200", hq) == stocked == expected_stock(200)
    assert shop.stock("MAG-02000", hq) == expected_stock(2000)


def expected_stock(number: int) -> dict[str, int]:
    return {row["location"]: row["quantity"] for row in demo.stock_rows(number)}


@pytest.mark.skipif(not RETAIL.exists(), reason="the Online Retail file is not in ../shared/data")
def test_the_real_file_is_imported_with_every_code_accounted_for(
    shop: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    started = time.monotonic()
    assert online_retail.main([str(RETAIL)]) == 0
    seconds = time.monotonic() - started
    shown = capsys.readouterr().out

    codes, sold = set[str](), Counter[str]()
    with RETAIL.open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            codes.add(line["StockCode"])
            sold[line["StockCode"].upper()] += max(0, int(line["Quantity"]))
    for sku in ("85123A", "22423", "84879"):
        assert shop.stock(sku, Secrets(tmp_path / "secrets").bearer("hq"))["S1"] >= sold[sku] > 0
    listed = [line.split() for line in shown.splitlines() if line.startswith("  ")]
    assert f"{len(codes):,} stock codes" in shown
    assert sum(int(words[0].replace(",", "")) for words in listed) == len(codes)
    assert seconds < 20
    assert any("LANTERN" in item["name"] for item in shop.products("?q=lantern")["items"])
