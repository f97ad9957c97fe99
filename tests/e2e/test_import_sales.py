"""A retailer's file replayed as sales: interrupted, gone on with, sent again, and compared to the cent.

What is expected is computed here from the file with the csv module alone, never by the shop's code.
"""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

import pytest
import requests

from tests.support.platform import PROJECT, Deployed, Platform
from tests.support.waiting import wait_for

pytestmark = pytest.mark.e2e

RETAIL = PROJECT.parent / "shared" / "data" / "online-retail-2010-12.csv"
LINES_OF_THE_FIRST_COUNT, FIRST_COUNT_CENTS = 9_940, 18_008_960
"""The sum that was published of the file counts its first lines only."""
FIRST_PROGRESS = re.compile(r"sales: ([\d,]+) of ([\d,]+) ")
NOT_RECORDED = re.compile(r"^not recorded: line (\d+), \S+ .+?, (-?[\d,]+) cents: ", re.MULTILINE)


@dataclass
class Expected:
    """What the file says of the lines that are recorded."""

    cents: Decimal = Decimal(0)
    by_day: dict[tuple[str], Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    by_sku: dict[tuple[str], Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    by_sku_and_day: dict[tuple[str, str], Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    units_back: Counter[str] = field(default_factory=Counter)
    goods: set[str] = field(default_factory=set)


def rows_of_file() -> list[tuple[int, dict[str, str]]]:
    with RETAIL.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        return [(reader.line_num, row) for row in reader]


def expected(without: set[int]) -> Expected:
    sums = Expected()
    for number, row in rows_of_file():
        if number in without:
            continue
        day, sku = row["InvoiceDate"][:10], row["StockCode"].strip().upper()
        cents = int(row["Quantity"]) * Decimal(row["UnitPrice"]) * 100
        sums.cents += cents
        sums.by_day[day,] += cents
        sums.by_sku[sku,] += cents
        sums.by_sku_and_day[sku, day] += cents
        if sku[0].isdigit() and Decimal(row["UnitPrice"]) > 0:
            sums.goods.add(sku)
        if row["InvoiceNo"].startswith("C"):
            sums.units_back[sku] -= int(row["Quantity"])
    return sums


def cents_of_first_lines() -> Decimal:
    rows = [row for _, row in rows_of_file()[:LINES_OF_THE_FIRST_COUNT]]
    return sum((int(row["Quantity"]) * Decimal(row["UnitPrice"]) * 100 for row in rows), Decimal(0))


def command(*options: str) -> list[str]:
    return [sys.executable, "-m", "db.seed.online_retail", str(RETAIL), *options]


def imported(shop: Platform, *options: str) -> str:
    """What a whole import prints."""
    done = subprocess.run(
        command(*options), env=shop.environment(), cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def kill_half_way(shop: Platform) -> int:
    """Start importing sales and kill it, without any warning, at its first word on how far it is."""
    with subprocess.Popen(
        command("--what", "sales"), env=shop.environment(), cwd=PROJECT, text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    ) as importer:  # fmt: skip
        assert importer.stderr is not None
        found = next(filter(None, map(FIRST_PROGRESS.match, importer.stderr)), None)
        importer.kill()
    assert found is not None, "the import ended without a word"
    done, total = (int(text.replace(",", "")) for text in found.groups())
    if done == total and isinstance(shop, Deployed):
        pytest.skip("this shop has the file's sales already, from an earlier run")
    assert 0 < done < total
    return done


def headers(shop: Platform) -> dict[str, str]:
    token = subprocess.run(
        [sys.executable, "-m", "db.seed.token", "--role", "hq"], env=shop.environment(), cwd=PROJECT,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return {"Authorization": f"Bearer {token.stdout.strip()}"}


def answer(shop, path, query, token):
    response = requests.get(shop.edge(path), params=query, headers=token, timeout=20)
    assert response.status_code == 200, response.text
    return response.json()


def report(shop, by, token, since):
    """Sales of the store over the file's period, with all that was committed before the moment `since`."""
    query = {"from": "2010-12-01", "to": "2010-12-05", "store": "S1", "compare": "none", "by": by}

    def fresh():
        found = requests.get(shop.edge("/api/reports/sales"), params=query, headers=token, timeout=20)
        if found.status_code == 503:
            return None
        assert found.status_code == 200, found.text
        return found.json() if datetime.fromisoformat(found.json()["as_of"]) > since else None

    return wait_for(fresh, 30, "a report of all sales")


def stock_in_store(shop, token):
    """On hand in the store, by SKU."""
    on_hand, after = {}, None
    while True:
        query = {"location": "S1", "limit": 200} | ({"after": after} if after else {})
        page = answer(shop, "/api/inventory/stock", query, token)
        on_hand |= {row["sku"]: row["on_hand"] for row in page["items"]}
        after = page["next"]
        if after is None:
            return on_hand


def not_zero(sums):
    """Without what adds up to nothing, such as goods that were only written off."""
    return {key: cents for key, cents in sums.items() if cents}


def reported(shop, token, since, *by):
    """Net by what is asked for, and the total."""
    found = report(shop, list(by), token, since)
    names = ["sku" if name == "product" else name for name in by]
    return {tuple(row[name] for name in names): row["net_cents"] for row in found["items"]}, found["total"]


def test_a_file_of_sales_is_recorded_once_and_to_the_cent(shop):
    if not RETAIL.exists():
        pytest.skip("the Online Retail file is not in ../shared/data")
    imported(shop)
    token = headers(shop)
    kill_half_way(shop)

    said = imported(shop, "--what", "sales")
    complete = datetime.now(UTC)

    already = re.search(r"; ([\d,]+) documents were there", said)
    assert already is not None, said
    assert int(already[1].replace(",", "")) > 0
    left_out = {int(number): int(cents.replace(",", "")) for number, cents in NOT_RECORDED.findall(said)}
    sums, whole = expected(set(left_out)), expected(set())
    print(
        f"\n{said}by the csv module: {whole.cents:,f} cents, in the first lines {cents_of_first_lines():,f}"
    )
    assert cents_of_first_lines() == FIRST_COUNT_CENTS
    assert set(left_out.values()) == {0}
    assert sums.cents == whole.cents - sum(left_out.values())
    by_day, total = reported(shop, token, complete, "day")
    assert total["net_cents"] == sums.cents
    assert not_zero(by_day) == not_zero(sums.by_day)
    assert not_zero(reported(shop, token, complete, "product")[0]) == not_zero(sums.by_sku)
    assert not_zero(reported(shop, token, complete, "product", "day")[0]) == not_zero(sums.by_sku_and_day)
    on_hand = stock_in_store(shop, token)
    assert len(sums.units_back) > 50
    assert {sku: on_hand[sku] for sku in sums.goods} == {sku: sums.units_back[sku] for sku in sums.goods}

    again = imported(shop, "--what", "sales")

    assert "Nothing changed" in again
    assert reported(shop, token, datetime.now(UTC), "day") == (by_day, total)
    assert stock_in_store(shop, token) == on_hand
    assert answer(shop, "/api/inventory/invariants", {}, token)["holds"] is True
