"""Visits to a plan, simulated: each request through edge, gateway, functions and database, waiting where others are first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from deploy.way_up.measured import Measured
from deploy.way_up.network import Network, Process
from deploy.way_up.plans import Plan
from deploy.way_up.shop import Call, Shop

LOOKING_SECONDS, BUYING_SECONDS = 0.1, 1.0
"""What feels immediate, and what does not interrupt a thought: the bounds of the experiment `capacity`."""
FULL = 0.9
WARM_UP = 0.1
"""Of the visits, the first, which find everything idle."""


@dataclass(frozen=True)
class Run:
    """What came of one plan under one rate of visits."""

    plan: Plan
    rate: float
    looking: list[float]
    """Seconds of each request of visitors, in order, but for purchases."""
    buying: list[float]
    loads: Mapping[str, float]

    @property
    def fullest(self) -> str:
        """The part that worked the most; threads only where they are what is short.

        A thread is held while its request waits for others, so threads are full wherever anything is.
        """
        everything = sorted(self.loads, key=lambda part: self.loads[part], reverse=True)
        working = next(part for part in everything if not part.startswith("threads of "))
        short_of_threads = self.loads[everything[0]] > FULL > self.loads[working]
        return everything[0] if short_of_threads else working

    @property
    def borne(self) -> bool:
        return (
            quantile(self.looking, 0.99) <= LOOKING_SECONDS and quantile(self.buying, 0.99) <= BUYING_SECONDS
        )


def quantile(values: list[float], share: float) -> float:
    """The smallest value that so many are not above."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def simulate(plan: Plan, shop: Shop, measured: Measured, rate: float, *, visits: int, seed: int) -> Run:
    """The first `visits` at `rate` a second. Deterministic."""
    return _Simulation(plan, shop, measured, rate=rate, visits=visits, seed=seed).run()


class _Simulation:
    def __init__(
        self, plan: Plan, shop: Shop, measured: Measured, *, rate: float, visits: int, seed: int
    ) -> None:
        self._plan, self._shop, self._measured, self._rate, self._visits = plan, shop, measured, rate, visits
        self._network = Network(servers(plan), seed, variation=measured.variation)
        self._looking: list[float] = []
        self._buying: list[float] = []

    def run(self) -> Run:
        network = self._network
        network.arrive(self._rate, self._visits, self._visit)
        loads = {part: network.load(part) for part in servers(self._plan)}
        return Run(self._plan, self._rate, self._looking, self._buying, loads)

    def _visit(self, number: int) -> Process:
        kinds = list(self._shop.visits)
        [kind] = self._network.chance.choices(kinds, [share for share, _ in self._shop.visits.values()])
        # What one visit touches is of one store: with the stock and the orders of stores apart, of one database.
        shard = self._network.chance.randrange(self._plan.shards)
        for request in self._shop.visits[kind][1]:
            began = self._network.clock.now
            yield from self._work("edge", self._shop.edge)
            yield from self._call(request, shard)
            if number >= self._visits * WARM_UP and kind != "report":
                times = self._buying if request.function == "checkout" else self._looking
                times.append(self._network.clock.now - began)

    def _call(self, call: Call, shard: int) -> Process:
        """A thread waits for all that its request needs; the gateway keeps none."""
        if not call.direct:
            yield from self._work("gateway", self._shop.gateway)
        with self._network.held(f"threads of {call.function}") as free:
            yield free
            yield from self._work(f"replicas of {call.function}", call.cpu)
            for below in call.calls:
                yield from self._call(below, shard)
            yield from self._database(call, shard)

    def _database(self, call: Call, shard: int) -> Process:
        copies = call.reads and self._plan.read_cores
        yield from self._work("copies of the database" if copies else f"database {shard}", call.database)
        if call.one_row and self._network.chance.random() < self._measured.most_wanted:
            yield from self._network.serve([f"one row {shard}"], self._measured.one_row)
        for _ in range(call.commits):
            yield self._network.clock.timeout(self._network.draw(self._measured.commit))

    def _work(self, part: str, seconds: float) -> Process:
        host = _host(self._plan, part)
        yield from self._network.serve([part, host] if host else [part], self._network.draw(seconds))


def servers(plan: Plan) -> dict[str, int]:
    """The parts of a plan, and how many servers each has."""
    found = {"edge": plan.edge, "gateway": plan.gateway}
    for name, count in plan.replicas.items():
        found[f"replicas of {name}"] = count
        found[f"threads of {name}"] = count * plan.threads[name]
    for shard in range(plan.shards):
        found[f"database {shard}"] = plan.function_cores if plan.shared else plan.database_cores
        found[f"one row {shard}"] = 1
    if plan.read_cores:
        found["copies of the database"] = plan.read_cores
    found["processors" if plan.shared else "functions' processors"] = plan.function_cores
    return found


def _host(plan: Plan, part: str) -> str | None:
    if plan.shared:
        return "processors"
    return "functions' processors" if part.startswith("replicas of ") else None
