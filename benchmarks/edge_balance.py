"""How evenly three equal replicas are asked: `python -m benchmarks.edge_balance`, `make edge-balance`.

An edge of its own with the project's kong.yml; requests for cart from few and many keep-alive connections and from
fresh ones, counted by the replicas themselves.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table

from benchmarks.closed_load import ask
from benchmarks.http_client import BadAnswerError, render_request
from benchmarks.own_edge import own_edge
from benchmarks.replicas import Replica, three_replicas
from benchmarks.report import (
    PROJECT,
    BenchmarkError,
    load_settings,
    table_console,
    whole_number,
    write_result,
)
from localfaas.settings import SettingsError

REQUEST = render_request("localhost", "GET", "/api/cart")
REQUESTS = 9_000
LARGEST_SHARE = 1.02
"""Of what would be fair."""


@dataclass(frozen=True)
class Way:
    """How a load's requests arrive."""

    name: str
    connections: int
    fresh: bool = False


WAYS = (
    Way("1 keep-alive connection", 1),
    Way("8 keep-alive connections", 8),
    Way("64 keep-alive connections", 64),
    Way("a fresh connection for each", 1, fresh=True),
)


@dataclass(frozen=True)
class Spread:
    """What each replica got."""

    way: str
    taken: Sequence[int]

    @property
    def largest_share(self) -> float:
        """Of the busiest replica; 1 is fair."""
        return max(self.taken) * len(self.taken) / sum(self.taken)


def spread(port: int, replicas: Sequence[Replica], way: Way, count: int) -> Spread:
    """Send `count` requests to the edge on `port` and ask the replicas what they got."""
    before = [replica.taken for replica in replicas]
    ask(port, REQUEST, connections=way.connections, count=count, fresh=way.fresh)
    return Spread(way.name, [replica.taken - was for replica, was in zip(replicas, before, strict=True)])


def run(count: int) -> list[Spread]:
    text = (PROJECT / "kong" / "kong.yml").read_text()
    with own_edge() as own, three_replicas() as replicas:
        own.load(text, {"cart": [("127.0.0.1", replica.port) for replica in replicas]})
        return [spread(own.port, replicas, way, count) for way in WAYS]


def show(console: Console, found: Sequence[Spread]) -> None:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("requests from")
    for title in ("replica 1", "replica 2", "replica 3", "largest share", f"goal ≤ {LARGEST_SHARE}"):
        table.add_column(title, justify="right")
    for item in found:
        goal = "met" if item.largest_share <= LARGEST_SHARE else "missed"
        table.add_row(item.way, *(f"{taken:,}" for taken in item.taken), f"{item.largest_share:.3f}", goal)
    console.print(table)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.edge_balance", description="How evenly three equal replicas are asked."
    )
    parser.add_argument(
        "--requests", type=whole_number(30, 100_000), default=REQUESTS, help=f"of each kind ({REQUESTS:,})"
    )
    options = parser.parse_args(arguments)
    console = table_console()
    try:
        settings = load_settings()
        with console.status("asking"):
            found = run(options.requests)
    except KeyboardInterrupt:
        print("edge-balance: interrupted, nothing written", file=sys.stderr)
        return 130
    except (BenchmarkError, SettingsError, BadAnswerError, OSError) as exc:
        print(f"edge-balance: {exc}", file=sys.stderr)
        return 1
    show(console, found)
    result = {"spreads": [asdict(item) | {"largest_share": item.largest_share} for item in found]}
    console.print(f"Written to {write_result(settings, 'edge-balance', result)}", soft_wrap=True)
    return 0 if all(item.largest_share <= LARGEST_SHARE for item in found) else 1


if __name__ == "__main__":
    sys.exit(main())
