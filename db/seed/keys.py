"""Signing keys as files: Ed25519 private keys (PEM, PKCS #8) and the JWKS of their public halves (RFC 7517, RFC 8037).

A key is made once and never replaced: whoever lost or spoilt one is told which file, because a new key
silently put in its place would end every session signed by the old one.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
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
USER_KEY_ID = "customers-1"
PUBLIC_KEYS_FILE = "token-public-keys"
SERVICE_KID_PREFIX = "service:"


class KeyFileError(ValueError):
    """A key file is missing or holds something else; the message names it and says what to do."""


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
    write_secret(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return key, True


def public_jwk(key: Ed25519PrivateKey, kid: str) -> dict[str, str]:
    """The public half as a JSON Web Key (RFC 8037 section 2)."""
    raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    x = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
    return {"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": kid, "x": x}


def merge_jwks(present: str, keys: Mapping[str, Ed25519PrivateKey]) -> str:
    """The JWKS of `keys` (by kid), keeping what `present` has beside them.

    Kept: user keys that someone added, such as the one before a rotation, whose tokens still run.
    Dropped: service keys of functions that are no longer in the stack.
    """
    kept = [jwk for jwk in _parse_jwks(present) if _is_foreign_user_key(jwk, keys)]
    own = [public_jwk(key, kid) for kid, key in keys.items()]
    return json.dumps({"keys": own + kept}, indent=1) + "\n"


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


def _is_foreign_user_key(jwk: Mapping[str, Any], own: Mapping[str, Ed25519PrivateKey]) -> bool:
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
