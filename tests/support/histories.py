"""Checks whether what many clients were answered can have come about one after the other.

A history is a list of operations, each with the moments at which it was asked and answered.
It is linearizable if its operations can be put into one order that respects time (what was answered before
another was asked comes first) and in which a sequential model gives every answer that was given.
An operation that was never answered, or whose outcome is unknown, may come at any time after it was asked, or never.

The search is that of J. Wing and C. Gong ("Testing and Verifying Concurrent Objects", 1993) with G. Lowe's memory of
what was tried ("Testing for Linearizability", 2017), as in Jepsen's Knossos (`knossos.wgl`) and in Porcupine; objects
are checked one by one, since a history is linearizable if it is so for each object (M. Herlihy and J. Wing, 1990).
"""

from __future__ import annotations

import math
import threading
import time
from abc import ABC, abstractmethod
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from difflib import SequenceMatcher
from typing import Any

MOST_CONFIGURATIONS = 400_000
"""A search that has tried so many is given up. Deciding is NP-complete (P. Gibbons and E. Korach, 1997)."""
LONGEST_WINDOW = 60
LATEST_STATES = 30
SHOWN_STATES, SHOWN_BESIDE, SHOWN_STEPS = 3, 8, 4
BAR = 28
"""Characters of the axis of time in a counterexample."""

State = Any


class _Unknown:
    def __repr__(self) -> str:
        return "unknown"


UNKNOWN = _Unknown()
"""The answer of an operation of which nobody knows whether it was done."""


@dataclass(frozen=True)
class Operation:
    """What one client asked of one object, and what it was answered. Times are in seconds of one clock."""

    target: str
    kind: str
    arguments: tuple[Any, ...]
    answer: Any
    invoked: float
    answered: float = math.inf
    client: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {' '.join(map(str, self.arguments))}".rstrip()


class Model(ABC):
    """What one object does when it is asked one thing after the other. States can be hashed."""

    initial: State

    @abstractmethod
    def outcomes(
        self, state: State, kind: str, arguments: tuple[Any, ...]
    ) -> Iterable[tuple[Hashable, State]]:
        """Every answer that may be given in `state`, and the state after it."""

    def is_past(self, state: State, one: Operation) -> bool:
        """Whether `one` cannot be answered as it was, whatever comes after `state`; that saves the search much."""
        return False


class Undecided(Exception):
    """The search was given up: neither an order was found, nor that there is none."""


@dataclass
class Recorder:
    """Collects operations from many threads."""

    operations: list[Operation] = field(default_factory=list)
    clock: Callable[[], float] = time.monotonic

    @contextmanager
    def asking(self, target: str, kind: str, *arguments: Any) -> Iterator[Asked]:
        """Time what is asked in the block; it is recorded if it was answered, or its outcome is unknown."""
        asked = Asked()
        invoked = self.clock()
        yield asked
        answered = self.clock()
        if not asked.nothing_done:
            answered = math.inf if asked.answer is UNKNOWN else answered
            client = threading.current_thread().name
            self.operations.append(
                Operation(target, kind, arguments, asked.answer, invoked, answered, client)
            )


@dataclass
class Asked:
    """What became of one operation; unknown until somebody says otherwise."""

    answer: Any = UNKNOWN
    nothing_done: bool = False
    """It was refused for a reason that is none of the object's, such as a lock that was held for too long."""


@dataclass(frozen=True)
class Order:
    """Operations one after the other, and where they lead."""

    operations: Sequence[Operation]
    left: Sequence[Operation]
    """Those that are not among them, but for those of which nobody knows an answer."""
    state: State


@dataclass(frozen=True)
class Counterexample:
    """Answers that no order explains, in a form that can be read."""

    model: Model
    operations: Sequence[Operation]
    beside: Sequence[Operation]
    """What may have been done between them, or not at all; the search has tried both."""
    starts: Sequence[State]
    """What the object may have been before."""
    furthest: Order
    """The order of the whole history that explains the most."""

    def __str__(self) -> str:
        """Times are since the first of `operations` was asked."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        count = len(self.operations)
        answers = "this answer" if count == 1 else f"these {count} answers"
        yield f"{self.operations[0].target}: no order explains {answers}, whichever of these it was before:"
        yield f"  {_few(self.starts, SHOWN_STATES, '; ')}"
        yield from self._pictured(self.operations)
        if self.beside:
            yield "  not even with any of these between them:"
            yield from self._pictured(self.beside[:SHOWN_BESIDE])
        if len(self.beside) > SHOWN_BESIDE:
            yield f"  … and {len(self.beside) - SHOWN_BESIDE} more"
        last = [str(one) for one in self.furthest.operations[-SHOWN_STEPS:]]
        yield f"  The furthest order ends with {', '.join(last) or 'nothing'}, and leaves {self.furthest.state}; then"
        wrong = [one for one in self.furthest.left if one.answer not in self._answers(one)]
        for one in sorted(wrong, key=self._likeness, reverse=True)[:SHOWN_STATES]:
            yield f"    {one} is answered {self._would(one)}, and was answered {one.answer}"

    def _answers(self, one: Operation) -> list[Hashable]:
        outcomes = self.model.outcomes(self.furthest.state, one.kind, one.arguments)
        return [answer for answer, _ in outcomes]

    def _would(self, one: Operation) -> str:
        return " or ".join(map(str, self._answers(one)))

    def _likeness(self, one: Operation) -> float:
        """Of the answer that would be right and the one that was given: the most alike are shown, as of one slip."""
        return SequenceMatcher(None, self._would(one), str(one.answer)).ratio()

    def _pictured(self, operations: Sequence[Operation]) -> Iterator[str]:
        first = min(one.invoked for one in self.operations)
        last = max(one.answered for one in self.operations)
        scale = (BAR - 1) / max(last - first, 1e-9)
        for one in sorted(operations, key=lambda one: one.invoked):
            start = min(max(round((one.invoked - first) * scale), 0), BAR - 1)
            end = max(round((min(one.answered, last) - first) * scale), start)
            tail = "┄" if one.answered > last else "┤"
            bar = f"{' ' * start}├{'─' * (end - start)}{tail}"
            since = f"{(one.invoked - first) * 1000:8.1f} ms"
            yield f"  {since} {bar:{BAR + 1}} {one.client:10} {one} → {one.answer}"


def _few(things: Sequence[Any], most: int, joint: str) -> str:
    more = f"{joint}or one of {len(things) - most} more" if len(things) > most else ""
    return joint.join(map(str, things[:most])) + more


def refutations(model: Model, operations: Iterable[Operation]) -> list[Counterexample]:
    """A counterexample for each object whose history is not linearizable."""
    by_target: dict[str, list[Operation]] = defaultdict(list)
    for operation in operations:
        by_target[operation.target].append(operation)
    found = [refutation(model, history) for _, history in sorted(by_target.items())]
    return [one for one in found if one is not None]


def refutation(model: Model, history: Sequence[Operation]) -> Counterexample | None:
    """None if the history of one object is linearizable; otherwise where it first is not, as shortly as can be said."""
    if _Search(model, history, [model.initial]).succeeds():
        return None
    return _smallest_window(model, _shortest_prefix(model, history))


def _until(history: Sequence[Operation], moment: float) -> list[Operation]:
    """What was asked by `moment`. What was answered only later may not have been done by then."""
    return [
        one if one.answered <= moment else replace(one, answered=math.inf)
        for one in history
        if one.invoked <= moment
    ]


def _shortest_prefix(model: Model, history: Sequence[Operation]) -> list[Operation]:
    """The history until the first answer that makes it one that is not linearizable."""
    moments = sorted({one.answered for one in history if one.answered < math.inf})

    def is_refuted(moment: float) -> bool:
        return not _Search(model, _until(history, moment), [model.initial]).succeeds()

    return _until(history, moments[bisect_left(moments, True, hi=len(moments) - 1, key=is_refuted)])


def _smallest_window(model: Model, prefix: Sequence[Operation]) -> Counterexample:
    """The fewest last answers of `prefix` that cannot be ordered, whichever of its latest states the object was in before.

    What may lie between them in time is let help, done or not, so it does not matter that they are cut out.
    """
    whole = _Search(model, prefix, [model.initial])
    assert not whole.succeeds()
    states = whole.latest_states()
    answered = sorted((one for one in prefix if _must_be(one)), key=lambda one: one.answered)
    pending = sorted((one for one in prefix if not _must_be(one)), key=lambda one: -one.invoked)
    for count in range(1, min(len(answered), LONGEST_WINDOW)):
        window = answered[-count:]
        asked = min(one.invoked for one in window)
        overlapping = [replace(one, answered=math.inf) for one in answered[:-count] if one.answered >= asked]
        beside = overlapping + pending
        if _is_refuted(model, [*window, *beside], states):
            return Counterexample(model, window, beside, states, whole.furthest)
    return Counterexample(model, answered, pending, [model.initial], whole.furthest)


def _is_refuted(model: Model, operations: Sequence[Operation], starts: Sequence[State]) -> bool:
    try:
        return not _Search(model, operations, starts).succeeds()
    except Undecided:
        return False


class _Search:
    """Looks for an order of operations that begins in one of `starts`."""

    def __init__(self, model: Model, operations: Sequence[Operation], starts: Sequence[State]) -> None:
        self._model = model
        # Those answered first are tried first, which is near to how it was; what may never have been done, last.
        self._operations = sorted(operations, key=lambda one: (one.answered, one.invoked))
        self._required = sum(map(_must_be, self._operations))
        # Nothing at a place or after it, of what must be done, was asked before this.
        self._asked_from = [one.invoked for one in self._operations[: self._required]]
        for place in reversed(range(self._required - 1)):
            self._asked_from[place] = min(self._asked_from[place : place + 2])
        self._twins = _twins(self._operations, self._required)
        self._starts = starts
        self.tried: dict[tuple[int, State], None] = {}
        """What was done, as a set of bits, and the state that this led to; in the order in which they were tried."""
        self._most, self._best = -1, (0, starts[0], [-1])

    def succeeds(self) -> bool:
        """Whether there is such an order; raises Undecided when that would take too long."""
        return self._required == 0 or any(self._leads_on(start) for start in self._starts)

    def _leads_on(self, start: State) -> bool:
        """Depth first, without recursion: an order may be thousands of operations long."""
        all_required, path = (1 << self._required) - 1, [-1]
        levels = [self._next(0, start, path)]
        while levels:
            step = next(levels[-1], None)
            if step is None:
                levels.pop()
                path.pop()
                continue
            place, done, state = step
            if done & all_required == all_required:
                return True
            path.append(place)
            levels.append(self._next(done, state, path))
        return False

    def _next(self, done: int, state: State, path: list[int]) -> Iterator[tuple[int, int, State]]:
        """The places of what may come next, with what is then done and the state that this leads to."""
        if (done, state) in self.tried:
            return
        self.tried[done, state] = None
        if len(self.tried) > MOST_CONFIGURATIONS:
            raise Undecided(f"{len(self._operations)} operations, {len(self.tried)} configurations tried")
        self._note(done, state, path)
        awaited = (~done & (done + 1)).bit_length() - 1
        if self._model.is_past(state, self._operations[awaited]):
            return
        for place in self._possible(done, awaited):
            one = self._operations[place]
            for answer, after in self._model.outcomes(state, one.kind, one.arguments):
                changes_something = place < self._required or after != state
                if changes_something and (one.answer is UNKNOWN or one.answer == answer):
                    yield place, done | 1 << place, after

    def _possible(self, done: int, awaited: int) -> Iterator[int]:
        """What was asked before the answer that is `awaited`: the first to what must be done and is not yet."""
        first, undone, place = self._operations[awaited].answered, ~done >> awaited, awaited
        while place < self._required and self._asked_from[place] <= first:
            if undone & 1 and self._operations[place].invoked <= first:
                yield place
            place, undone = place + 1, undone >> 1
        for place in range(self._required, len(self._operations)):
            if self._operations[place].invoked > first:
                return
            twin = self._twins.get(place)
            if not done >> place & 1 and (twin is None or done >> twin & 1):
                yield place

    def _note(self, done: int, state: State, path: list[int]) -> None:
        count = (done & ((1 << self._required) - 1)).bit_count()
        if count > self._most:
            self._most, self._best = count, (done, state, path.copy())

    @property
    def furthest(self) -> Order:
        """The order found so far that has the most of what must be done."""
        done, state, path = self._best
        steps = [self._operations[place] for place in path[1:]]
        undone = [one for place, one in enumerate(self._operations) if not done >> place & 1]
        return Order(steps, [one for one in undone if one.answer is not UNKNOWN], state)

    def latest_states(self) -> list[State]:
        """The states after the most of what must be done."""
        required = (1 << self._required) - 1
        tried = sorted(self.tried, key=lambda one: (one[0] & required).bit_count(), reverse=True)
        return list(dict.fromkeys(state for _, state in tried))[:LATEST_STATES]


def _must_be(one: Operation) -> bool:
    return one.answered < math.inf


def _twins(operations: Sequence[Operation], required: int) -> dict[int, int]:
    """For what may never have been done: the place of the same asked before, which might as well come first."""
    latest: dict[Hashable, int] = {}
    found = {}
    for place, one in list(enumerate(operations))[required:]:
        key = (one.kind, one.arguments, one.answer)
        if key in latest:
            found[place] = latest[key]
        latest[key] = place
    return found
