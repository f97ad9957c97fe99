"""Who is asking: EdDSA JSON web tokens (RFC 7519, RFC 8037), verified with the keys of one JWKS.

Claims: `iss: magasin`, `sub`, `roles` among customer, staff, hq, service, `store` for staff, `exp`, `iat`.
A key whose kid is `service:<function>` signs for that function alone, with the role service and no other;
every other key signs for people, never with the role service.
"""

from __future__ import annotations

import json
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import jwt

from .errors import Forbidden, Unauthorized

ISSUER = "magasin"
ALGORITHM = "EdDSA"
SERVICE_KID_PREFIX = "service:"
SERVICE_TOKEN_SECONDS = 120
CLOCK_LEEWAY_SECONDS = 5
LONGEST_SUBJECT = 200
LATEST_EXPIRY = 2**53
REMEMBERED_TOKENS = 512
"""Verifying a signature costs a tenth of a millisecond; a token seen before is looked up instead."""


@dataclass(frozen=True)
class Identity:
    """The bearer of a verified token."""

    subject: str
    roles: frozenset[str]
    store: str | None
    expires_at: float

    def has_any(self, roles: Iterable[str]) -> bool:
        return not self.roles.isdisjoint(roles)


class TokenVerifier:
    """Verifies bearer tokens with the public keys of a JWKS document."""

    def __init__(self, jwks: str) -> None:
        self._keys = _public_keys(jwks)
        self._seen: OrderedDict[str, Identity] = OrderedDict()
        self._lock = threading.Lock()

    def verify(self, token: str) -> Identity:
        """The identity that `token` proves; raises Unauthorized, which says why, never by how much."""
        with self._lock:
            identity = self._seen.get(token)
        if identity is None:
            identity = self._check(token)
            self._remember(token, identity)
        elif identity.expires_at + CLOCK_LEEWAY_SECONDS <= time.time():
            raise Unauthorized("The token has expired.", code="token_expired")
        return identity

    def _check(self, token: str) -> Identity:
        try:
            kid = jwt.get_unverified_header(token).get("kid")
            key = self._keys.get(kid) if isinstance(kid, str) else None
            if key is None or not isinstance(kid, str):
                raise Unauthorized("The token is signed by an unknown key.", code="token_invalid")
            claims = jwt.decode(
                token, key, algorithms=[ALGORITHM], issuer=ISSUER, leeway=CLOCK_LEEWAY_SECONDS,
                options={"require": ["exp", "iat", "sub", "iss"]},
            )  # fmt: skip
        except jwt.ExpiredSignatureError as error:
            raise Unauthorized("The token has expired.", code="token_expired") from error
        except (jwt.InvalidTokenError, ValueError, TypeError, OverflowError, RecursionError) as error:
            raise Unauthorized("The token is not valid.", code="token_invalid") from error
        return _identity(claims, kid)

    def _remember(self, token: str, identity: Identity) -> None:
        with self._lock:
            self._seen[token] = identity
            if len(self._seen) > REMEMBERED_TOKENS:
                self._seen.popitem(last=False)


def _public_keys(jwks: str) -> dict[str, Any]:
    """kid to key, for the Ed25519 keys of the document; raises ValueError when it has none."""
    try:
        keys = {key["kid"]: jwt.PyJWK(key, algorithm=ALGORITHM).key for key in json.loads(jwks)["keys"]}
    except (KeyError, TypeError, ValueError, jwt.PyJWTError) as error:
        raise ValueError(f"token-public-keys is not a JWKS of Ed25519 keys: {error}") from error
    if not keys:
        raise ValueError("token-public-keys holds no key")
    return keys


def _identity(claims: Mapping[str, Any], kid: str) -> Identity:
    roles, store = claims.get("roles"), claims.get("store")
    if not isinstance(roles, list) or not all(isinstance(role, str) for role in roles):
        raise Unauthorized("The token names no roles.", code="token_invalid")
    if store is not None and not isinstance(store, str):
        raise Unauthorized("The token's store is not a text.", code="token_invalid")
    signed_by_service = kid.startswith(SERVICE_KID_PREFIX)
    allowed = roles == ["service"] if signed_by_service else "service" not in roles
    if not allowed or (signed_by_service and claims["sub"] != kid.removeprefix(SERVICE_KID_PREFIX)):
        raise Unauthorized("The token claims what its key may not sign.", code="token_invalid")
    if not _is_subject(claims["sub"]) or not claims["exp"] <= LATEST_EXPIRY:
        raise Unauthorized("The token is not valid.", code="token_invalid")
    return Identity(claims["sub"], frozenset(roles), store, float(claims["exp"]))


def _is_subject(subject: Any) -> bool:
    return isinstance(subject, str) and 0 < len(subject) <= LONGEST_SUBJECT and subject.isprintable()


def bearer_token(header: str | None) -> str | None:
    """The token of an Authorization header; None without one. Raises Unauthorized for other schemes."""
    if not header:
        return None
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthorized("The Authorization header must be `Bearer <token>`.", code="token_invalid")
    return token.strip()


def require_owner(identity: Identity, owner: str, *, or_roles: Iterable[str] = ("hq", "service")) -> None:
    """Raise Forbidden unless `identity` is `owner` itself or bears one of `or_roles`."""
    if identity.subject != owner and not identity.has_any(or_roles):
        raise Forbidden("This belongs to someone else.", code="not_the_owner")


class ServiceTokens:
    """Short-lived tokens that a function signs for its own calls to others."""

    def __init__(self, function: str, private_key_pem: str) -> None:
        self._function = function
        self._key = private_key_pem
        self._token = ""
        self._renew_at = 0.0

    def token(self) -> str:
        """A token good for at least another minute."""
        now = time.time()
        if now >= self._renew_at:
            claims = {
                "iss": ISSUER, "sub": self._function, "roles": ["service"],
                "iat": int(now), "exp": int(now) + SERVICE_TOKEN_SECONDS,
            }  # fmt: skip
            headers = {"kid": SERVICE_KID_PREFIX + self._function}
            self._token = jwt.encode(claims, self._key, algorithm=ALGORITHM, headers=headers)
            self._renew_at = now + SERVICE_TOKEN_SECONDS / 2
        return self._token
