"""Every report and a sale at 10,000, 100,000 and 1,000,000 sale lines: `python -m benchmarks.reports`, `make bench-reports`.

On a platform of its own, with its own database, which is gone afterwards. Sales are written with COPY into one year of
five stores, so more lines are a denser year. Reports are asked of the reports replica itself, sales of the sales
replica, which calls products and inventory through the function gateway; the measure of both is one prepared read by
pgbench on the same server. All are asked in turn, so that a busy moment of the machine meets all of them.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any

import psycopg2
import psycopg2.extensions
from rich.console import Console
from rich.status import Status
from rich.table import Table

from benchmarks.floor import Pgbench
from benchmarks.own_platform import Client, own_platform
from benchmarks.quantiles import quantile
from benchmarks.report import BenchmarkError, is_quiet, load_settings, write_result
from benchmarks.retail_year import ALWAYS_IN_STOCK, STORE_OF_THE_TILL, RetailYear
from db.seed.token import TokenRequest
from localfaas.settings import Settings, SettingsError
from localfaas.up import admin_url

SIZES = (10_000, 100_000, 1_000_000)
REPORTS_PORT, SALES_PORT = 8005, 8004
REFRESH_SECONDS = 900
READS = 2_000
WARM_UP_ROUNDS = 3
REPORT_GOAL_MS = 200
SALE_GOAL = 15
TABLE_WIDTH = 120
SALE, READ = "5-line sale", "prepared read (pgbench)"


@dataclass
class Measured:
    """What was measured with one number of lines: seconds of each sample, by what was asked."""

    lines: int
    refresh_seconds: float = 0.0
    bytes: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, list[float]] = field(default_factory=dict)

    def add(self, name: str, seconds: float) -> None:
        self.seconds.setdefault(name, []).append(seconds)

    def milliseconds(self, name: str, share: float) -> float:
        return quantile(self.seconds[name], share) * 1000


def reports(last_day: date) -> dict[str, str]:
    """Name to path. The months are odd ones on purpose: they begin and end in the middle of a calendar month."""
    weeks = f"from={last_day - timedelta(days=27)}&to={last_day}"
    months = f"from={last_day - timedelta(days=270)}&to={last_day - timedelta(days=8)}"
    return {
        "sales by store, 28 days": f"/sales?{weeks}&by=store",
        "sales by store, 9 months": f"/sales?{months}&by=store",
        "sales by channel, 9 months": f"/sales?{months}&by=channel",
        "sales by category, 9 months": f"/sales?{months}&by=category",
        "sales by hour, 9 months": f"/sales?{months}&by=hour",
        "sales by day, 9 months": f"/sales?{months}&by=day",
        "sales by week and store, 9 months": f"/sales?{months}&by=week&by=store",
        "sales by month, 9 months": f"/sales?{months}&by=month",
        "sales by product, 28 days, first 50": f"/sales?{weeks}&by=product&limit=50",
        "sales by product, 9 months, first 50": f"/sales?{months}&by=product&limit=50",
        "sales by product, 28 days, all, CSV": f"/sales?{weeks}&by=product&compare=none&format=csv",
        "one product by day, 9 months": f"/sales?{months}&by=day&sku=P00007",
        "top sellers, 28 days": f"/products/top?{weeks}",
        "top sellers, 9 months": f"/products/top?{months}",
        "slow sellers, 28 days": f"/products/slow?{weeks}",
        "trend by day, 9 months": f"/trends?{months}",
        "stock by location": "/stock",
        "low stock, first 50": "/stock/low?limit=50",
        "overstock, first 50": f"/stock/over?until={last_day}&limit=50",
        "replenishment, first 50": f"/replenishment?until={last_day}&limit=50",
        "one store, 28 days": f"/stores/S1?{weeks}",
        "overview, 28 days": f"/overview?{weeks}",
    }


def load(settings: Settings, year: RetailYear, measured: Measured, lines: int) -> None:
    """Add `lines` lines, wait until facts have them, and leave the database as autovacuum would in time."""
    with closing(psycopg2.connect(admin_url(settings))) as connection:
        year.load_sales(connection, lines)
        connection.autocommit = True
        _execute(connection, "ANALYZE")
        started = time.monotonic()
        _refresh(connection, datetime.now(UTC))
        measured.refresh_seconds = time.monotonic() - started
        _execute(connection, "VACUUM ANALYZE")
        _execute(connection, "CHECKPOINT")


def _refresh(connection: psycopg2.extensions.connection, since: datetime) -> None:
    """Refresh until all that was committed before `since` is in the facts; maintenance may be at it as well."""
    deadline = time.monotonic() + REFRESH_SECONDS
    while time.monotonic() < deadline:
        _execute(connection, "BEGIN ISOLATION LEVEL REPEATABLE READ")
        try:
            _execute(connection, "SELECT reports.refresh(1000)")
        except psycopg2.extensions.TransactionRollbackError:
            _execute(connection, "ROLLBACK")
            continue
        _execute(connection, "COMMIT")
        with connection.cursor() as cursor:
            cursor.execute("SELECT as_of >= %s FROM reports.progress", (since,))
            row = cursor.fetchone()
        if row == (True,):
            return
    raise BenchmarkError(f"facts were not up to date after {REFRESH_SECONDS} s")


def _execute(connection: psycopg2.extensions.connection, statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def measure(
    settings: Settings,
    measured: Measured,
    paths: dict[str, str],
    rounds: int,
    progress: Callable[[int], None],
) -> None:
    """`rounds` times every report and two sales; then the prepared reads."""
    reader = Client(settings, REPORTS_PORT, TokenRequest(("hq",), "bench"))
    till = Client(settings, SALES_PORT, TokenRequest(("staff",), "bench", STORE_OF_THE_TILL))
    for done in range(rounds + WARM_UP_ROUNDS):
        kept = done >= WARM_UP_ROUNDS
        for name, path in paths.items():
            seconds, answer = reader.send("GET", path)
            measured.bytes[name] = len(answer)
            if kept:
                measured.add(name, seconds)
        for _ in range(2):
            seconds, _ = till.send("POST", "/", SALE_OF_FIVE_LINES)
            if kept:
                measured.add(SALE, seconds)
        progress(max(0, done + 1 - WARM_UP_ROUNDS))
    measured.seconds[READ] = Pgbench.of(settings, product_id=7).read(READS)


SALE_OF_FIVE_LINES = {
    "register": "BENCH",
    "lines": [{"sku": sku, "quantity": 1} for sku in ALWAYS_IN_STOCK],
    "tenders": [{"kind": "cash", "given_cents": 100_000}],
}


def open_register(settings: Settings) -> None:
    till = Client(settings, SALES_PORT, TokenRequest(("staff",), "bench", STORE_OF_THE_TILL))
    till.send("POST", "/registers/BENCH/open", {"opening_cash_cents": 0})


def show(console: Console, results: Sequence[Measured], paths: dict[str, str]) -> None:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("milliseconds, p50 / p99", no_wrap=True)
    for measured in results:
        table.add_column(f"{measured.lines:,} lines", justify="right", no_wrap=True)
    table.add_column("goal", justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for name in paths:
        worst = max(measured.milliseconds(name, 0.99) for measured in results)
        verdict = "met" if worst <= REPORT_GOAL_MS else "missed"
        table.add_row(
            name, *(_pair(measured, name) for measured in results), f"p99 ≤ {REPORT_GOAL_MS}", verdict
        )
    for name in (SALE, READ):
        table.add_row(name, *(_pair(measured, name, digits=2) for measured in results))
    ratios = [sale_ratio(measured) for measured in results]
    verdict = "met" if max(ratios) <= SALE_GOAL else "missed"
    table.add_row("sale / read, p50", *(f"{ratio:.1f}" for ratio in ratios), f"≤ {SALE_GOAL}", verdict)
    table.add_row("answers, all reports, kB", *(f"{sum(one.bytes.values()) / 1000:,.0f}" for one in results))
    table.add_row("summing the added lines, s", *(f"{measured.refresh_seconds:,.1f}" for measured in results))
    console.print(table)


def _pair(measured: Measured, name: str, digits: int = 1) -> str:
    return " / ".join(f"{measured.milliseconds(name, share):,.{digits}f}" for share in (0.50, 0.99))


def sale_ratio(measured: Measured) -> float:
    """Median of a sale over the median of a prepared read."""
    return measured.milliseconds(SALE, 0.50) / measured.milliseconds(READ, 0.50)


def as_result(results: Sequence[Measured], rounds: int) -> dict[str, Any]:
    return {
        "rounds": rounds,
        "sizes": [
            {
                "lines": measured.lines,
                "refresh_seconds": round(measured.refresh_seconds, 1),
                "sale_over_read": round(sale_ratio(measured), 2),
                "milliseconds": {
                    name: {
                        f"p{share:.0%}".rstrip("%"): round(measured.milliseconds(name, share), 3)
                        for share in (0.5, 0.99)
                    }
                    for name in measured.seconds
                },
                "bytes": measured.bytes,
            }
            for measured in results
        ],
    }


def run(
    settings: Settings, console: Console, sizes: Sequence[int], rounds: int
) -> tuple[list[Measured], dict[str, str]]:
    """Measure at each size, the smallest first."""
    last_day = datetime.now(UTC).date() - timedelta(days=1)
    year, paths = RetailYear(last_day), reports(last_day)
    results: list[Measured] = []
    with console.status("starting a platform") as status, own_platform(settings) as platform:
        with closing(psycopg2.connect(admin_url(platform))) as connection:
            year.load_goods(connection)
        open_register(platform)
        for lines in sorted(sizes):
            measured = Measured(lines)
            status.update(f"loading up to {lines:,} lines")
            load(platform, year, measured, lines - (results[-1].lines if results else 0))
            told = partial(_tell_round, status, lines, rounds)
            measure(platform, measured, paths, rounds, told)
            results.append(measured)
    return results, paths


def _tell_round(status: Status, lines: int, rounds: int, done: int) -> None:
    status.update(f"{lines:,} lines: round {done} of {rounds}")


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.reports",
        description="Latency of every report and of a sale, by sale lines.",
    )
    parser.add_argument("--rounds", type=int, default=100, help="samples of each report at each size (100)")
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=list(SIZES), help="sale lines (10000 100000 1000000)"
    )
    return parser


def main(arguments: list[str] | None = None) -> int:
    options = build_parser().parse_args(arguments)
    console = Console(highlight=False, width=TABLE_WIDTH)
    try:
        settings = load_settings()
        quiet = is_quiet()
        results, paths = run(settings, console, options.sizes, options.rounds)
    except (BenchmarkError, SettingsError, psycopg2.Error, subprocess.TimeoutExpired) as exc:
        print(f"bench-reports: {exc}", file=sys.stderr)
        return 1
    show(console, results, paths)
    if not quiet:
        console.print("The machine was busy before the run: the figures say more about its neighbours.")
    path = write_result(settings, "reports", as_result(results, options.rounds))
    console.print(f"Written to {path}", soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
