"""The tokens that customers gives out: access tokens that it signs, refresh tokens that it remembers by digest."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from functions.shared.auth import ALGORITHM, ISSUER

SIGNING_KEY_FILE = "token-signing-key"
LOOK_SECONDS = 1.0
"""How old the knowledge of the key's file may be: after a rotation the old key signs no longer than this."""
REFRESH_TOKEN_BYTES = 32
SALT_BYTES = 16

_log = logging.getLogger("magasin")


@dataclass(frozen=True)
class _Key:
    pem: str
    kid: str


class Signer:
    """Signs access tokens with the key in a file, which is read again when it has changed."""

    def __init__(self, pem: str, path: Path, lifetime_seconds: int) -> None:
        """Raises ValueError when `pem` is not an Ed25519 key."""
        self._key = _Key(pem, key_id(pem))
        self._path = path
        self._looked_at = time.monotonic()
        self._lock = threading.Lock()
        self.lifetime_seconds = lifetime_seconds

    def access_token(self, account: Mapping[str, Any], session_id: str) -> str:
        """A token for `account` (`customer_id`, `role`, `store`) that lasts `lifetime_seconds`."""
        key, now = self._current(), int(time.time())
        claims = {
            "iss": ISSUER,
            "sub": str(account["customer_id"]),
            "roles": [account["role"]],
            "sid": str(session_id),
            "iat": now,
            "exp": now + self.lifetime_seconds,
        }
        if account["store"] is not None:
            claims["store"] = account["store"]
        return jwt.encode(claims, key.pem, algorithm=ALGORITHM, headers={"kid": key.kid})

    def _current(self) -> _Key:
        with self._lock:
            if time.monotonic() - self._looked_at >= LOOK_SECONDS:
                self._looked_at = time.monotonic()
                self._read_again()
            return self._key

    def _read_again(self) -> None:
        try:
            pem = self._path.read_text().strip()
            if pem != self._key.pem:
                self._key = _Key(pem, key_id(pem))
        except (OSError, ValueError) as error:
            _log.warning("the signing key stays as it was: %s", error)


def key_id(pem: str) -> str:
    """The kid of a private key: the thumbprint of its public half (RFC 7638, RFC 8037 appendix A.3).

    Raises ValueError for what is not an Ed25519 key in PEM.
    """
    try:
        key = load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ValueError(f"{SIGNING_KEY_FILE} holds no readable private key") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError(f"{SIGNING_KEY_FILE} holds a key of another kind than Ed25519")  # noqa: TRY004
    x = _base64url(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))
    members = json.dumps({"crv": "Ed25519", "kty": "OKP", "x": x}, separators=(",", ":"), sort_keys=True)
    return _base64url(hashlib.sha256(members.encode()).digest())


def new_refresh_token() -> str:
    return secrets.token_urlsafe(REFRESH_TOKEN_BYTES)


def new_salt() -> bytes:
    return secrets.token_bytes(SALT_BYTES)


def successor(token: str, salt: bytes) -> str:
    """The token that replaces `token`: known to who has both, so it need not be stored to be given again."""
    return _base64url(hmac.digest(token.encode(), b"magasin refresh token" + salt, "sha256"))


def digest(token: str) -> bytes:
    """What is stored of a refresh token. It is random, so a fast hash is enough."""
    return hashlib.sha256(token.encode()).digest()


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
