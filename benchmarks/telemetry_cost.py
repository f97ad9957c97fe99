"""What metrics and log lines cost: `python -m benchmarks.telemetry_cost`, `make bench-telemetry`.

A read of one product, straight at its replica, and a checkout of three lines through the function gateway, each with
telemetry and without (telemetry_variant.py), on a platform of its own. Time is the client's; processor time is that of
the replicas that took part, by the kernel's clock of each process. The arms come in turn, in short blocks in random
order; the arms with telemetry are measured twice, and how far the second is from the first is how far the other
ratios can be trusted.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg2
import requests
from rich.console import Console
from rich.table import Table

from benchmarks import checkout
from benchmarks.checkout_variants import make_variant
from benchmarks.hops import interleave
from benchmarks.http_client import KeepAlive, render_request
from benchmarks.own_platform import own_platform
from benchmarks.quantiles import Block, Ratio, pooled, quantile, ratio_of_quantiles
from benchmarks.report import (
    BenchmarkError,
    is_quiet,
    load_settings,
    table_console,
    whole_number,
    write_result,
)
from benchmarks.telemetry_variant import FUNCTIONS, SUFFIX, WITHOUT_TELEMETRY
from localfaas.settings import Settings, SettingsError
from localfaas.status import rows
from localfaas.supervisor import Supervisor

NOT_NEEDED = ("maintenance", "sales", "reports", "site", "customers")
"""Removed: OpenFaaS CE has room for 15 functions, and maintenance would go on with what it finds."""
WARM_UP = 30
GOAL = 1.05
PRODUCT = 7
CPU_CLOCK_OF_PROCESS = 2
ON, AGAIN, OFF = "with telemetry", "with telemetry, again", "without"


@dataclass
class Arm:
    """One way to be measured; with each block of times goes the processor time of its `pids`, a request."""

    take: Callable[[int], list[float]]
    pids: Sequence[int]
    cpu: list[Block] = field(default_factory=list)

    def measure(self, count: int) -> list[float]:
        before = sum(map(cpu_seconds, self.pids))
        taken = self.take(count)
        self.cpu.append([(sum(map(cpu_seconds, self.pids)) - before) / count])
        return taken


def cpu_seconds(pid: int) -> float:
    """Processor time of a process and all its threads, by its clock: clock_getcpuclockid(3), to the nanosecond."""
    return time.clock_gettime((~pid << 3) | CPU_CLOCK_OF_PROCESS)


@dataclass(frozen=True)
class Reads:
    """Reads of one product at one replica."""

    client: KeepAlive

    def take(self, count: int) -> list[float]:
        request = render_request("localhost", "GET", f"/{PRODUCT}")
        return [checkout.succeed(self.client, request)[0] for _ in range(count)]


@dataclass(frozen=True)
class Checkouts:
    """Checkouts, one customer after the other; processor time is not counted while their carts are filled."""

    arm: checkout.Arm
    pids: Sequence[int]
    cpu: list[Block] = field(default_factory=list)

    def measure(self, count: int) -> list[float]:
        carts = [self.arm.shop.fill_cart() for _ in range(count)]
        return Arm(lambda _: self._buy(carts), self.pids, self.cpu).measure(count)

    def _buy(self, carts: Sequence[checkout.Cart]) -> list[float]:
        return [checkout.succeed(self.arm.client, cart.request(self.arm.function))[0] for cart in carts]


@dataclass(frozen=True)
class Measured:
    """Blocks of seconds, and of processor seconds a request, of each arm: of the read, of the checkout."""

    what: str
    seconds: dict[str, list[Block]]
    cpu: dict[str, list[Block]]

    def ratios(self) -> list[tuple[str, Ratio, float | None]]:
        """Name, ratio and goal of each comparison."""
        return [
            (
                f"{self.what}, {unit}: {arm} / {reference}",
                ratio_of_quantiles(blocks[arm], blocks[reference], 0.5),
                goal,
            )
            for unit, blocks in (("p50", self.seconds), ("CPU", self.cpu))
            for arm, reference, goal in ((ON, OFF, GOAL), (AGAIN, ON, None))
        ]


@contextmanager
def running_shops(like: Settings) -> Iterator[checkout.Shop]:
    """A platform of its own on which the shop runs twice, with telemetry and without."""
    with own_platform(like) as settings, tempfile.TemporaryDirectory() as directory:
        Supervisor(settings).stop("alertmanager")
        checkout.run_localfaas(settings, "remove", *NOT_NEEDED)
        project = make_variant(WITHOUT_TELEMETRY, Path(directory))
        checkout.run_localfaas(settings, "--project", str(project), "deploy")
        for name in FUNCTIONS:
            checkout.wait_for_replicas(settings, name + SUFFIX, 3 if name == "cart" else 1)
        shop = checkout.Shop(settings)
        shop.stock_up()
        yield shop
        shop.close()


def measure_reads(shop: checkout.Shop, rounds: int, block: int) -> Measured:
    def arm(function: str) -> Arm:
        [replica] = _replicas(shop.settings, [function])
        reads = Reads(KeepAlive(replica.port))
        reads.take(WARM_UP)
        return Arm(reads.take, [replica.pid])

    arms = {ON: arm("products"), AGAIN: arm("products"), OFF: arm("products" + SUFFIX)}
    seconds = interleave({name: one.measure for name, one in arms.items()}, rounds, block, lambda _: None)
    return Measured("read", seconds, {name: one.cpu for name, one in arms.items()})


def measure_checkouts(shop: checkout.Shop, rounds: int, block: int) -> Measured:
    def arm(suffix: str) -> Checkouts:
        pids = [row.pid for row in _replicas(shop.settings, [name + suffix for name in FUNCTIONS])]
        found = Checkouts(checkout.Arm(shop, "checkout" + suffix, KeepAlive(shop.gateway)), pids)
        found.measure(WARM_UP)
        found.cpu.clear()
        return found

    arms = {ON: arm(""), AGAIN: arm(""), OFF: arm(SUFFIX)}
    seconds = interleave({name: one.measure for name, one in arms.items()}, rounds, block, lambda _: None)
    return Measured("checkout", seconds, {name: one.cpu for name, one in arms.items()})


def _replicas(settings: Settings, functions: Sequence[str]) -> list[Any]:
    return [row for row in rows(settings) if row.program.rpartition("-")[0] in functions]


def check_silence(shop: checkout.Shop) -> None:
    """Raise BenchmarkError unless one kind of replica has counted and logged what it did, and the other has not."""
    for suffix, telling in (("", True), (SUFFIX, False)):
        for row in _replicas(shop.settings, [name + suffix for name in ("products", "checkout")]):
            text = requests.get(f"http://127.0.0.1:{row.port}/metrics", timeout=5).text
            counted = 'http_request_duration_seconds_count{method="' in text
            logged = '"message": "request"' in (shop.settings.logs / f"{row.program}.log").read_text()
            if (counted, logged) != (telling, telling):
                raise BenchmarkError(
                    f"{row.program} counts: {counted}, logs: {logged}; "
                    "bring benchmarks/telemetry_variant.py up to date"
                )


def show(console: Console, measured: Sequence[Measured]) -> None:
    times = Table(box=None, header_style="bold", pad_edge=False)
    times.add_column("arm")
    for title in ("p50 ms", "p99 ms", "CPU ms a request", "samples"):
        times.add_column(title, justify="right")
    for one in measured:
        for name, blocks in one.seconds.items():
            samples, cpu = pooled(blocks), pooled(one.cpu[name])
            shown = [quantile(samples, 0.5), quantile(samples, 0.99), quantile(cpu, 0.5)]
            cells = [f"{value * 1000:.3f}" for value in shown]
            times.add_row(f"{one.what} {name}", *cells, f"{len(samples):,}")
    console.print(times)
    goals = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("ratio", "value (95 %)", "goal", "verdict"):
        goals.add_column(title)
    for name, ratio, goal in (row for one in measured for row in one.ratios()):
        limit, verdict = ("", "") if goal is None else (f"≤ {goal:g}", ratio.holds(goal))
        goals.add_row(name, f"{ratio.value:.3f} ({ratio.low:.3f}–{ratio.high:.3f})", limit, verdict)
    console.print(goals)


def as_result(measured: Sequence[Measured]) -> dict[str, Any]:
    return {
        "milliseconds": {
            f"{one.what} {name}": {
                "p50": quantile(pooled(blocks), 0.5) * 1000,
                "p99": quantile(pooled(blocks), 0.99) * 1000,
                "cpu": quantile(pooled(one.cpu[name]), 0.5) * 1000,
                "samples": len(pooled(blocks)),
            }
            for one in measured
            for name, blocks in one.seconds.items()
        },
        "ratios": [
            {"name": name, "value": ratio.value, "low": ratio.low, "high": ratio.high, "goal": goal}
            for one in measured
            for name, ratio, goal in one.ratios()
        ],
    }


def run(settings: Settings, options: argparse.Namespace, console: Console) -> list[Measured]:
    with console.status("starting a platform"), running_shops(settings) as shop:
        measured = [
            measure_reads(shop, options.rounds * 3, options.block * 10),
            measure_checkouts(shop, options.rounds, options.block),
        ]
        check_silence(shop)
        console.print(f"{checkout.check_books(shop):,} orders are paid, and the books agree.")
    return measured


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.telemetry_cost", description="What metrics and log lines cost a request."
    )
    parser.add_argument(
        "--rounds",
        type=whole_number(2, 10_000),
        default=50,
        help="blocks of each checkout, a third of those of reads (50)",
    )
    parser.add_argument(
        "--block",
        type=whole_number(2, 1_000),
        default=8,
        help="checkouts in a block, a tenth of the reads in one (8)",
    )
    return parser


def main(arguments: list[str] | None = None) -> int:
    options = build_parser().parse_args(arguments)
    console = table_console()
    try:
        settings = load_settings()
        quiet = is_quiet()
        measured = run(settings, options, console)
    except (BenchmarkError, SettingsError, psycopg2.Error, subprocess.TimeoutExpired) as exc:
        print(f"bench-telemetry: {exc}", file=sys.stderr)
        return 1
    show(console, measured)
    if not quiet:
        console.print("The machine was busy before the run: the figures say more about its neighbours.")
    path = write_result(settings, "telemetry", as_result(measured) | {"quiet": quiet})
    console.print(f"Written to {path}", soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
