"""What a running function has: its settings, and the database, tokens and client that they make possible."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import psycopg2
from flask import Flask, current_app, request

from . import errors
from .api import Api
from .auth import PUBLIC_KEYS_FILE, Identity, ServiceTokens, TokenVerifier, bearer_token
from .database import Database
from .settings import DatabaseSettings, FunctionSettings, ServiceKeySettings, TokenSettings
from .statements import fetch_one
from .telemetry import REHEARSAL
from .warmth import Warmth, rehearse

if TYPE_CHECKING:
    from .client import ServiceClient

S = TypeVar("S", bound=FunctionSettings)


class Service:
    """What a running function has: its settings, and what they make possible."""

    def __init__(self, api: Api, settings: FunctionSettings) -> None:
        self.api = api
        self._settings = settings
        self._database = _database(api.name, settings)
        self._verifier = _verifier(settings)
        self._client = _client(api.name, settings)

    def settings(self, kind: type[S]) -> S:
        """The settings, as the dataclass that the function was created with."""
        return cast(S, self._settings)

    @property
    def replica(self) -> str:
        return self._settings.replica

    @property
    def database(self) -> Database:
        """Needs DatabaseSettings."""
        return _present(self._database, DatabaseSettings)

    @property
    def database_if_any(self) -> Database | None:
        return self._database

    @property
    def client(self) -> ServiceClient:
        """Needs ServiceKeySettings."""
        return _present(self._client, ServiceKeySettings)

    def identity(self) -> Identity | None:
        """Who asks: None without an Authorization header; raises Unauthorized for a token that fails.

        Needs TokenSettings.
        """
        if REHEARSAL in request.environ:
            return cast(Identity, request.environ[REHEARSAL])
        token = bearer_token(request.headers.get("Authorization"))
        return None if token is None else self.verifier.verify(token)

    @property
    def verifier(self) -> TokenVerifier:
        """Needs TokenSettings."""
        return _present(self._verifier, TokenSettings)

    def rehearse_tokens(self) -> None:
        if self._verifier:
            self._verifier.rehearse()

    def ready(self) -> str | None:
        """None when requests can be answered, otherwise the sentence that says what is missing."""
        if self._database is None:
            return None
        try:
            applied = self._database.read(_applied, self.api.migration)
        except (errors.Unavailable, psycopg2.Error):
            return "the database cannot be reached"
        return None if applied else f"migration {self.api.migration} is not applied"


class FunctionApp(Flask):
    """A Flask application that the template can ask whether it is ready."""

    service: Service
    warmth: Warmth | None = None

    def ready(self) -> str | None:
        """Warm up once more, if connections were lost; a pool that cannot be filled again keeps nobody from being served."""
        fault = self.service.ready()
        if fault is None and self.warmth:
            self.warmth.restore()
        return fault

    def warm_up(self) -> None:
        """Be warm from now on, unless the setting `warm_up` says otherwise; the template calls this before it listens."""
        settings = self.service.settings(FunctionSettings)
        if settings.warm_up:
            self.warmth = Warmth(self._rehearse, self.service.database_if_any, settings.threads)
            self.warmth.keep()

    def _rehearse(self) -> None:
        self.service.rehearse_tokens()
        rehearse(self, self.service.api.warm_up)


def current() -> Service:
    """The service whose request is being worked on."""
    return cast(FunctionApp, current_app).service


def identity() -> Identity:
    """Who asks, on a route that needs a role; raises Unauthorized without a token."""
    found = current().identity()
    if found is None:
        raise errors.Unauthorized
    return found


def _applied(connection: Any, migration: str | None) -> bool:
    if migration is None:
        return fetch_one(connection, "SELECT 1 AS one") is not None
    statement = "SELECT version FROM public.schema_migrations WHERE version = %(version)s"
    return fetch_one(connection, statement, {"version": migration}) is not None


def _database(name: str, settings: FunctionSettings) -> Database | None:
    if not isinstance(settings, DatabaseSettings):
        return None
    return Database(
        settings.database_url,
        application_name=settings.replica,
        size=settings.threads + 1,  # one more, so that /_/ready is answered while all threads work
        statement_timeout_ms=settings.statement_timeout_ms,
        lock_timeout_ms=settings.lock_timeout_ms,
    )


def _verifier(settings: FunctionSettings) -> TokenVerifier | None:
    if not isinstance(settings, TokenSettings):
        return None
    return TokenVerifier(settings.token_public_keys, Path(settings.secret_mount_path) / PUBLIC_KEYS_FILE)


def _client(name: str, settings: FunctionSettings) -> ServiceClient | None:
    if not isinstance(settings, ServiceKeySettings):
        return None
    from .client import ServiceClient  # noqa: PLC0415 - 5 MB that only a function that calls others needs

    tokens = ServiceTokens(name, settings.service_key)
    return ServiceClient(settings.gateway_url, tokens.token, settings.exec_timeout)


P = TypeVar("P")


def _present(part: P | None, needed: type[FunctionSettings]) -> P:
    if part is None:
        raise RuntimeError(f"this function's settings are not {needed.__name__}")
    return part
