"""Argon2id, one at a time on a thread of low priority, with few waiting: a flood of sign-ins must not slow reads.

Argon2 lets go of the interpreter while it computes, so the other threads answer meanwhile; Linux gives each thread
a priority of its own, so it computes in what the others leave.
"""

from __future__ import annotations

import logging
import os
import secrets
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError
from prometheus_client import Histogram

from functions.shared import Unavailable

HASH_SECONDS = Histogram(
    "customers_password_seconds",
    "Time that checking or hashing one password took, without waiting for its turn.",
    buckets=(0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
)

_log = logging.getLogger("magasin")

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Cost:
    """Parameters of Argon2id."""

    memory_kib: int
    iterations: int
    lanes: int


@dataclass(frozen=True)
class Verified:
    """Whether a password is the right one; `new_hash` is to be stored when the parameters have changed since."""

    matches: bool
    new_hash: str | None = None


class Hashing:
    """Hashes passwords, one at a time; `waiting` more may wait their turn."""

    def __init__(self, cost: Cost, waiting: int, nice: int) -> None:
        self._argon2 = PasswordHasher(
            time_cost=cost.iterations, memory_cost=cost.memory_kib, parallelism=cost.lanes
        )
        self._turns = threading.Semaphore(1 + waiting)
        self._worker = ThreadPoolExecutor(1, "passwords", initializer=lower_priority, initargs=(nice,))
        self._nobodys_hash = self._argon2.hash(secrets.token_hex())

    @contextmanager
    def turn(self, seconds_left: Callable[[], float]) -> Iterator[Turn]:
        """A turn for one request; raises Unavailable (503 `busy`) at once when too many wait already."""
        if not self._turns.acquire(blocking=False):
            raise _busy()
        try:
            yield Turn(self._worker, self._argon2, self._nobodys_hash, seconds_left)
        finally:
            self._turns.release()


@dataclass(frozen=True)
class Turn:
    """What a request may do once it is admitted; each raises Unavailable when its time is up."""

    _worker: ThreadPoolExecutor
    _argon2: PasswordHasher
    _nobodys_hash: str
    _seconds_left: Callable[[], float]

    def hash(self, password: str) -> str:
        """The hash of `password`, with its salt and parameters (PHC string format)."""
        return self._run(self._argon2.hash, password)

    def verify(self, stored: str | None, password: str) -> Verified:
        """Whether `password` is the one of `stored`. Without one it is never, after the same work."""
        matches = self._run(self._verify, stored or self._nobodys_hash, password)
        if stored is None or not matches:
            return Verified(False)
        outdated = self._argon2.check_needs_rehash(stored)
        return Verified(True, self.hash(password) if outdated else None)

    def _verify(self, stored: str, password: str) -> bool:
        try:
            return self._argon2.verify(stored, password)
        except VerifyMismatchError:
            return False
        except (VerificationError, InvalidHashError):
            _log.exception("a stored password hash cannot be used")
            return False

    def _run(self, work: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
        """`work` on the thread of low priority, and as little as can be beside it: when others take the processor
        from that thread, whoever wants to go on waits for the interpreter that it holds."""

        def timed() -> tuple[T, float]:
            began = time.perf_counter()
            return work(*given, **named), time.perf_counter() - began

        future = self._worker.submit(timed)
        try:
            result, seconds = future.result(timeout=max(0.0, self._seconds_left()))
        except TimeoutError:
            future.cancel()
            raise _busy() from None
        HASH_SECONDS.observe(seconds)
        return result


def lower_priority(nice: int) -> None:
    """Let this thread compute only in what threads of usual priority leave (setpriority(2): on Linux per thread)."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), nice)


def _busy() -> Unavailable:
    return Unavailable(
        "Too many are signing in right now; try again shortly.", code="busy", retry_after_seconds=2
    )
