"""localfaas' own metrics, beside those of OpenFaaS' gateway: who can answer, what came back, what it all uses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import psutil
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from localfaas.settings import Settings
from localfaas.supervisor import restarts
from localfaas.usage import usage

Family = CounterMetricFamily | GaugeMetricFamily


@dataclass(frozen=True, eq=False)  # a registry keeps its collectors by identity
class Platform(Collector):
    """What is told: replicas that take traffic by function, and programs with their pids (0: not running)."""

    settings: Settings
    available: Mapping[str, int]
    programs: Mapping[str, int]

    def collect(self) -> Iterator[Family]:
        yield _gauge(
            "localfaas_replicas_available",
            "Replicas that take traffic.",
            ("function",),
            ((name, count) for name, count in self.available.items()),
        )
        counted = CounterMetricFamily(
            "localfaas_program_restarts",
            "Times that a program has come back since `up`.",
            labels=("program",),
        )
        for name in self.programs:
            counted.add_metric((name,), restarts(self.settings, name))
        yield counted
        yield from self._usage()
        yield from self._disk()

    def _usage(self) -> Iterator[Family]:
        found = usage({name: pid for name, pid in self.programs.items() if pid})
        spent = CounterMetricFamily(
            "localfaas_program_cpu_seconds",
            "Processor time of a program and its descendants.",
            labels=("program",),
        )
        for name, used in found.items():
            spent.add_metric((name,), used.cpu_seconds)
        yield spent
        yield _gauge(
            "localfaas_program_resident_bytes",
            "Memory of a program and its descendants; pages that they share count in each.",
            ("program",),
            ((name, used.resident_bytes) for name, used in found.items()),
        )

    def _disk(self) -> Iterator[Family]:
        disk = psutil.disk_usage(str(self.settings.state))
        for name, text, value in (
            ("free", "Bytes left to an ordinary user where the state directory is.", disk.free),
            ("size", "Size of the file system where the state directory is.", disk.total),
        ):
            yield GaugeMetricFamily(f"localfaas_disk_{name}_bytes", text, value=value)


def render(settings: Settings, available: Mapping[str, int], programs: Mapping[str, int]) -> str:
    """Prometheus text (0.0.4). It asks the kernel and the disk and nobody who might be busy."""
    registry = CollectorRegistry()
    registry.register(Platform(settings, available, programs))
    return generate_latest(registry).decode()


def _gauge(
    name: str, text: str, labels: tuple[str, ...], values: Iterable[tuple[str, float]]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=labels)
    for label, value in values:
        family.add_metric((label,), value)
    return family
