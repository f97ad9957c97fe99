"""Replace the key that signs users' tokens while everything runs: `python -m db.seed.rotate_keys`.

1. A new key is made and its public half published; every function learns of it within seconds.
2. After `--settle` seconds customers is given the new key and signs with it.
3. The old public key gets an end, `--keep` from now: its tokens run out first. Functions let go of it by themselves.

Whatever is interrupted after whichever step, all keys that sign are published; the next run goes on where it stopped.
Development tokens (`make token`) end with their key. For a key that has leaked: `--keep 0`.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from db.seed.environment import SeedEnvironment
from db.seed.keys import (
    KEEP_FILE,
    NEXT_USER_KEY_FILE,
    PUBLIC_KEYS_FILE,
    USER_KEY_FILE,
    KeyFileError,
    add_to_jwks,
    ensure_private_key,
    load_private_key,
    locked_directory,
    retire_others,
    sync_directory,
    user_key_id,
    write_private_key,
    write_secret,
)
from db.seed.token import parse_lifetime
from localfaas.settings import SettingsError

KEEP_SECONDS = 1200
"""Longer than any user's token lasts (900 s, functions/customers/handler.py) and the clocks differ."""
SETTLE_SECONDS = 6
"""Longer than a function goes without looking at the public keys (5 s, functions/shared/auth.py)."""


@dataclass(frozen=True)
class Rotation:
    """The key that signs now, and until when (seconds since 1970) the ones before it are believed."""

    kid: str
    others_until: int


def rotate(directory: Path, keep_seconds: int, settle: Callable[[], None]) -> Rotation:
    """Rotate the key in `directory`, or finish the rotation that was interrupted there, which keeps old keys no longer than it said.

    `settle` waits. Raises KeyFileError when a file is not what it should be; nothing is changed then.
    """
    with locked_directory(directory):
        load_private_key(directory / USER_KEY_FILE)
        if (directory / NEXT_USER_KEY_FILE).exists():
            load_private_key(directory / NEXT_USER_KEY_FILE)
            keep_seconds = min(keep_seconds, _keep_seconds(directory))
        write_secret(directory / KEEP_FILE, str(keep_seconds).encode())
        next_key, _ = ensure_private_key(directory / NEXT_USER_KEY_FILE)
        return _carry_on(directory, next_key, settle)


def finish_rotation(directory: Path) -> Rotation | None:
    """Finish an interrupted rotation in a locked `directory`; None when there is none."""
    if not (directory / NEXT_USER_KEY_FILE).exists():
        return None
    next_key = load_private_key(directory / NEXT_USER_KEY_FILE)
    return _carry_on(directory, next_key, lambda: None)


def _keep_seconds(directory: Path) -> int:
    """What the rotation that was begun said of the keys before its own. Raises KeyFileError when that is no number."""
    path = directory / KEEP_FILE
    try:
        return int(path.read_text())
    except FileNotFoundError:
        return KEEP_SECONDS
    except ValueError as exc:
        raise KeyFileError(
            f"{path} is no number of seconds; remove it to keep old keys for 20 minutes"
        ) from exc


def _carry_on(directory: Path, next_key: Ed25519PrivateKey, settle: Callable[[], None]) -> Rotation:
    """All steps in order; those that were done before are done again to no effect."""
    public_keys = directory / PUBLIC_KEYS_FILE
    kid = user_key_id(next_key)
    write_secret(public_keys, add_to_jwks(public_keys.read_text(), next_key).encode())
    settle()
    write_private_key(directory / USER_KEY_FILE, next_key)
    now = time.time()
    until = int(now) + _keep_seconds(directory)
    write_secret(public_keys, retire_others(public_keys.read_text(), kid, until, now).encode())
    (directory / NEXT_USER_KEY_FILE).unlink()
    (directory / KEEP_FILE).unlink(missing_ok=True)
    sync_directory(directory)
    return Rotation(kid, until)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m db.seed.rotate_keys", description="Replace the key that signs users' tokens."
    )
    parser.add_argument(
        "--keep", type=parse_lifetime, default=KEEP_SECONDS, metavar="DURATION",
        help="how long tokens of the old key are believed: seconds, or 20m, 1h (default 20m)",
    )  # fmt: skip
    parser.add_argument(
        "--settle", type=parse_lifetime, default=SETTLE_SECONDS, metavar="DURATION",
        help="how long to wait until every function knows the new key (default 6s; on a cluster 120s)",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    try:
        directory = SeedEnvironment.load(os.environ).secrets
        rotation = rotate(directory, options.keep, lambda: time.sleep(options.settle))
    except (SettingsError, KeyFileError, OSError) as exc:
        print(f"rotate-keys: {exc}", file=sys.stderr)
        return 1
    until = datetime.fromtimestamp(rotation.others_until, UTC)
    print(f"rotate-keys: {rotation.kid} signs now; keys before it are believed until {until:%H:%M:%S} UTC")
    return 0


if __name__ == "__main__":
    sys.exit(main())
