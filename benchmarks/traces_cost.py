"""What traces cost: `python -m benchmarks.traces_cost`, `make bench-traces`.

The same shop runs on platforms of its own, beside each other: one with traces off, one with TRACES=on and all requests
recorded, and with `--before PATH` one of another checkout of the project, such as the last commit without traces.
A read of one product through the edge and the gateway, and a checkout of three lines through the gateway, one at a
time, the platforms in turn, in short blocks in random order. Time is the client's; processor time is that of all
processes of the platform, the store of spans included. `off` is measured twice: how far the second is from the first
is how far any other ratio can be trusted.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg2
import requests
from rich.console import Console

from benchmarks import checkout
from benchmarks.hops import interleave
from benchmarks.http_client import KeepAlive, render_request
from benchmarks.own_platform import OWN_OFFSET, own_platform
from benchmarks.quantiles import Block, Ratio, ratio_of_quantiles
from benchmarks.report import (
    PROJECT,
    BenchmarkError,
    is_quiet,
    load_settings,
    table_console,
    whole_number,
    write_result,
)
from benchmarks.telemetry_cost import PRODUCT, WARM_UP, Arm, Checkouts, Measured, as_result, show
from localfaas.settings import Settings, SettingsError
from localfaas.status import rows
from localfaas.supervisor import Supervisor

NEXT_OFFSET = 500
"""From one platform's ports to the next one's."""
NOT_NEEDED = ("maintenance", "sales", "reports", "site", "customers")
OFF, AGAIN, ON, BEFORE = "off", "off, again", "on", "before"


@dataclass(frozen=True)
class Compared(Measured):
    """Blocks of each arm; every arm is compared with `off`."""

    arms: tuple[str, ...] = field(default=())

    def ratios(self) -> list[tuple[str, Ratio, float | None]]:
        found: list[tuple[str, Ratio, float | None]] = []
        for unit, blocks in (("p50", self.seconds), ("CPU", self.cpu)):
            for arm, reference in ((OFF, BEFORE), (ON, OFF), (AGAIN, OFF)):
                if {arm, reference} <= set(self.arms):
                    name = f"{self.what}, {unit}: {arm} / {reference}"
                    found.append((name, ratio_of_quantiles(blocks[arm], blocks[reference], 0.5), None))
        return found


@contextmanager
def running_shops(like: Settings, before: Path | None) -> Iterator[dict[str, checkout.Shop]]:
    """The shop on a platform for each arm."""
    wanted = [(OFF, PROJECT, {}), (ON, PROJECT, {"TRACES": "on"})]
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
    """Of all that works on a request, or on its spans; not of what only watches."""
    return [row.pid for row in rows(settings) if row.program not in ("prometheus", "alertmanager", "api")]


def _reads(shop: checkout.Shop) -> Arm:
    client = KeepAlive(shop.settings.port("edge"))
    request = render_request("localhost", "GET", f"/api/products/{PRODUCT}")

    def take(count: int) -> list[float]:
        return [checkout.succeed(client, request)[0] for _ in range(count)]

    take(WARM_UP)
    return Arm(take, _pids(shop.settings))


def _checkouts(shop: checkout.Shop) -> Checkouts:
    arm = checkout.Arm(shop, "checkout", KeepAlive(shop.gateway))
    found = Checkouts(arm, _pids(shop.settings))
    found.measure(WARM_UP)
    found.cpu.clear()
    return found


def measure(shops: dict[str, checkout.Shop], rounds: int, block: int) -> list[Compared]:
    """Reads, then checkouts, on all platforms in turn."""
    by_arm = {OFF: shops[OFF], AGAIN: shops[OFF], **shops}
    measured = []
    for what, kind, times, size in (("read", _reads, 3, 10), ("checkout", _checkouts, 1, 1)):
        arms = {name: kind(shop) for name, shop in by_arm.items()}
        measures: dict[str, Callable[[int], list[float]]] = {n: arm.measure for n, arm in arms.items()}
        seconds: dict[str, list[Block]] = interleave(measures, rounds * times, block * size, lambda _: None)
        cpu = {name: arm.cpu for name, arm in arms.items()}
        measured.append(Compared(what, seconds, cpu, tuple(arms)))
    return measured


def check_spans(shops: dict[str, checkout.Shop]) -> None:
    """Raise BenchmarkError unless the spans of one platform, and of no other, are in its store."""
    page = requests.get(shops[ON].settings.url("traces") + "/?function=checkout", timeout=10).text
    if "POST function checkout" not in page:
        raise BenchmarkError("the platform with TRACES=on has no trace of a checkout")
    for name, shop in shops.items():
        if (shop.settings.state / "traces").exists() is not (name == ON):
            raise BenchmarkError(f"the platform {name!r} should not have a store of spans")


def run(settings: Settings, options: argparse.Namespace, console: Console) -> Sequence[Compared]:
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
    options = build_parser().parse_args(arguments)
    console = table_console()
    try:
        settings = load_settings()
        quiet = is_quiet()
        measured = run(settings, options, console)
    except (BenchmarkError, SettingsError, psycopg2.Error, subprocess.TimeoutExpired) as exc:
        print(f"bench-traces: {exc}", file=sys.stderr)
        return 1
    show(console, measured)
    if not quiet:
        console.print("The machine was busy before the run: the figures say more about its neighbours.")
    path = write_result(settings, "traces", as_result(measured) | {"quiet": quiet})
    console.print(f"Written to {path}", soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
