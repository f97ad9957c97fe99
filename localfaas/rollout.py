"""What to do next for one function: a pure decision from what is wanted and what is there.

A function's replicas sit in slots 1..5; slot 6 holds the extra replica of a rolling replacement.
Deploying starts the new generation in slot 6, and when it takes traffic replaces the other slots one by one:
never fewer replicas than wanted take traffic, and every slot keeps its port.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from localfaas.deployment import MAX_REPLICAS

SURGE_SLOT = MAX_REPLICAS + 1


class Phase(StrEnum):
    """A replica's life: starting → serving (its endpoint takes traffic) → leaving (drains, then stops)."""

    STARTING = "starting"
    SERVING = "serving"
    LEAVING = "leaving"


@dataclass(frozen=True)
class Replica:
    slot: int
    generation: str
    phase: Phase


@dataclass(frozen=True)
class Wanted:
    """A deployment's present generation and number of replicas (0 when the function was removed)."""

    generation: str
    replicas: int


@dataclass(frozen=True)
class Start:
    slot: int


@dataclass(frozen=True)
class Leave:
    slot: int


Action = Start | Leave


def plan(wanted: Wanted, replicas: Sequence[Replica]) -> list[Action]:
    """The actions that may be taken now; call again when something has changed. Nothing to do gives []."""
    by_slot = {replica.slot: replica for replica in replicas}
    slots = range(1, wanted.replicas + 1)
    actions: list[Action] = [Start(slot) for slot in slots if slot not in by_slot]
    actions += _leave([by_slot[slot] for slot in by_slot if wanted.replicas < slot <= MAX_REPLICAS])
    here = [by_slot[slot] for slot in slots if slot in by_slot]
    outdated = [replica for replica in here if replica.generation != wanted.generation]
    surge = by_slot.get(SURGE_SLOT)
    if outdated:
        return actions + _replace_one(wanted, outdated, here, surge, settled=not actions)
    if surge and (wanted.replicas == 0 or _all_serving(here, wanted)):
        actions += _leave([surge])
    return actions


def _replace_one(
    wanted: Wanted, outdated: Sequence[Replica], here: Sequence[Replica], surge: Replica | None, settled: bool
) -> list[Action]:
    """One step of a rolling replacement; a replica that never served is replaced without ceremony."""
    broken = [replica for replica in outdated if replica.phase is Phase.STARTING]
    if broken:
        return _leave(broken)
    if surge is None:
        return [Start(SURGE_SLOT)]
    if surge.generation != wanted.generation:
        # Of a deployment that another one has overtaken: it may be the only one that serves.
        needed = surge.phase is Phase.SERVING and not _all_serving(here, wanted)
        return [] if needed else _leave([surge])
    changing = any(replica.phase is not Phase.SERVING for replica in here)
    if surge.phase is not Phase.SERVING or changing or not settled:
        return []
    return _leave([min(outdated, key=lambda replica: replica.slot)])


def _all_serving(here: Sequence[Replica], wanted: Wanted) -> bool:
    return len(here) == wanted.replicas and all(replica.phase is Phase.SERVING for replica in here)


def _leave(replicas: Sequence[Replica]) -> list[Action]:
    return [Leave(replica.slot) for replica in replicas if replica.phase is not Phase.LEAVING]
