"""A network of queues, event by event: first come, first served; the same seed, the same run."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import simpy

Process = Generator[simpy.Event, Any, None]


class Network:
    """Parts with so many servers each. A part may work on a host, whose processors it shares with others."""

    def __init__(self, servers: Mapping[str, int], seed: int, *, variation: float = 1.0) -> None:
        self.clock = simpy.Environment()
        self.chance = random.Random(seed)  # noqa: S311 - a simulation, which must be the same each time
        self.busy: dict[str, float] = defaultdict(float)
        """Seconds that servers of each part were taken."""
        self._at_last: tuple[float, Mapping[str, float]] = (0.0, {})
        """When the last visit came, and what was busy until then: after it the parts only run empty."""
        self._parts = {name: simpy.Resource(self.clock, count) for name, count in servers.items()}
        self._servers = dict(servers)
        self._sigma = math.sqrt(math.log(1 + variation**2))

    def draw(self, mean: float) -> float:
        """A lognormal time."""
        return self.chance.lognormvariate(math.log(mean) - self._sigma**2 / 2, self._sigma) if mean else 0.0

    @contextmanager
    def held(self, part: str) -> Iterator[simpy.Event]:
        """`yield` what this gives: from then on a server is taken, until the block ends."""
        asked = self._parts[part].request()
        try:
            yield asked
        finally:
            if asked.usage_since is not None:
                self.busy[part] += self.clock.now - asked.usage_since
            self._parts[part].release(asked)

    def serve(self, parts: list[str], seconds: float) -> Process:
        """Work of so many seconds that takes a server of each part, the first of them first."""
        if not parts:
            yield self.clock.timeout(seconds)
            return
        with self.held(parts[0]) as free:
            yield free
            yield from self.serve(parts[1:], seconds)

    def load(self, part: str) -> float:
        """The share of its servers' time that was taken while visits came."""
        seconds, busy = self._at_last
        return busy.get(part, 0.0) / (self._servers[part] * seconds) if seconds else 0.0

    def arrive(self, rate: float, count: int, visit: Callable[[int], Process]) -> None:
        """Run so many visits that arrive at random at `rate` a second, until the last has ended."""

        def source() -> Process:
            for number in range(count):
                yield self.clock.timeout(self.chance.expovariate(rate))
                self.clock.process(visit(number))
            self._at_last = (self.clock.now, dict(self.busy))

        self.clock.process(source())
        self.clock.run()
