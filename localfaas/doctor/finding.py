"""What a check answers: findings, each well, wrong with what to do next, or not looked at and why."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    WELL = "well"
    WRONG = "wrong"
    NOT_LOOKED_AT = "not looked at"


@dataclass(frozen=True)
class Finding:
    """One row of the table; `remedy` says what to do next, and only something wrong has one."""

    state: State
    found: str
    remedy: str = ""


class NotLookedAt(Exception):
    """What a check needs is not there; the message says what, and whatever is wrong with that is another check's."""


def well(found: str) -> Finding:
    return Finding(State.WELL, found)


def wrong(found: str, remedy: str) -> Finding:
    return Finding(State.WRONG, found, remedy)


def verdict(faults: Iterable[Finding], otherwise: str) -> list[Finding]:
    """The faults; without any, that all is well."""
    return list(faults) or [well(otherwise)]


def shortened(items: Iterable[str], most: int = 3) -> str:
    """`a; b; c; and 4 more`."""
    every = list(items)
    more = [f"and {len(every) - most} more"] if len(every) > most else []
    return "; ".join([*every[:most], *more])
