"""What the edge and each of its plugins cost: `python -m benchmarks.edge_cost`, the second part of `make bench`.

An edge of its own before an Envoy that answers by itself. The rungs are routes of one kong.yml: none of the plugins,
each alone, all of them as the project's kong.yml has them; beside them a bare Envoy hop, and no hop at all.
The rungs are interleaved in short blocks in random order, so whatever else the machine does meets all of them.

Throughput is requests for each second of processor time of the edge's Envoy, which has one worker: what it would
answer if nothing else were in the way. The client, the upstream and the neighbours share the processors here,
so requests for each second of the clock are shown, and not held to anything.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from benchmarks.bare_envoy import answering_envoy, passing_envoy
from benchmarks.closed_load import ask
from benchmarks.http_client import BadAnswerError, render_request
from benchmarks.own_edge import own_edge
from benchmarks.quantiles import pooled, quantile
from benchmarks.report import (
    PROJECT,
    BenchmarkError,
    is_quiet,
    load_settings,
    table_console,
    whole_number,
    write_result,
)
from localfaas.settings import SettingsError

DIRECT, HOP, BARE, ALL = "no hop", "bare Envoy", "bare edge", "all plugins"
CONNECTIONS = 16
LEAST_THROUGHPUT = 0.80
"""Of the bare edge's, with all plugins, at CONNECTIONS."""
MOST_ADDED = 2.0
"""The latency that the edge adds with all plugins, over what a bare Envoy hop adds; p50 at one connection."""
NEVER_REACHED = 1_000_000_000
"""In place of a limit on rates: counted, and never in the way."""
BODY = '{"product_id":7,"sku":"MAG-00007","name":"Erable","price_cents":1299,"currency":"CAD","active":true}'
RESAMPLES = 400


@dataclass(frozen=True)
class Rung:
    """One way to the upstream."""

    name: str
    port: int
    request: bytes


@dataclass(frozen=True)
class Block:
    """A block of requests of one rung, and the processor time that the edge spent on it."""

    seconds: Sequence[float]
    wall_seconds: float
    edge_seconds: float


Blocks = dict[str, list[Block]]


def plugins_of(text: str) -> list[dict[str, Any]]:
    """The global plugins of a kong.yml, with limits on rates that are never reached."""
    return [_without_end(plugin) for plugin in yaml.safe_load(text)["plugins"]]


def _without_end(plugin: dict[str, Any]) -> dict[str, Any]:
    if plugin["name"] != "rate-limiting":
        return plugin
    windows = ("second", "minute", "hour", "day", "month", "year")
    config = {key: NEVER_REACHED if key in windows else value for key, value in plugin["config"].items()}
    return {**plugin, "config": config}


def rungs_file(plugins: Sequence[Mapping[str, Any]], upstream_port: int) -> str:
    """A kong.yml with a route for each rung of the edge, named after it."""
    rungs = {BARE: [], **{str(plugin["name"]): [plugin] for plugin in plugins}, ALL: list(plugins)}
    routes = [
        {"name": path_of(name).strip("/"), "paths": [f"~{path_of(name)}($|/)"], "plugins": list(chosen)}
        for name, chosen in rungs.items()
    ]
    service = {"name": "upstream", "url": f"http://127.0.0.1:{upstream_port}", "routes": routes}
    return yaml.safe_dump({"_format_version": "3.0", "services": [service]})


def path_of(rung: str) -> str:
    return "/" + rung.replace(" ", "-")


def measure(
    rungs: Sequence[Rung], connections: int, rounds: int, count: int, edge_clock: Callable[[], float]
) -> Blocks:
    """Blocks of `count` requests of each rung, in random order within each round; the first round only warms up."""
    taken: Blocks = {rung.name: [] for rung in rungs}
    chance = random.Random(0)  # noqa: S311  an order, nothing secret
    for number in range(rounds + 1):
        for rung in chance.sample(rungs, len(rungs)):
            block = _block(rung, connections, count, edge_clock)
            if number:
                taken[rung.name].append(block)
    return taken


def _block(rung: Rung, connections: int, count: int, edge_clock: Callable[[], float]) -> Block:
    edge, wall = edge_clock(), time.perf_counter()
    seconds = ask(rung.port, rung.request, connections=connections, count=count)
    return Block(seconds, time.perf_counter() - wall, edge_clock() - edge)


def processor_seconds(pid: int) -> float:
    """Processor time that a process has had, of all its threads, in the kernel's nanoseconds (proc_schedstat)."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def p50(blocks: Iterable[Block]) -> float:
    return quantile(pooled([block.seconds for block in blocks]), 0.50)


def throughput(blocks: Sequence[Block]) -> float:
    """Requests for each second of the edge's processor time."""
    return sum(len(block.seconds) for block in blocks) / sum(block.edge_seconds for block in blocks)


def kept(blocks: Blocks) -> float:
    """The throughput with all plugins, as a part of the bare edge's."""
    return throughput(blocks[ALL]) / throughput(blocks[BARE])


def added(blocks: Blocks) -> float:
    """What the edge with all plugins adds to the p50, over what a bare Envoy hop adds."""
    direct = p50(blocks[DIRECT])
    return (p50(blocks[ALL]) - direct) / (p50(blocks[HOP]) - direct)


@dataclass(frozen=True)
class Figure:
    """A figure with its 95 % interval, from a bootstrap over rounds (Efron, 1979)."""

    value: float
    low: float
    high: float


def figure(of: Callable[[Blocks], float], blocks: Blocks) -> Figure:
    rounds = len(blocks[ALL])
    chance = random.Random(rounds)  # noqa: S311  resampling, nothing secret

    def once(chosen: Sequence[int]) -> float:
        return of({name: [taken[place] for place in chosen] for name, taken in blocks.items()})

    drawn = sorted(once(chance.choices(range(rounds), k=rounds)) for _ in range(RESAMPLES))
    return Figure(once(range(rounds)), quantile(drawn, 0.025), quantile(drawn, 0.975))


def run(rounds: int, report: Callable[[str], None]) -> tuple[Blocks, Blocks]:
    """The blocks at one connection and at CONNECTIONS."""
    plugins = plugins_of((PROJECT / "kong" / "kong.yml").read_text())
    with (
        answering_envoy(BODY) as upstream,
        passing_envoy(upstream) as hop,
        own_edge(rate_limits=True) as own,
    ):
        own.load(rungs_file(plugins, upstream), {})
        names = [BARE, *(str(plugin["name"]) for plugin in plugins), ALL]
        edge_rungs = [Rung(name, own.port, _request(path_of(name))) for name in names]
        others = [Rung(DIRECT, upstream, _request("/")), Rung(HOP, hop, _request("/"))]

        def clock() -> float:
            return processor_seconds(own.process.pid)

        report("one connection")
        alone = measure([*others, *edge_rungs], 1, rounds, 100, clock)
        report(f"{CONNECTIONS} connections")
        return alone, measure(edge_rungs, CONNECTIONS, rounds, 1_000, clock)


def _request(path: str) -> bytes:
    headers = {"Accept": "application/json", "Origin": "http://localhost:3000"}
    return render_request("localhost", "GET", path, headers=headers)


def show(console: Console, alone: Blocks, many: Blocks) -> None:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("rung")
    titles = ("p50 ms", "added ms", f"edge µs each, {CONNECTIONS} connections", "of bare", "requests/s")
    for title in titles:
        table.add_column(title, justify="right")
    direct = p50(alone[DIRECT])
    for name, blocks in alone.items():
        row = [f"{p50(blocks) * 1000:.3f}", f"{(p50(blocks) - direct) * 1000:.3f}"]
        table.add_row(name, *row, *(_at_many(many, name) if name in many else ()))
    console.print(table)


def _at_many(many: Blocks, name: str) -> tuple[str, str, str]:
    blocks = many[name]
    clock = sum(len(block.seconds) for block in blocks) / sum(block.wall_seconds for block in blocks)
    rate = throughput(blocks)
    return f"{1e6 / rate:.1f}", f"{rate / throughput(many[BARE]):.2f}", f"{clock:,.0f}"


def goals(alone: Blocks, many: Blocks) -> list[tuple[str, Figure, str]]:
    """Each goal's line, figure and verdict."""
    share, addition = figure(kept, many), figure(added, alone)
    return [
        (
            f"throughput with all plugins, of the bare edge's, at {CONNECTIONS} connections, ≥ {LEAST_THROUGHPUT}",
            share,
            _verdict(share.value >= LEAST_THROUGHPUT, certain=not share.low < LEAST_THROUGHPUT <= share.high),
        ),
        (
            f"added p50 with all plugins, of a bare Envoy hop's, at one connection, ≤ {MOST_ADDED:g}",
            addition,
            _verdict(addition.value <= MOST_ADDED, certain=not addition.low <= MOST_ADDED < addition.high),
        ),
    ]


def _verdict(met: bool, *, certain: bool) -> str:
    return ("met" if met else "missed") + ("" if certain else ", within the noise")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.edge_cost", description="What the edge and each of its plugins cost."
    )
    parser.add_argument("--rounds", type=whole_number(2, 1_000), default=25, help="blocks of each rung (25)")
    options = parser.parse_args(arguments)
    console = table_console()
    try:
        settings = load_settings()
        quiet = is_quiet()
        with console.status("") as status:
            alone, many = run(options.rounds, status.update)
    except KeyboardInterrupt:
        print("bench: interrupted, nothing written", file=sys.stderr)
        return 130
    except (BenchmarkError, SettingsError, BadAnswerError, OSError) as exc:
        print(f"bench: {exc}", file=sys.stderr)
        return 1
    show(console, alone, many)
    judged = goals(alone, many)
    for line, found, verdict in judged:
        console.print(f"{line}: {found.value:.2f} ({found.low:.2f}–{found.high:.2f}), {verdict}")
    if not quiet:
        console.print("The machine was busy before the run; measure again when it is not.")
    path = write_result(settings, "edge-cost", as_result(alone, many, judged) | {"quiet": quiet})
    console.print(f"Written to {path}", soft_wrap=True)
    return 0


def as_result(alone: Blocks, many: Blocks, judged: Sequence[tuple[str, Figure, str]]) -> dict[str, object]:
    return {
        "p50_seconds_at_1": {name: p50(blocks) for name, blocks in alone.items()},
        "requests_per_edge_second_at_16": {name: throughput(blocks) for name, blocks in many.items()},
        "goals": [
            {"goal": line, "value": found.value, "low": found.low, "high": found.high, "verdict": verdict}
            for line, found, verdict in judged
        ],
    }


if __name__ == "__main__":
    sys.exit(main())
