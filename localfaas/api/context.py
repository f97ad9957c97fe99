"""What the API's routes work with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from localfaas.envoy import Address
from localfaas.gateway_metrics import counter_of
from localfaas.registry import Registry
from localfaas.settings import Settings


class Replica(Protocol):
    """One replica of a function."""

    @property
    def function(self) -> str: ...

    @property
    def name(self) -> str: ...

    @property
    def address(self) -> Address: ...


@dataclass(frozen=True)
class ApiContext:
    """The platform as the API sees it.

    `available(function)` is the number of replicas that take traffic, `replicas()` all that exist,
    `resolve_image(image)` the layout an image name stands for, or None. `invocation_counts` gives finished
    invocations by function name; by default the gateway Envoy's counters. `programs()` gives the pid of every program.
    """

    settings: Settings
    registry: Registry
    available: Callable[[str], int]
    replicas: Callable[[], Iterable[Replica]]
    resolve_image: Callable[[str], Path | None]
    invocation_counts: Callable[[], Mapping[str, int]] | None = None
    programs: Callable[[], Mapping[str, int]] = dict

    def counts(self) -> Mapping[str, int]:
        return (self.invocation_counts or counter_of(self.settings))()
