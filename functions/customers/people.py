"""Who asks, and what the running function has for them."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass

from flask import current_app

from functions.shared import Answer, Identity, Row, Unauthorized, current, etag, identity
from functions.shared.telemetry import current_trace

from . import store
from .guesses import Bucket
from .hashing import Hashing, Turn
from .routes import PRIVATE
from .session_store import Lifetimes
from .tokens import Signer


@dataclass(frozen=True)
class Limits:
    """How much, how often and how long; from the settings."""

    lifetimes: Lifetimes
    refresh_grace_seconds: float
    max_sessions: int
    max_addresses: int
    buckets: tuple[Bucket, ...]


@dataclass(frozen=True)
class Desk:
    """What signing in needs beside the database."""

    hashing: Hashing
    signer: Signer
    limits: Limits


def desk() -> Desk:
    found: Desk = current_app.extensions["desk"]
    return found


def password_turn() -> AbstractContextManager[Turn]:
    """A turn at hashing for this request, as a context manager; Unavailable (503 `busy`) when too many wait."""

    def seconds_left() -> float:
        trace = current_trace()
        return trace.seconds_left() if trace else 10.0

    return desk().hashing.turn(seconds_left)


def signed_in() -> tuple[Identity, Row]:
    """Who asks, and their account. Raises Unauthorized once the account or the session has ended, token or not."""
    who = identity()
    found = None
    if is_uuid(who.subject) and (who.session is None or is_uuid(who.session)):
        found = current().database.read(store.profile, who.subject, who.session)
    if found is None:
        raise ended()
    return who, found


def acting_staff() -> Identity:
    """Staff or hq that asks. Raises Unauthorized as `signed_in` does; a development token has neither session nor account."""
    who = identity()
    if who.session is not None:
        return signed_in()[0]
    if is_uuid(who.subject) and current().database.read(store.is_deactivated, who.subject):
        raise ended()
    return who


def ended() -> Unauthorized:
    return Unauthorized("The session or its account has ended; sign in again.", code="session_ended")


def is_uuid(text: str) -> bool:
    """Whether `text` is a UUID as tokens have them: 36 characters, lower case."""
    return len(text) == 36 and all(
        character == "-" if place in {8, 13, 18, 23} else character in "0123456789abcdef"
        for place, character in enumerate(text)
    )


def shown(row: Row, status: int = 200) -> Answer:
    """A profile with its entity tag."""
    return Answer(row, status, headers={**PRIVATE, "ETag": etag(row["version"])})
