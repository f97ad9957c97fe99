"""Whether the machine was ours: processor time taken by others, second by second, from /proc/stat."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

MOST_STEAL = 0.05
"""A run during which the hypervisor took more than this share of the processors is not to be trusted."""


@dataclass(frozen=True)
class Processors:
    """Processor time since boot, in ticks: all of it, what was idle, what the hypervisor took."""

    total: int
    idle: int
    steal: int

    @classmethod
    def now(cls) -> Processors:
        fields = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
        return cls(sum(fields), fields[3] + fields[4], fields[7])

    def busy_since(self, before: Processors) -> float:
        """The share of the time in which processors were not idle."""
        return 1 - (self.idle - before.idle) / max(1, self.total - before.total)

    def steal_since(self, before: Processors) -> float:
        return (self.steal - before.steal) / max(1, self.total - before.total)
