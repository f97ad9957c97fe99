"""Documents that a process left half-way: found, claimed one by one, and finished or undone by the function that owns them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import psycopg2
from prometheus_client import Counter, Gauge

from .claims import claimed
from .database import Connection
from .errors import Problem, Unavailable
from .statements import Row
from .telemetry import current_trace, said

FAILURES_PER_CALL = 3
"""After so many documents that could not be settled, the cause is not the document."""
LEAST_SECONDS = 0.5

_log = logging.getLogger("magasin")


@dataclass(frozen=True)
class Kind:
    """How documents of one kind are dealt with, each by its id (a UUID).

    `settle` finishes or undoes one that is claimed and says what became of it, or None when there was nothing to do;
    it raises when it cannot. `touch` notes the failure, so that others come first the next time.
    """

    settle: Callable[[Connection, str], str | None]
    touch: Callable[[Connection, str, str], None]


class Recovery:
    """Settles documents in batches; `find` reads up to so many that are unsettled, as `kind` and `document_id`."""

    def __init__(
        self,
        find: Callable[[Connection, int], list[Row]],
        kinds: Mapping[str, Kind],
        recovered: Counter,
        unsettled: Gauge,
    ) -> None:
        self._find = find
        self._kinds = kinds
        self._recovered = recovered
        self._unsettled = unsettled

    def recover(self, connection: Connection, limit: int) -> int:
        """Settle documents that nobody is working on; how many. Commits after each.

        Any number of these may run at once, and be killed. Raises Unavailable when some could not be settled;
        those come last the next time.
        """
        found = self._find(connection, limit)
        connection.commit()
        self._unsettled.set(len(found))
        settled = failures = 0
        for document in found:
            if failures >= FAILURES_PER_CALL or _time_is_up():
                break
            try:
                settled += self._settle(connection, document["kind"], document["document_id"])
            except Exception as error:  # a defect that one document meets must not keep the others back
                failures += 1
                self._note_failure(connection, document["kind"], document["document_id"], error)
        if failures:
            raise Unavailable(
                f"{failures} of {len(found)} documents could not be settled.", code="recovery_unfinished"
            )
        return settled

    def _settle(self, connection: Connection, kind: str, document_id: str) -> int:
        """1 when it was settled; 0 when somebody is working on it, or has settled it in the meantime."""
        with claimed(connection, document_id) as held:
            if not held:
                return 0
            outcome = self._kinds[kind].settle(connection, document_id)
            connection.commit()
        connection.commit()  # or a failure after the last one would roll back that the claim's timeout has ended
        if outcome is None:
            return 0
        self._recovered.labels(kind, outcome).inc()
        return 1

    def _note_failure(self, connection: Connection, kind: str, document_id: str, error: Exception) -> None:
        """A database that is away is not the document's fault."""
        if connection.closed:
            raise error
        connection.rollback()
        why = said(error.__cause__ or error)
        defect = not isinstance(error, (Problem, psycopg2.Error))
        _log.warning("%s %s could not be settled: %s", kind, document_id, why, exc_info=defect)
        self._recovered.labels(kind, "failed").inc()
        self._kinds[kind].touch(connection, document_id, why)
        connection.commit()


def _time_is_up() -> bool:
    trace = current_trace()
    return trace is not None and trace.seconds_left() < LEAST_SECONDS
