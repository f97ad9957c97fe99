"""What a rule set makes of a load: requests, scrapes, evaluations, notices and replicas, event by event.

Pure and seeded: the same load, service times, rules and seed give the same trajectory. One function, alone.
Replicas serve first come, first served, `threads` at once; the gateway asks the one with the fewest requests.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from tests.experiments.autoscale.rule_sets import AlertRule, RuleSet, Scrape
from tests.experiments.autoscale.shapes import Shape
from tests.experiments.autoscale.trajectory import Request, Trajectory

NOTICE_SECONDS = (0.004, 0.014)
"""From a group's turn until the gateway has scaled and Alertmanager has noted it; it repeats from then on."""
DRIFT_SECONDS = 0.006
"""How much later than its interval a group's turn comes, at most.

A turn that falls on the repeat interval itself may so count or not: with OpenFaaS CE's 30 s, real Alertmanagers
(0.25) repeated after 30 s at some times and after 40 s at others.
"""
CLEANING_SECONDS = 30.0
"""How often Alertmanager forgets groups without alerts; a group that it still knows waits for its next turn."""


@dataclass(frozen=True)
class Function:
    """A function and its platform. Service times are lognormal with this mean and coefficient of variation."""

    mean_seconds: float = 0.05
    variation: float = 0.5
    threads: int = 1
    max_inflight: int = 64
    minimum: int = 1
    maximum: int = 5
    step: int = 1
    start_seconds: float = 1.5
    scrape_interval: float = 5.0
    hop_seconds: float = 0.003

    def draw(self, chance: random.Random) -> float:
        """One service time."""
        sigma = math.sqrt(math.log(1 + self.variation**2))
        return chance.lognormvariate(math.log(self.mean_seconds) - sigma**2 / 2, sigma)


def simulate(
    shape: Shape, function: Function, rules: RuleSet | None, seed: int, replicas: int = 1
) -> Trajectory:
    """The trajectory of one run; without rules the count stays at `replicas`.

    Scrapes and evaluations begin at a random phase, as they do on a real machine, where it is a matter of the
    names of jobs and groups.
    """
    return _Run(shape, function, rules, random.Random(seed), replicas).run()


@dataclass
class _Replica:
    waiting: deque[tuple[float, float]] = field(default_factory=deque)
    busy: int = 0
    leaving: bool = False

    @property
    def load(self) -> int:
        return self.busy + len(self.waiting)


@dataclass
class _AlertState:
    """One alert in Prometheus and its group in Alertmanager."""

    rule: AlertRule
    pending_since: float | None = None
    firing: bool = False
    last_true: float = -math.inf
    has_group: bool = False
    told: bool = False
    told_at: float = -math.inf


class _Run:
    def __init__(
        self, shape: Shape, function: Function, rules: RuleSet | None, chance: random.Random, replicas: int
    ) -> None:
        self._shape, self._function, self._rules, self._chance = shape, function, rules, chance
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._now = 0.0
        self._wanted = replicas
        self._replicas = [_Replica() for _ in range(replicas)]
        self._starting = 0
        self._seen: list[Scrape] = []
        self._counts = Scrape(0.0)
        self._started = self._ok = self._finished = self._waited = 0
        self._busy_seconds = 0.0
        self._alerts = [_AlertState(rule) for rule in rules.alerts] if rules else []
        self._result = Trajectory(
            shape.name, rules.name if rules else "fixed", [], [(0.0, replicas)], [(0.0, replicas)], []
        )

    def run(self) -> Trajectory:
        self._at(0.0, self._arrive)
        self._at(self._chance.uniform(0, self._function.scrape_interval), self._scrape)
        if self._rules:
            self._at(self._chance.uniform(0, self._rules.evaluation_interval), self._evaluate)
        self._at(CLEANING_SECONDS * self._chance.random(), self._clean)
        while self._events:
            self._now, _, action = heapq.heappop(self._events)
            if self._now > self._shape.duration:
                break
            action()
        return self._result

    def _at(self, moment: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._events, (moment, next(self._order), action))

    # Requests

    def _arrive(self) -> None:
        """One arrival, and the next: a Poisson process whose rate follows the shape."""
        rate = self._shape.rate(self._now)
        self._at(self._now + self._chance.expovariate(max(rate, 0.01)), self._arrive)
        self._started += 1
        if sum(replica.load for replica in self._replicas) >= self._function.max_inflight * self._wanted:
            self._result.requests.append(
                Request(self._now + self._function.hop_seconds, self._function.hop_seconds, 429)
            )
            return
        serving = [replica for replica in self._replicas if not replica.leaving]
        least = min(replica.load for replica in serving)
        replica = self._chance.choice([one for one in serving if one.load == least])
        replica.waiting.append((self._now, self._function.draw(self._chance)))
        self._work(replica)

    def _work(self, replica: _Replica) -> None:
        while replica.waiting and replica.busy < self._function.threads:
            arrived, service = replica.waiting.popleft()
            replica.busy += 1
            self._waited += self._now - arrived > 0.2
            self._at(self._now + service, partial(self._finish, replica, arrived, service))

    def _finish(self, replica: _Replica, arrived: float, service: float) -> None:
        replica.busy -= 1
        self._finished += 1
        self._ok += 1
        self._busy_seconds += service
        self._result.requests.append(
            Request(self._now, self._now - arrived + self._function.hop_seconds, 200)
        )
        self._work(replica)
        if replica.leaving and not replica.load:
            self._replicas.remove(replica)

    # Replicas

    def _scale(self, replicas: int) -> None:
        if replicas == self._wanted:
            return
        for _ in range(replicas - self._wanted):
            self._at(self._now + self._function.start_seconds * self._chance.uniform(0.8, 1.4), self._join)
        self._wanted = replicas
        self._result.wanted.append((self._now, replicas))
        self._leave()

    def _join(self) -> None:
        if self._serving() < self._wanted:
            self._replicas.append(_Replica())
            self._result.ready.append((self._now, self._serving()))

    def _leave(self) -> None:
        """The youngest replicas above the wanted number take no more requests, and finish those that they have."""
        surplus = self._serving() - self._wanted
        if surplus <= 0:
            return
        for replica in [one for one in self._replicas if not one.leaving][-surplus:]:
            replica.leaving = True
            if not replica.load:
                self._replicas.remove(replica)
        self._result.ready.append((self._now, self._serving()))

    def _serving(self) -> int:
        return sum(not replica.leaving for replica in self._replicas)

    # Prometheus

    def _scrape(self) -> None:
        self._at(self._now + self._function.scrape_interval, self._scrape)
        self._seen.append(
            Scrape(
                self._now,
                self._started,
                self._ok,
                self._finished,
                self._busy_seconds,
                self._waited,
                self._wanted,
            )
        )

    def _evaluate(self) -> None:
        assert self._rules is not None
        self._at(self._now + self._rules.evaluation_interval, self._evaluate)
        for alert in self._alerts:
            was = alert.firing
            self._judge(alert)
            if alert.firing and not was:
                self._receive(alert)
            if alert.firing != was:
                self._result.alerts.append((self._now, alert.rule.name, alert.firing))

    def _judge(self, alert: _AlertState) -> None:
        """Pending, firing and kept firing, as Prometheus goes from one to the next."""
        if alert.rule.condition(self._seen, self._now, alert.firing):
            alert.last_true = self._now
            since = alert.pending_since = self._now if alert.pending_since is None else alert.pending_since
            alert.firing = alert.firing or self._now - since >= alert.rule.lasts
            return
        alert.pending_since = None
        if alert.firing and self._now - alert.last_true >= alert.rule.keep:
            alert.firing = False

    # Alertmanager

    def _receive(self, alert: _AlertState) -> None:
        if not alert.has_group:
            alert.has_group = True
            self._at(self._now + alert.rule.route.wait, lambda: self._flush(alert))

    def _flush(self, alert: _AlertState) -> None:
        """A group's turn: tell of what is new, of what is over, and again after the repeat interval."""
        if not alert.has_group:
            return
        route, noted = alert.rule.route, self._now + self._chance.uniform(*NOTICE_SECONDS)
        self._at(
            self._now + route.interval + self._chance.uniform(0, DRIFT_SECONDS), lambda: self._flush(alert)
        )
        if alert.firing and (not alert.told or self._now - alert.told_at > route.repeat):
            alert.told, alert.told_at = True, noted
            self._at(noted, self._step_up)
        elif not alert.firing and alert.told:
            alert.told = False
            if route.tells_end:
                self._at(noted, lambda: self._scale(self._function.minimum))

    def _step_up(self) -> None:
        self._scale(min(self._wanted + self._function.step, self._function.maximum))

    def _clean(self) -> None:
        self._at(self._now + CLEANING_SECONDS, self._clean)
        for alert in self._alerts:
            if not alert.firing and not alert.told:
                alert.has_group = False
