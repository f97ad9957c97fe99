"""How much of each part a visit uses on average, and at which rate a plan's parts are full (the utilisation law)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deploy.way_up.measured import Measured
from deploy.way_up.shop import Call, Shop

if TYPE_CHECKING:
    from deploy.way_up.plans import Plan


@dataclass(frozen=True)
class Demand:
    """Seconds of each part for one visit."""

    edge: float
    gateway: float
    interpreter: Mapping[str, float]
    """By function; a replica runs one thread at a time."""
    threads: Mapping[str, float]
    """By function, how long its threads are held when nobody waits."""
    database: float
    reads: float
    """Of `database`, what changes nothing."""
    commits: float
    """How many transactions wait for the disk."""
    one_row: float
    """How long the most wanted product's row is locked."""


def demand(shop: Shop, measured: Measured) -> Demand:
    edge = gateway = database = reads = commits = row = 0.0
    interpreter: dict[str, float] = defaultdict(float)
    threads: dict[str, float] = defaultdict(float)
    for share, request in _requests(shop):
        edge += share * shop.edge
        for call in request.whole():
            gateway += 0.0 if call.direct else share * shop.gateway
            interpreter[call.function] += share * call.cpu
            threads[call.function] += share * held(call, shop, measured)
            database += share * call.database
            reads += share * call.database * call.reads
            commits += share * call.commits
            row += share * call.one_row * measured.most_wanted * measured.one_row
    return Demand(edge, gateway, interpreter, threads, database, reads, commits, row)


def held(call: Call, shop: Shop, measured: Measured) -> float:
    """How long a call keeps its thread: its own work, its commits, and the calls that it waits for."""
    below = sum(held(one, shop, measured) + shop.gateway for one in call.calls)
    return call.cpu + call.database + call.commits * measured.commit + below


def _requests(shop: Shop) -> Iterator[tuple[float, Call]]:
    for share, requests in shop.visits.values():
        for request in requests:
            yield share, request


def full_at(plan: Plan, needed: Demand) -> dict[str, float]:
    """Visits a second at which each part has no time left; the lowest is what breaks first."""
    functions = sum(needed.interpreter.values())
    primary = needed.database - (needed.reads if plan.read_cores else 0)
    found = {
        "one row": plan.shards / needed.one_row,
        **{
            f"replicas of {name}": plan.replicas[name] / seconds
            for name, seconds in needed.interpreter.items()
            if seconds
        },
        **{
            f"threads of {name}": plan.replicas[name] * plan.threads[name] / seconds
            for name, seconds in needed.threads.items()
            if seconds
        },
    }
    if plan.shared:
        everything = needed.edge + needed.gateway + functions + needed.database
        return {"processors": plan.function_cores / everything, "edge": 1 / needed.edge, **found}
    return {
        "edge": plan.edge / needed.edge,
        "gateway": plan.gateway / needed.gateway,
        "functions' processors": plan.function_cores / functions,
        "database": plan.shards * plan.database_cores / primary,
        **({"copies of the database": plan.read_cores / needed.reads} if plan.read_cores else {}),
        **found,
    }
