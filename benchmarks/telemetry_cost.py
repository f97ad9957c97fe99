"""What metrics and log lines cost: `python -m benchmarks.telemetry_cost`, `make bench-telemetry`.

A read of one product, straight at its replica, and a checkout of three lines through the function gateway, each with
telemetry and without, by the same processes (telemetry_switch.py), on a platform of its own. Time is the client's;
processor time is that of the replicas that took part, by the kernel's clock of each process. The arms come in turn,
in short blocks in random order; those with telemetry are measured twice, and how far the second is from the first is
how far the other ratios can be trusted.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import requests
from rich.console import Console

from benchmarks import checkout
from benchmarks.checkout_variants import make_variant
from benchmarks.command import measure_and_tell
from benchmarks.cost import Comparison, Measured, as_result, cpu_seconds, show
from benchmarks.http_client import KeepAlive, render_request
from benchmarks.interleaved import interleave
from benchmarks.own_platform import own_platform
from benchmarks.quantiles import Block
from benchmarks.report import (
    BenchmarkError,
    whole_number,
)
from benchmarks.telemetry_switch import FUNCTIONS, HEADER, SUFFIX, WITH_SWITCH
from functions.shared.later import PAUSE_SECONDS
from localfaas.settings import Settings
from localfaas.status import rows
from localfaas.supervisor import Supervisor

NOT_NEEDED = ("maintenance", "sales", "reports", "site", "customers")
"""Removed: OpenFaaS CE has room for 15 functions, and maintenance would go on with what it finds."""
WARM_UP = 30
GOAL = 1.05
PRODUCT = 7
SWITCHING = 2
"""Requests at the beginning of a block that are not measured: the processes switch over."""
SETTLING_SECONDS = 1.5 * PAUSE_SECONDS
"""What requests have left to be done is part of what they cost: it is done within this time."""
READS_PER_CHECKOUT = 50
"""A block of either lasts a few tenths of a second."""
ON, AGAIN, OFF = "with telemetry", "with telemetry, again", "without"
COMPARISONS = (Comparison(ON, OFF, GOAL), Comparison(AGAIN, ON))


@dataclass(frozen=True)
class Arm:
    """Requests with telemetry or without; with each block of times goes the processor time of `pids`, a request."""

    client: KeepAlive
    prepare: Callable[[bool], bytes]
    """Makes what a request needs, which is not measured, and the request; told whether it is to be silent."""
    silent: bool
    pids: Sequence[int]
    cpu: list[Block] = field(default_factory=list)

    def measure(self, count: int) -> list[float]:
        requests = [self.prepare(self.silent) for _ in range(count + SWITCHING)]
        for request in requests[:SWITCHING]:
            checkout.succeed(self.client, request)
        before = cpu_seconds(self.pids)
        taken = [checkout.succeed(self.client, request)[0] for request in requests[SWITCHING:]]
        time.sleep(SETTLING_SECONDS)
        self.cpu.append([(cpu_seconds(self.pids) - before) / count])
        return taken


@contextmanager
def running_shop(like: Settings) -> Iterator[checkout.Shop]:
    """A platform of its own with the functions of a checkout beside those of the shop, which fill the carts."""
    with own_platform(like) as settings, tempfile.TemporaryDirectory() as directory:
        Supervisor(settings).stop("alertmanager")
        checkout.run_localfaas(settings, "remove", *NOT_NEEDED)
        checkout.run_localfaas(
            settings, "--project", str(make_variant(WITH_SWITCH, Path(directory))), "deploy"
        )
        for name in FUNCTIONS:
            checkout.wait_for_replicas(settings, name + SUFFIX, 3 if name == "cart" else 1)
        shop = checkout.Shop(settings)
        shop.stock_up()
        yield shop
        shop.close()


def read(silent: bool) -> bytes:
    return render_request("localhost", "GET", f"/{PRODUCT}", headers={HEADER: str(int(silent))})


def buy(shop: checkout.Shop, silent: bool) -> bytes:
    """The request of a customer whose cart is full."""
    request = shop.fill_cart().request("checkout" + SUFFIX)
    return request.replace(b"\r\n", f"\r\n{HEADER}: {int(silent)}\r\n".encode(), 1)


def measure(what: str, arms: Mapping[str, Arm], rounds: int, block: int) -> Measured:
    for arm in arms.values():
        arm.measure(WARM_UP)
        arm.cpu.clear()
    seconds = interleave({name: arm.measure for name, arm in arms.items()}, rounds, block, lambda _: None)
    return Measured(what, seconds, {name: arm.cpu for name, arm in arms.items()}, COMPARISONS)


def arms_of(port: int, prepare: Callable[[bool], bytes], pids: Sequence[int]) -> dict[str, Arm]:
    return {name: Arm(KeepAlive(port), prepare, name == OFF, pids) for name in (ON, AGAIN, OFF)}


def _replicas(settings: Settings, functions: Sequence[str]) -> list[Any]:
    return [row for row in rows(settings) if row.program.rpartition("-")[0] in functions]


def check_switch(port: int, log: Path) -> None:
    """Raise BenchmarkError unless requests are counted and logged when they are to be, and not when not."""

    def told() -> tuple[float, int]:
        text = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=5).text
        counts = re.findall(r"^http_request_duration_seconds_count{.*} (.*)$", text, re.MULTILINE)
        return sum(map(float, counts)), log.read_text().count('"message": "request"')

    for silent in (False, True):
        before = told()
        with KeepAlive(port) as client:
            for _ in range(WARM_UP):
                checkout.succeed(client, read(silent))
        found = tuple(now - then for now, then in zip(told(), before, strict=True))
        if found != (0, 0) if silent else found != (WARM_UP, WARM_UP):
            raise BenchmarkError(
                f"of {WARM_UP} requests {found} were counted and logged (silent: {silent}); "
                "bring benchmarks/telemetry_switch.py up to date"
            )


def run(settings: Settings, options: argparse.Namespace, console: Console) -> list[Measured]:
    with console.status("starting a platform"), running_shop(settings) as shop:
        replicas = _replicas(shop.settings, [name + SUFFIX for name in FUNCTIONS])
        [products] = _replicas(shop.settings, ["products" + SUFFIX])
        check_switch(products.port, shop.settings.logs / f"{products.program}.log")
        reads = arms_of(products.port, read, [products.pid])
        checkouts = arms_of(shop.gateway, partial(buy, shop), [row.pid for row in replicas])
        measured = [
            measure("read", reads, options.rounds * 2, options.block * READS_PER_CHECKOUT),
            measure("checkout", checkouts, options.rounds, options.block),
        ]
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
        help="blocks of checkouts of each arm, and half of those of reads (50)",
    )
    parser.add_argument(
        "--block",
        type=whole_number(2, 1_000),
        default=8,
        help="checkouts in a block; there are 50 times as many reads in one (8)",
    )
    return parser


def main(arguments: list[str] | None = None) -> int:
    return measure_and_tell("telemetry", build_parser().parse_args(arguments), run, show, as_result)


if __name__ == "__main__":
    sys.exit(main())
