"""What prometheus_client's registry says, in the words of a test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from prometheus_client import REGISTRY


def value(name: str, **labels: str) -> float:
    """The present value of one series; 0 when it is not there yet."""
    return REGISTRY.get_sample_value(name, labels) or 0.0


@dataclass
class Change:
    """How much a series has grown in the block; -1 inside of it."""

    by: float = -1


@contextmanager
def growth(name: str, **labels: str) -> Iterator[Change]:
    """Watch one series while the block runs."""
    before, change = value(name, **labels), Change()
    yield change
    change.by = value(name, **labels) - before
