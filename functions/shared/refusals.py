"""Database refusals in the shop's words: the one place that translates them, by constraint name."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import psycopg2
import psycopg2.errors
import psycopg2.extensions

from .database import DATABASE_AWAY
from .errors import Conflict, Invalid, Problem, Unavailable

Refusals = Mapping[str, Problem]
"""Constraint name to the problem that tells a client what it guards."""

_log = logging.getLogger("magasin")


def translate(error: psycopg2.Error, refusals: Refusals) -> Problem | None:
    """The problem that `error` is for a client; None when it is a defect of ours."""
    if isinstance(error, psycopg2.IntegrityError):
        return _constraint(error, refusals)
    if isinstance(error, psycopg2.DataError):
        return Invalid("A value is outside of what can be stored.", code="out_of_range")
    for kind, detail, code in _PASSING:
        if isinstance(error, kind):
            return Unavailable(detail, code=code)
    return None


_PASSING: tuple[tuple[type[psycopg2.Error], str, str], ...] = (
    (psycopg2.errors.QueryCanceled, "The database took too long.", "database_slow"),
    (psycopg2.errors.LockNotAvailable, "Others are changing the same thing; try again.", "database_busy"),
    (
        psycopg2.extensions.TransactionRollbackError,
        "Another change got in the way; try again.",
        "database_busy",
    ),
    (psycopg2.errors.ReadOnlySqlTransaction, DATABASE_AWAY, "database_unavailable"),
    (psycopg2.OperationalError, DATABASE_AWAY, "database_unavailable"),
    (psycopg2.InterfaceError, DATABASE_AWAY, "database_unavailable"),
)
"""The first that fits: special ones before the classes that they derive from."""


def _constraint(error: psycopg2.IntegrityError, refusals: Refusals) -> Problem:
    name = error.diag.constraint_name or error.diag.column_name or ""
    known = refusals.get(name)
    if known is not None:
        return type(known)(known.detail, code=known.code, errors=known.errors)
    _log.error("constraint without a translation", extra={"constraint": name})
    return Conflict(f"The change breaks the rule {name}.", code="refused")
