"""Customers over HTTP: owns the schema customers, signs everyone's tokens, and calls nobody.

Signing in is in sessions.py, addresses in addresses.py, what staff see in staff.py, exporting and erasing in erasing.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flask import Response
from prometheus_client import Counter

from functions.shared import (
    Answer,
    DatabaseSettings,
    FunctionApp,
    PreconditionFailed,
    SettingsError,
    TokenSettings,
    current,
    etag,
    is_fresh,
    required_version,
    secret,
    setting,
)
from functions.shared import (
    create_app as build,
)

# Importing these declares their routes on `api`.
from . import addresses, emails, erasing, passwords, sessions, staff, store
from .bodies import ProfileChange, Registration
from .guesses import Bucket
from .hashing import Cost, Hashing
from .people import Desk, Limits, ended, password_turn, shown, signed_in
from .routes import ALL, PRIVATE, api
from .session_store import Lifetimes
from .tokens import SIGNING_KEY_FILE, Signer
from .views import Jwks, ProfileView, Registered

__all__ = ["addresses", "api", "create_app", "erasing", "sessions", "staff"]

LONGEST_ACCESS_TOKEN_SECONDS = 900
"""A rotation lets the old key go after this and a little more (db/seed/rotate_keys.py)."""
JWKS_SECONDS = 60

REGISTRATIONS = Counter("customers_registrations_total", "Registrations, by outcome.", ["outcome"])


@dataclass(frozen=True, kw_only=True)
class CustomersSettings(DatabaseSettings, TokenSettings):
    token_signing_key: str = secret(
        "token-signing-key", "Ed25519 private key (PEM) that signs users' tokens."
    )
    access_token_seconds: int = setting("How long an access token lasts, up to 900 seconds.", default=900)
    refresh_token_days: int = setting("A refresh token that is not used for so long expires.", default=30)
    session_days: int = setting("A session ends after so long, however much it is used.", default=90)
    refresh_grace_seconds: float = setting(
        "A refresh token presented again within this gets the same answer, while that is unused.",
        default=30.0,
    )
    max_sessions: int = setting("Sessions of one account at once; a further one ends the oldest.", default=20)
    max_addresses: int = setting("Addresses of one account.", default=20)
    password_memory_kib: int = setting("Memory that hashing one password takes (Argon2id).", default=19_456)
    password_iterations: int = setting("Passes over that memory.", default=2)
    password_lanes: int = setting("Lanes that could be computed in parallel.", default=1)
    password_queue: int = setting(
        "Requests that may wait while a password is hashed, at most threads - 2: one is left for reads.",
        default=2,
    )
    password_nice: int = setting("How far hashing stands back for other work (nice, 0 to 19).", default=10)
    guesses_per_pair: int = setting("Wrong passwords for one account from one address at once.", default=10)
    guesses_per_address: int = setting("Wrong passwords from one address at once.", default=50)
    guesses_per_account: int = setting(
        "Wrong passwords for one account at once, from addresses it was never signed in from.", default=100
    )
    guess_seconds: float = setting(
        "Each gains one guess in so many seconds; an address in a tenth.", default=60.0
    )

    @property
    def limits(self) -> Limits:
        return Limits(
            lifetimes=Lifetimes(self.refresh_token_days, self.session_days),
            refresh_grace_seconds=self.refresh_grace_seconds,
            max_sessions=self.max_sessions,
            max_addresses=self.max_addresses,
            buckets=(
                Bucket("pair", self.guesses_per_pair, self.guess_seconds),
                Bucket("address", self.guesses_per_address, self.guess_seconds / 10),
                Bucket("account", self.guesses_per_account, self.guess_seconds),
            ),
        )


@api.post("/", body=Registration, answers={202: Registered}, problems=[503])
def register(body: Registration) -> Answer:
    """Register as a customer; then sign in.

    The answer is the same when the address has an account already, which stays as it is.
    """
    email = emails.parse(body.email)
    password = passwords.check(body.password, (body.name, email.key))
    with password_turn() as turn:
        password_hash = turn.hash(password)
    account = {
        "email": email.shown, "email_key": email.key, "name": body.name, "language": body.language,
        "password_hash": password_hash,
    }  # fmt: skip
    with current().database.transaction() as connection:
        created = store.register(connection, account)
    REGISTRATIONS.labels("created" if created else "taken").inc()
    detail = "If this address had no account, it has one now: sign in with it."
    return Answer({"status": "accepted", "detail": detail}, 202)


@api.get("/me", answers={200: ProfileView, 304: None}, roles=ALL, problems=[503])
def read_profile() -> Answer | Response:
    """One's own account."""
    _, account = signed_in()
    if is_fresh(account["version"]):
        return Response(status=304, headers={**PRIVATE, "ETag": etag(account["version"])})
    return shown(account)


@api.patch("/me", body=ProfileChange, answers={200: ProfileView}, roles=ALL, if_match=True, problems=[503])
def change_profile(body: ProfileChange) -> Answer:
    """Change one's name, phone or language. The e-mail address stays: nothing here could prove a new one."""
    version = required_version()
    _, account = signed_in()
    change: dict[str, Any] = {
        "name": body.name, "language": body.language, "phone": body.phone or None,
        "set_phone": body.phone is not None,
    }  # fmt: skip

    def work(connection: Any) -> Answer:
        if store.lock_account(connection, account["customer_id"]) is None:
            raise ended()
        row = store.change_profile(connection, account["customer_id"], version, change)
        if row is None:
            raise PreconditionFailed
        return shown(row)

    return current().database.change(work)


@api.get("/.well-known/jwks.json", answers={200: Jwks})
def public_keys() -> Answer:
    """The public keys that users' tokens are signed with: during a rotation two."""
    keys = current().verifier.published()
    return Answer({"keys": keys}, headers={"Cache-Control": f"public, max-age={JWKS_SECONDS}"})


def create_app(environ: Mapping[str, str]) -> FunctionApp:
    """The customers function in `environ`; the template calls this once."""
    app = build(api, CustomersSettings, environ)
    settings = app.service.settings(CustomersSettings)
    _check(settings)
    path = Path(settings.secret_mount_path) / SIGNING_KEY_FILE
    cost = Cost(settings.password_memory_kib, settings.password_iterations, settings.password_lanes)
    app.extensions["desk"] = Desk(
        Hashing(cost, max(0, min(settings.password_queue, settings.threads - 2)), settings.password_nice),
        Signer(settings.token_signing_key, path, settings.access_token_seconds),
        settings.limits,
    )
    return app


def _check(settings: CustomersSettings) -> None:
    """Raise SettingsError for values that cannot keep what this function promises."""
    if not 1 <= settings.access_token_seconds <= LONGEST_ACCESS_TOKEN_SECONDS:
        raise SettingsError(f"access_token_seconds must be from 1 to {LONGEST_ACCESS_TOKEN_SECONDS}")
    if not 0 <= settings.password_nice <= 19:
        raise SettingsError("password_nice must be from 0 to 19")
    if min(bucket.size for bucket in settings.limits.buckets) < 1 or settings.guess_seconds <= 0:
        raise SettingsError("guesses and guess_seconds must be more than 0")
