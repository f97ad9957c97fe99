"""What traces cost: `python -m benchmarks.traces_cost`, `make bench-traces`.

The same shop runs on platforms of its own, beside each other: one with traces off, one with TRACES=on and all requests
recorded, and with `--before PATH` one of another checkout of the project, such as the last commit without traces.
A read of one product through the edge and the gateway, and a checkout of three lines through the gateway, one at a
time, the platforms in turn, in short blocks in random order. Time is the client's; processor time is that of the
replicas, both Envoys and the store of spans. A second platform with traces off is the control: platforms of the very
same code differ, by where their memory lies and what they have served, and no other ratio can be trusted further.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import requests
from rich.console import Console

from benchmarks import checkout
from benchmarks.command import measure_and_tell
from benchmarks.cost import Comparison, Measured, as_result, cpu_seconds, show
from benchmarks.http_client import KeepAlive, render_request
from benchmarks.interleaved import interleave
from benchmarks.own_platform import OWN_OFFSET, own_platform
from benchmarks.quantiles import Block
from benchmarks.report import (
    PROJECT,
    BenchmarkError,
    whole_number,
)
from localfaas.settings import Settings
from localfaas.status import rows
from localfaas.supervisor import Supervisor

NEXT_OFFSET = 500
"""From one platform's ports to the next one's."""
NOT_NEEDED = ("maintenance", "sales", "reports", "site", "customers")
FUNCTIONS = ("checkout", "cart", "products", "inventory", "orders", "payments")
PRODUCT, WARM_UP = 7, 30
HOPS = ("edge", "gateway", "traces")
OFF, AGAIN, ON, BEFORE = "off", "another off", "on", "before"
COMPARISONS = (Comparison(OFF, BEFORE), Comparison(ON, OFF), Comparison(AGAIN, OFF))


@dataclass(frozen=True)
class Arm:
    """One platform to be asked; with each block of times goes the processor time of its `pids`, a request."""

    prepare: Callable[[int], Sequence[bytes]]
    """So many requests, and before them, unmeasured, whatever they need."""
    client: KeepAlive
    pids: Sequence[int]
    cpu: list[Block] = field(default_factory=list)

    def measure(self, count: int) -> list[float]:
        requests = self.prepare(count)
        before = cpu_seconds(self.pids)
        taken = [checkout.succeed(self.client, request)[0] for request in requests]
        self.cpu.append([(cpu_seconds(self.pids) - before) / count])
        return taken


@contextmanager
def running_shops(like: Settings, before: Path | None) -> Iterator[dict[str, checkout.Shop]]:
    """The shop on a platform for each arm."""
    wanted = [(OFF, PROJECT, {}), (AGAIN, PROJECT, {}), (ON, PROJECT, {"TRACES": "on"})]
    if before:
        wanted.append((BEFORE, before.resolve(), {}))
    with ExitStack() as stack:
        shops = {}
        for number, (name, project, variables) in enumerate(wanted):
            offset = OWN_OFFSET + number * NEXT_OFFSET
            settings = stack.enter_context(own_platform(like, project=project, offset=offset, **variables))
            Supervisor(settings).stop("alertmanager")
            checkout.run_localfaas(settings, "remove", *NOT_NEEDED)
            shops[name] = checkout.Shop(settings)
            shops[name].stock_up()
            stack.callback(shops[name].close)
        yield shops


def _pids(settings: Settings) -> list[int]:
    """Of all that passes a request on, answers it, or keeps its spans."""
    return [
        row.pid
        for row in rows(settings)
        if row.program.rpartition("-")[0] in FUNCTIONS or row.program in HOPS
    ]


def _reads(shop: checkout.Shop) -> Arm:
    request = render_request("localhost", "GET", f"/api/products/{PRODUCT}")
    return Arm(lambda count: [request] * count, KeepAlive(shop.settings.port("edge")), _pids(shop.settings))


def _checkouts(shop: checkout.Shop) -> Arm:
    def prepare(count: int) -> list[bytes]:
        return [shop.fill_cart().request("checkout") for _ in range(count)]

    return Arm(prepare, KeepAlive(shop.gateway), _pids(shop.settings))


def measure(shops: Mapping[str, checkout.Shop], rounds: int, block: int) -> list[Measured]:
    """Reads, then checkouts, on all platforms in turn."""
    measured = []
    for what, kind, times, size in (("read", _reads, 3, 10), ("checkout", _checkouts, 1, 1)):
        arms = {name: kind(shop) for name, shop in shops.items()}
        for arm in arms.values():
            arm.measure(WARM_UP)
            arm.cpu.clear()
        measures: dict[str, Callable[[int], list[float]]] = {name: arm.measure for name, arm in arms.items()}
        seconds = interleave(measures, rounds * times, block * size, lambda _: None)
        measured.append(Measured(what, seconds, {name: arm.cpu for name, arm in arms.items()}, COMPARISONS))
    return measured


def check_spans(shops: dict[str, checkout.Shop]) -> None:
    """Raise BenchmarkError unless the spans of one platform, and of no other, are in its store."""
    page = requests.get(shops[ON].settings.url("traces") + "/?function=checkout", timeout=10).text
    if "POST function checkout" not in page:
        raise BenchmarkError("the platform with TRACES=on has no trace of a checkout")
    for name, shop in shops.items():
        if (shop.settings.state / "traces").exists() is not (name == ON):
            raise BenchmarkError(f"the platform {name!r} should not have a store of spans")


def run(settings: Settings, options: argparse.Namespace, console: Console) -> Sequence[Measured]:
    with console.status("starting platforms"), running_shops(settings, options.before) as shops:
        measured = measure(shops, options.rounds, options.block)
        check_spans(shops)
    return measured


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.traces_cost", description="What spans cost a request, on and off."
    )
    parser.add_argument("--before", type=Path, help="another checkout of the project, to compare `off` with")
    parser.add_argument(
        "--rounds",
        type=whole_number(2, 10_000),
        default=40,
        help="blocks of checkouts; thrice as many of reads (40)",
    )
    parser.add_argument(
        "--block",
        type=whole_number(2, 1_000),
        default=6,
        help="checkouts in a block; ten times as many reads (6)",
    )
    return parser


def main(arguments: list[str] | None = None) -> int:
    return measure_and_tell("traces", build_parser().parse_args(arguments), run, show, as_result)


if __name__ == "__main__":
    sys.exit(main())
