"""Who is asking: EdDSA JSON web tokens (RFC 7519, RFC 8037), verified with the keys of one JWKS.

Claims: `iss: magasin`, `sub`, `roles` among customer, staff, hq, service, `store` for staff, `sid` (the session of
someone who signed in), `exp`, `iat`.
A key whose kid is `service:<function>` signs for that function alone, with the role service and no other;
every other key signs for people, never with the role service.
Keys change while functions run (docs/decisions/0041-keys-that-rotate.md): the file is read again when it has changed.
"""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt

from .errors import Unauthorized

ISSUER = "magasin"
ALGORITHM = "EdDSA"
PUBLIC_KEYS_FILE = "token-public-keys"
SERVICE_KID_PREFIX = "service:"
SERVICE_TOKEN_SECONDS = 120
CLOCK_LEEWAY_SECONDS = 5
LONGEST_SUBJECT = 200
LATEST_EXPIRY = 2**53
REMEMBERED_TOKENS = 512
"""Verifying a signature costs a tenth of a millisecond; a token seen before is looked up instead."""
LOOK_SECONDS = 5.0
"""How old the knowledge of the keys' file may be; a rotation waits longer than this before it uses a new key."""
LOOK_AT_ONCE_SECONDS = 1.0
"""The same for a key that is not known: shorter, but no flood of unknown keys can keep the disk busy."""

_log = logging.getLogger("magasin")


@dataclass(frozen=True)
class Identity:
    """The bearer of a verified token."""

    subject: str
    roles: frozenset[str]
    store: str | None
    expires_at: float
    session: str | None = None

    def has_any(self, roles: Iterable[str]) -> bool:
        return not self.roles.isdisjoint(roles)


class TokenVerifier:
    """Verifies bearer tokens with the public keys of a JWKS document.

    With `path`, the file that the document is from, keys that come and go there are learnt: within `LOOK_SECONDS`, or
    within a second when a token names an unknown key. A file that cannot be used leaves the keys as they were.
    A key with `exp` (seconds since 1970, as in OpenID Federation 1.0) is not believed from then on.
    """

    def __init__(self, jwks: str, path: Path | None = None) -> None:
        self._keys = _public_keys(jwks)
        self._path = path
        self._stamp: tuple[int, ...] | None = None
        self._looked_at = time.monotonic()
        self._seen: OrderedDict[str, tuple[Identity, _Key]] = OrderedDict()
        self._lock = threading.Lock()

    def verify(self, token: str) -> Identity:
        """The identity that `token` proves; raises Unauthorized, which says why, never by how much."""
        self._look(LOOK_SECONDS)
        with self._lock:
            identity, key = self._seen.get(token, (None, None))
        if identity is None or key is None:
            identity, key = self._check(token)
            self._remember(token, identity, key)
        elif identity.expires_at + CLOCK_LEEWAY_SECONDS <= time.time():
            raise Unauthorized("The token has expired.", code="token_expired")
        elif key.has_expired():
            raise _unknown_key()
        return identity

    def rehearse(self) -> None:
        """Refuse a token with a known key's name and a wrong signature, so that the first true one finds all code loaded."""
        kid = next(iter(self._keys))
        parts = (
            {"alg": ALGORITHM, "typ": "JWT", "kid": kid},
            {"iss": ISSUER, "sub": "nobody", "exp": 0, "iat": 0},
        )
        encoded = [
            base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts
        ]
        with contextlib.suppress(Unauthorized):
            self.verify(".".join([*encoded, "A" * 86]))

    def published(self) -> list[dict[str, Any]]:
        """The public keys of people's tokens that are believed now, as JSON Web Keys."""
        self._look(LOOK_SECONDS)
        return [
            {name: value for name, value in key.jwk.items() if name != "d"}
            for kid, key in self._keys.items()
            if not kid.startswith(SERVICE_KID_PREFIX) and not key.has_expired()
        ]

    def _look(self, at_most_every: float) -> None:
        """Read the file again if it has changed; look for that at most so often."""
        now = time.monotonic()
        if self._path is None or now - self._looked_at < at_most_every:
            return
        with self._lock:
            if now - self._looked_at < at_most_every:
                return
            self._looked_at = now
            stamp = _stamp(self._path)
            if stamp == self._stamp:
                return
            try:
                self._keys = _public_keys(self._path.read_text())
            except (OSError, ValueError) as error:
                _log.warning("the public keys stay as they were: %s", error)
                return
            self._stamp = stamp
            self._seen.clear()

    def _key(self, kid: Any) -> _Key:
        if not isinstance(kid, str):
            raise _unknown_key()
        if kid not in self._keys:
            self._look(LOOK_AT_ONCE_SECONDS)
        key = self._keys.get(kid)
        if key is None or key.has_expired():
            raise _unknown_key()
        return key

    def _check(self, token: str) -> tuple[Identity, _Key]:
        try:
            kid = jwt.get_unverified_header(token).get("kid")
            key = self._key(kid)
            claims = jwt.decode(
                token, key.key, algorithms=[ALGORITHM], issuer=ISSUER, leeway=CLOCK_LEEWAY_SECONDS,
                options={"require": ["exp", "iat", "sub", "iss"]},
            )  # fmt: skip
        except jwt.ExpiredSignatureError as error:
            raise Unauthorized("The token has expired.", code="token_expired") from error
        except (jwt.InvalidTokenError, ValueError, TypeError, OverflowError, RecursionError) as error:
            raise Unauthorized("The token is not valid.", code="token_invalid") from error
        return _identity(claims, str(kid)), key

    def _remember(self, token: str, identity: Identity, key: _Key) -> None:
        with self._lock:
            if self._keys.get(str(key.jwk["kid"])) is not key:
                return  # read again meanwhile: what the old keys proved is not to be remembered
            self._seen[token] = identity, key
            if len(self._seen) > REMEMBERED_TOKENS:
                self._seen.popitem(last=False)


@dataclass(frozen=True)
class _Key:
    """A public key as it stands in the JWKS, and ready to use."""

    jwk: Mapping[str, Any]
    key: Any
    expires_at: int

    def has_expired(self) -> bool:
        return self.expires_at <= time.time()


def _stamp(path: Path | None) -> tuple[int, ...] | None:
    """Tells one version of a file from the next, which is written by rename; None when it cannot be seen."""
    try:
        found = path.stat() if path else None
    except OSError:
        return None
    return (found.st_ino, found.st_mtime_ns, found.st_size) if found else None


def _unknown_key() -> Unauthorized:
    return Unauthorized("The token is signed by an unknown key.", code="token_invalid")


def _public_keys(jwks: str) -> dict[str, _Key]:
    """kid to key, for the Ed25519 keys of the document; raises ValueError when it has none."""
    try:
        keys = {
            key["kid"]: _Key(key, jwt.PyJWK(key, algorithm=ALGORITHM).key, int(key.get("exp", LATEST_EXPIRY)))
            for key in json.loads(jwks)["keys"]
        }
    except (KeyError, TypeError, ValueError, jwt.PyJWTError) as error:
        raise ValueError(f"token-public-keys is not a JWKS of Ed25519 keys: {error}") from error
    if not keys:
        raise ValueError("token-public-keys holds no key")
    return keys


def _identity(claims: Mapping[str, Any], kid: str) -> Identity:
    roles, store, session = claims.get("roles"), claims.get("store"), claims.get("sid")
    if not isinstance(roles, list) or not all(isinstance(role, str) for role in roles):
        raise Unauthorized("The token names no roles.", code="token_invalid")
    if store is not None and not isinstance(store, str):
        raise Unauthorized("The token's store is not a text.", code="token_invalid")
    if session is not None and not isinstance(session, str):
        raise Unauthorized("The token's session is not a text.", code="token_invalid")
    signed_by_service = kid.startswith(SERVICE_KID_PREFIX)
    allowed = roles == ["service"] if signed_by_service else "service" not in roles
    if not allowed or (signed_by_service and claims["sub"] != kid.removeprefix(SERVICE_KID_PREFIX)):
        raise Unauthorized("The token claims what its key may not sign.", code="token_invalid")
    if not _is_subject(claims["sub"]) or not _is_expiry(claims["exp"]):
        raise Unauthorized("The token is not valid.", code="token_invalid")
    return Identity(claims["sub"], frozenset(roles), store, float(claims["exp"]), session)


def _is_subject(subject: Any) -> bool:
    return isinstance(subject, str) and 0 < len(subject) <= LONGEST_SUBJECT and subject.isprintable()


def _is_expiry(moment: Any) -> bool:
    """Whether it is a number, as RFC 7519 has it; PyJWT also takes a text of digits."""
    return isinstance(moment, int | float) and moment <= LATEST_EXPIRY


def bearer_token(header: str | None) -> str | None:
    """The token of an Authorization header; None without one. Raises Unauthorized for other schemes."""
    if not header:
        return None
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthorized("The Authorization header must be `Bearer <token>`.", code="token_invalid")
    return token.strip()


class ServiceTokens:
    """Short-lived tokens that a function signs for its own calls to others."""

    def __init__(self, function: str, private_key_pem: str) -> None:
        self._function = function
        self._key = private_key_pem
        self._token = ""
        self._signed_at = 0.0

    def token(self) -> str:
        """A token good for at least another minute.

        Signed anew where the clock has stepped back, as others refuse a token from a time to come.
        """
        now = time.time()
        if not self._signed_at <= now < self._signed_at + SERVICE_TOKEN_SECONDS / 2:
            claims = {
                "iss": ISSUER, "sub": self._function, "roles": ["service"],
                "iat": int(now), "exp": int(now) + SERVICE_TOKEN_SECONDS,
            }  # fmt: skip
            headers = {"kid": SERVICE_KID_PREFIX + self._function}
            self._token = jwt.encode(claims, self._key, algorithm=ALGORITHM, headers=headers)
            self._signed_at = now
        return self._token
