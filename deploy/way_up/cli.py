"""`python -m deploy.way_up`: where each plan is full, what a simulation of it says at each load, and what it costs."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from deploy.way_up import measured as figures
from deploy.way_up import plans
from deploy.way_up.demand import Demand, demand, full_at
from deploy.way_up.measured import Measured
from deploy.way_up.plans import Plan
from deploy.way_up.shop import Shop, shop
from deploy.way_up.simulation import Run, quantile, simulate
from localfaas.stack import Stack, load_stack

PROJECT = Path(__file__).resolve().parents[2]
FACTORS = (1, 10, 100, 1000)
ONCE = 10.0
"""Visits a second that are called 1×: half an order a second, 43,000 a day."""
CORE_PRICE = 0.04
"""Dollars an hour for a virtual processor with its memory: an assumption, `--core-price` has another."""
HOURS = 730
SHOWN = 4
FEWEST_VISITS = 100
LARGEST_CORES = 64
"""Of one database server that is easily had."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _parser()
    given = parser.parse_args(arguments)
    if given.visits < FEWEST_VISITS:
        parser.error(f"of fewer than {FEWEST_VISITS} visits none may buy")
    if given.take:
        _take(given.take, given.measured)
        return 0
    known = figures.load(given.measured)
    visits = shop(known)
    needed = demand(visits, known)
    ways = all_plans(load_stack(PROJECT / "stack.yml", {}), needed, given.once)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 150)
    console.print(a_visit(needed, given.once))
    console.print(where_full(ways, needed, given.once))
    console.print(prices(ways, known, given.core_price))
    console.print(simulated(ways, visits, known, given))
    if given.plot:
        from deploy.way_up.plot import draw  # noqa: PLC0415 - takes a second that tables need not wait for

        draw(given.plot, ways, visits, known, once=given.once, seed=given.seed)
    return 0


def all_plans(stack: Stack, needed: Demand, once: float) -> list[Plan]:
    """From one node to many; those that a load is chosen for are chosen for 100× and 1,000×."""
    return [
        plans.one_machine(stack),
        plans.community(stack),
        plans.sized("copies that read", stack, needed, once * 1000, read=True),
        plans.sized("stores apart", stack, needed, once * 1000, shards=4, read=True),
    ]


def a_visit(needed: Demand, once: float) -> Table:
    """What one takes on average, and when the largest database that can be bought is full of it."""
    made = _table("A visit", "what", "value")
    parts = {
        "edge": needed.edge,
        "gateway": needed.gateway,
        "functions": sum(needed.interpreter.values()),
        "database, reads": needed.reads,
        "database, the rest": needed.database - needed.reads,
    }
    for name, seconds in parts.items():
        made.add_row(f"processor, {name}", f"{seconds * 1000:.2f} ms")
    made.add_row("commits", f"{needed.commits:.2f}")
    for what, seconds in (("all", needed.database), ("all but reads", needed.database - needed.reads)):
        rate = LARGEST_CORES / seconds
        made.add_row(
            f"{LARGEST_CORES} processors are full of {what}", f"{rate:,.0f} visits/s ({rate / once:,.0f}×)"
        )
    return made


def where_full(ways: Sequence[Plan], needed: Demand, once: float) -> Table:
    made = _table("Full at so many visits a second, by plan (utilisation law)", "plan", "first", "then")
    for plan in ways:
        order = sorted(full_at(plan, needed).items(), key=lambda item: item[1])[:SHOWN]
        texts = [f"{part} {rate:,.0f} ({rate / once:,.0f}×)" for part, rate in order]
        made.add_row(plan.name, texts[0], "; ".join(texts[1:]))
    return made


def prices(ways: Sequence[Plan], known: Measured, core_price: float) -> Table:
    made = _table(
        f"What each takes, at {core_price:g} $ for a processor and hour",
        "plan", "processors", "memory GB", "replicas", "most of one function", "edges", "gateways", "database processors", "connections", "$ a month",
    )  # fmt: skip
    for plan in ways:
        databases = f"{plan.shards} × {plan.database_cores or plan.function_cores}"
        made.add_row(
            plan.name,
            f"{plan.cores:,}",
            f"{plan.gigabytes(known.replica_bytes):,.0f}",
            f"{sum(plan.replicas.values()):,}",
            f"{max(plan.replicas.values()):,}",
            f"{plan.edge}",
            f"{plan.gateway}",
            databases + (f" + {plan.read_cores}" if plan.read_cores else ""),
            f"{plan.connections:,}",
            f"{plan.cores * core_price * HOURS:,.0f}",
        )
    return made


def simulated(ways: Sequence[Plan], visits: Shop, known: Measured, given: argparse.Namespace) -> Table:
    made = _table(
        f"Simulated, {given.visits:,} visits, seed {given.seed}",
        "plan", "load", "looking p50, p99 ms", "buying p50, p99 ms", "borne", "fullest part",
    )  # fmt: skip
    for plan in ways:
        for factor in FACTORS:
            run = simulate(plan, visits, known, given.once * factor, visits=given.visits, seed=given.seed)
            made.add_row(
                plan.name, f"{factor:,}×", _times(run.looking), _times(run.buying), "yes" if run.borne else "no",
                _fullest(run),
            )  # fmt: skip
            if not run.borne:
                break
    return made


def _fullest(run: Run) -> str:
    return f"{run.fullest} {run.loads[run.fullest]:.0%}"


def _times(seconds: list[float]) -> str:
    return f"{quantile(seconds, 0.5) * 1000:,.1f}, {quantile(seconds, 0.99) * 1000:,.1f}"


def _table(title: str, *columns: str) -> Table:
    made = Table(title=title, title_justify="left", box=None, header_style="bold", pad_edge=False)
    for column in columns:
        made.add_column(column)
    return made


def _take(result: Path, file: Path) -> None:
    content = figures.take(
        json.loads(file.read_text()), json.loads(result.read_text()), f"make experiment name=capacity, {result.parent.name}"
    )  # fmt: skip
    figures.of(content)
    file.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deploy.way_up", description=__doc__)
    parser.add_argument("--measured", type=Path, default=figures.FILE, help="the figures (%(default)s)")
    parser.add_argument(
        "--take", type=Path, metavar="RESULT", help="put a capacity run's result.json into them, and no more"
    )
    parser.add_argument("--once", type=float, default=ONCE, help="visits a second that are 1× (%(default)s)")
    parser.add_argument("--visits", type=int, default=4000, help="to simulate, each time (%(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--core-price", type=float, default=CORE_PRICE)
    parser.add_argument("--plot", type=Path, help="draw p99 over the load into this file")
    return parser
