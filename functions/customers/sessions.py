"""Signing in and out: sessions, their tokens, and the password that opens them.

A sign-in opens a session. Its refresh token is good once and replaced by the next; a replaced one that comes back
ends the whole session, because then two hold it (RFC 9700, section 4.14.2). docs/decisions/0042-refresh-tokens.md.
"""

from __future__ import annotations

import hashlib
from typing import Any

from prometheus_client import Counter

from functions.shared import Answer, Connection, Forbidden, Row, Unauthorized, current

from . import emails, passwords, session_store, store, tokens
from .bodies import Credentials, PasswordChange, Refresh
from .guesses import Guess, TooManyGuesses, client_network
from .hashing import Turn, Verified
from .people import desk, ended, password_turn, signed_in
from .routes import ALL, PRIVATE, api
from .views import SessionList, Tokens

SIGN_INS = Counter("customers_sign_ins_total", "Attempts to sign in, by outcome.", ["outcome"])
REFRESHES = Counter("customers_refreshes_total", "Refresh tokens presented, by outcome.", ["outcome"])


@api.post("/sessions", body=Credentials, answers={201: Tokens}, problems=[401, 403, 429, 503])
def sign_in(body: Credentials) -> Answer:
    """Sign in with e-mail address and password.

    Wrong address and wrong password are the same 401 `credentials_wrong` after the same work.
    """
    email, password = emails.parse(body.email), passwords.normalised(body.password)
    with password_turn() as turn:
        found = current().database.read(store.credentials, email.key)
        verified = _verify(turn, Guess(email.key, client_network()), found, password)
        if not verified.matches or found is None:
            raise _wrong()
        return current().database.change(lambda connection: _open(connection, found, verified, email.key))


def _verify(turn: Turn, guess: Guess, account: Row | None, password: str) -> Verified:
    """Take a guess, then look at the password; raises TooManyGuesses without looking."""
    buckets = desk().limits.buckets
    customer_id = account["customer_id"] if account else None

    def take(connection: Connection) -> float | None:
        known = session_store.is_known_origin(connection, customer_id, _origin(guess, customer_id))
        asked = [bucket for bucket in buckets if not (known and bucket.kind == "account")]
        if len(session_store.take_guesses(connection, guess, asked)) == len(asked):
            return None
        connection.rollback()
        return session_store.seconds_until_guess(connection, guess, asked)

    wait = current().database.change(take)
    if wait is not None:
        SIGN_INS.labels("throttled").inc()
        raise TooManyGuesses(max(1, int(wait) + 1))
    return turn.verify(account["password_hash"] if account else None, password)


def _origin(guess: Guess, customer_id: str | None) -> bytes:
    return hashlib.sha256(f"{customer_id} {guess.address}".encode()).digest()


def _open(connection: Connection, found: Row, verified: Verified, email_key: str) -> Answer:
    """Open a session for who proved the password of `found`, if that is still so."""
    guess = Guess(email_key, client_network())
    account = store.lock_account(connection, found["customer_id"])
    if account is None or account["password_hash"] != found["password_hash"]:
        raise _wrong()
    if not account["active"]:
        SIGN_INS.labels("inactive").inc()
        raise Forbidden("This account is deactivated.", code="account_inactive")
    if verified.new_hash is not None:
        store.store_rehash(connection, account["customer_id"], verified.new_hash)
    token, limits = tokens.new_refresh_token(), desk().limits
    origin = _origin(guess, account["customer_id"])
    session_id = session_store.open_session(
        connection, account["customer_id"], origin, tokens.digest(token), limits.lifetimes
    )
    session_store.end_oldest(connection, account["customer_id"], limits.max_sessions)
    session_store.give_guesses_back(connection, guess, limits.buckets)
    connection.after_commit(SIGN_INS.labels("opened").inc)
    return _tokens(account, session_id, token, 201)


def _wrong() -> Unauthorized:
    SIGN_INS.labels("wrong").inc()
    return Unauthorized("The e-mail address or the password is wrong.", code="credentials_wrong")


def _tokens(account: Row, session_id: str, refresh_token: str, status: int) -> Answer:
    signer = desk().signer
    body = {
        "access_token": signer.access_token(account, session_id),
        "token_type": "Bearer",
        "expires_in": signer.lifetime_seconds,
        "refresh_token": refresh_token,
        "customer_id": account["customer_id"],
    }
    return Answer(body, status, headers={"Cache-Control": "no-store"})


@api.post("/sessions/refresh", body=Refresh, answers={200: Tokens}, problems=[401, 503])
def refresh(body: Refresh) -> Answer:
    """Exchange a refresh token for an access token and the next refresh token.

    The same token again within `refresh_grace_seconds`, as after a lost answer or from two tabs at once, gets the
    same next token, while that is unused. Later it ends the session for everyone who holds a token of it.
    """
    outcome, answer = current().database.change(lambda connection: _refresh(connection, body.refresh_token))
    REFRESHES.labels(outcome).inc()
    if answer is not None:
        return answer
    raise _REFUSED[outcome]()


def _refresh(connection: Connection, token: str) -> tuple[str, Answer | None]:
    """What became of a refresh token, and the answer if it was good. What ends the session must be committed."""
    digest = tokens.digest(token)
    row = session_store.lock_token(connection, digest)
    if row is None or row["expired"]:
        return "unknown", None
    if row["ended"] or not row["active"]:
        return "ended", None
    if not row["used"]:
        return "rotated", _rotate(connection, row, token)
    repeated = tokens.successor(token, bytes(row["successor_salt"]))
    lately = row["used_seconds_ago"] <= desk().limits.refresh_grace_seconds
    if lately and session_store.is_unused(connection, tokens.digest(repeated)):
        return "repeated", _tokens(row, row["session_id"], repeated, 200)
    session_store.end_session(connection, row["session_id"], None, "reuse")
    return "reused", None


def _rotate(connection: Connection, row: Row, token: str) -> Answer:
    salt = tokens.new_salt()
    next_token = tokens.successor(token, salt)
    session_store.use_token(connection, tokens.digest(token), salt)
    days = desk().limits.lifetimes.refresh_days
    session_store.add_token(connection, row["session_id"], tokens.digest(next_token), days)
    return _tokens(row, row["session_id"], next_token, 200)


def _unknown() -> Unauthorized:
    return Unauthorized(
        "The refresh token is not valid or has expired; sign in again.", code="refresh_token_invalid"
    )


def _reused() -> Unauthorized:
    return Unauthorized(
        "This refresh token was replaced before, so someone else may hold it: its session has been ended. Sign in again.",
        code="refresh_token_reused",
    )


_REFUSED = {"unknown": _unknown, "ended": ended, "reused": _reused}


@api.get("/sessions", answers={200: SessionList}, roles=ALL, problems=[503])
def list_sessions() -> Answer:
    """Where one is and was signed in, latest first."""
    return Answer({"items": shown_sessions()}, headers=PRIVATE)


def shown_sessions() -> list[dict[str, Any]]:
    who, account = signed_in()
    rows = current().database.read(session_store.sessions, account["customer_id"])
    return [{**row, "current": row["session_id"] == who.session} for row in rows]


@api.delete("/sessions/current", answers={204: None}, roles=ALL, problems=[503])
def sign_out() -> Answer:
    """Sign out: end the session of the access token. Harmless when it has ended."""
    who, account = signed_in()
    if who.session is not None:
        with current().database.transaction() as connection:
            session_store.end_session(connection, who.session, account["customer_id"], "sign_out")
    return Answer(None, 204)


@api.post("/sessions/end", body=Refresh, answers={204: None}, problems=[503])
def end_session(body: Refresh) -> Answer:
    """Sign out with a refresh token, as when the access token has expired. Says nothing about the token."""
    with current().database.transaction() as connection:
        session_id = session_store.session_of_token(connection, tokens.digest(body.refresh_token))
        if session_id is not None:
            session_store.end_session(connection, session_id, None, "sign_out")
    return Answer(None, 204)


@api.delete("/sessions", answers={204: None}, roles=ALL, problems=[503])
def sign_out_everywhere() -> Answer:
    """Sign out everywhere: end all of one's sessions, this one included."""
    _, account = signed_in()
    with current().database.transaction() as connection:
        session_store.end_sessions(connection, account["customer_id"], "sign_out_everywhere")
    return Answer(None, 204)


@api.post(
    "/me/password", body=PasswordChange, answers={204: None}, roles=ALL, problems=[401, 403, 422, 429, 503]
)
def change_password(body: PasswordChange) -> Answer:
    """Change one's password; all other sessions end. A wrong present password is 403 `password_wrong`."""
    who, account = signed_in()
    new_password = passwords.check(body.new_password, (account["name"], account["email"]), "new_password")
    guess = Guess(emails.parse(account["email"]).key, client_network())
    with password_turn() as turn:
        found = current().database.read(store.credentials, guess.account)
        if found is None:
            raise ended()
        verified = _verify(turn, guess, found, passwords.normalised(body.password))
        if not verified.matches:
            raise Forbidden("The present password is wrong.", code="password_wrong")
        new_hash = turn.hash(new_password)

    def change(connection: Connection) -> bool:
        done = store.change_password(connection, account["customer_id"], found["password_hash"], new_hash)
        if done:
            session_store.end_sessions(connection, account["customer_id"], "password_change", who.session)
            session_store.give_guesses_back(connection, guess, desk().limits.buckets)
        return done

    if not current().database.change(change):
        raise ended()
    return Answer(None, 204)
