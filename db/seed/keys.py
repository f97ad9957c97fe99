"""Signing keys as files: Ed25519 private keys (PEM, PKCS #8) and the JWKS of their public halves (RFC 7517, RFC 8037).

A key is made once and replaced only by a rotation (rotate_keys.py), never silently: whoever lost or spoilt one is told
which file, because a new key put in its place would end every session signed by the old one.
A user key is named by its thumbprint, so the name follows the key.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

USER_KEY_FILE = "token-signing-key"
NEXT_USER_KEY_FILE = "token-signing-key-next"
"""There while a rotation is under way, from its first step to its last."""
KEEP_FILE = "token-signing-key-keep"
"""For how many seconds a rotation that is under way believes the keys before its own; says nothing without the one above."""
PUBLIC_KEYS_FILE = "token-public-keys"
SERVICE_KID_PREFIX = "service:"


class KeyFileError(ValueError):
    """A key file is missing or holds something else; the message names it and says what to do."""


def user_key_id(key: Ed25519PrivateKey) -> str:
    """The thumbprint of the public half (RFC 7638, RFC 8037 appendix A.3); customers names its key the same way."""
    jwk = public_jwk(key, "")
    required = {name: jwk[name] for name in ("crv", "kty", "x")}
    return _base64url(hashlib.sha256(json.dumps(required, separators=(",", ":")).encode()).digest())


def service_key_file(function: str) -> str:
    return f"{function}-key"


def service_key_id(function: str) -> str:
    return f"{SERVICE_KID_PREFIX}{function}"


def load_private_key(path: Path) -> Ed25519PrivateKey:
    """Raises KeyFileError when there is no readable Ed25519 key in PEM at `path`."""
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except FileNotFoundError as exc:
        raise KeyFileError(f"{path} is missing; `python -m db.seed.secrets` makes it") from exc
    except (OSError, ValueError, TypeError) as exc:
        raise KeyFileError(
            f"{path} holds no readable private key; restore it, or delete it to have a new one made"
        ) from exc
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFileError(f"{path} holds a key of another kind; an Ed25519 key in PEM is needed")
    return key


def ensure_private_key(path: Path) -> tuple[Ed25519PrivateKey, bool]:
    """Return the key at `path`, made now if there was none, and whether it was made."""
    if path.exists():
        path.chmod(0o600)
        return load_private_key(path), False
    key = Ed25519PrivateKey.generate()
    write_private_key(path, key)
    return key, True


def write_private_key(path: Path, key: Ed25519PrivateKey) -> None:
    write_secret(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def public_jwk(key: Ed25519PrivateKey, kid: str) -> dict[str, Any]:
    """The public half as a JSON Web Key (RFC 8037 section 2)."""
    x = _base64url(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))
    return {"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": kid, "x": x}


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def merge_jwks(present: str, keys: Mapping[str, Ed25519PrivateKey]) -> str:
    """The JWKS of `keys` (by kid), keeping what `present` has beside them.

    Kept: other user keys, such as the one before a rotation, whose tokens still run.
    Dropped: user keys whose end has come, and service keys of functions that are no longer in the stack.
    """
    kept = [jwk for jwk in _parse_jwks(present) if _is_foreign_user_key(jwk, keys)]
    own = [public_jwk(key, kid) for kid, key in keys.items()]
    return _render(own + _living(kept, time.time()))


def add_to_jwks(present: str, key: Ed25519PrivateKey) -> str:
    """`present` with the user key in the first place, without an end; all others as they are."""
    kid = user_key_id(key)
    return _render([public_jwk(key, kid), *(jwk for jwk in _parse_jwks(present) if jwk.get("kid") != kid)])


def retire_others(present: str, kid: str, end: int, now: float) -> str:
    """`present`, in which user keys other than `kid` end (`exp`) at `end` at the latest; those that have are dropped."""
    keys = [_retired(jwk, end) if _is_foreign_user_key(jwk, {kid}) else jwk for jwk in _parse_jwks(present)]
    return _render(_living(keys, now))


def _retired(jwk: dict[str, Any], end: int) -> dict[str, Any]:
    return {**jwk, "exp": min(end, jwk.get("exp", end))}


def _living(keys: list[dict[str, Any]], now: float) -> list[dict[str, Any]]:
    return [jwk for jwk in keys if jwk.get("exp", now + 1) > now]


def _render(keys: list[dict[str, Any]]) -> str:
    return json.dumps({"keys": keys}, indent=1) + "\n"


def _parse_jwks(text: str) -> list[dict[str, Any]]:
    if not text.strip():
        return []
    try:
        keys = json.loads(text)["keys"]
        return [dict(jwk) for jwk in keys]
    except (ValueError, KeyError, TypeError) as exc:
        raise KeyFileError(
            f"{PUBLIC_KEYS_FILE} is not a JSON Web Key Set; delete it to have it made again"
        ) from exc


def _is_foreign_user_key(jwk: Mapping[str, Any], own: Container[str]) -> bool:
    kid = str(jwk.get("kid", ""))
    return kid not in own and not kid.startswith(SERVICE_KID_PREFIX)


def write_secret(path: Path, content: bytes) -> None:
    """Write a 0600 file so that readers see all of it or nothing, also when this process dies half-way."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Have the disk know what was renamed and removed in `directory`, before anything that relies on it is done."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked_directory(directory: Path) -> Iterator[None]:
    """Hold `directory` (made 0700 if missing) for one process; the lock goes with the process that held it."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
