"""Make the secret files of the shop that are missing: `python -m db.seed.secrets`.

Made: the key that signs user tokens, a key for each function that lists `<function>-key` in stack.yml,
and the set of public keys that every function verifies with. Running it again changes nothing;
a function added later adds its key and leaves the others as they are. A rotation that was interrupted is finished.
Database passwords are not made here: localfaas makes `<name>-db` itself.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from db.seed.environment import PROJECT, SeedEnvironment
from db.seed.keys import (
    PUBLIC_KEYS_FILE,
    USER_KEY_FILE,
    KeyFileError,
    ensure_private_key,
    locked_directory,
    merge_jwks,
    service_key_file,
    service_key_id,
    user_key_id,
    write_secret,
)
from db.seed.rotate_keys import finish_rotation
from localfaas.settings import SettingsError


class StackFileError(ValueError):
    """stack.yml cannot be read; the message says why."""


def functions_with_keys(stack_file: Path) -> list[str]:
    """The functions of a stack.yml that list their own `<function>-key`, in order of name."""
    try:
        document: Any = yaml.safe_load(stack_file.read_text())
    except OSError as exc:
        raise StackFileError(f"{stack_file}: {exc.strerror}") from exc
    except yaml.YAMLError as exc:
        raise StackFileError(f"{stack_file} is not YAML: {exc}") from exc
    functions = document.get("functions") if isinstance(document, dict) else None
    if not isinstance(functions, dict):
        raise StackFileError(f"{stack_file} has no `functions`")
    return sorted(
        name for name, function in functions.items() if service_key_file(name) in _secrets_of(function)
    )


def _secrets_of(function: Any) -> list[str]:
    secrets = function.get("secrets") if isinstance(function, dict) else None
    return secrets if isinstance(secrets, list) else []


def make_missing(directory: Path, functions: list[str]) -> list[str]:
    """Make what is missing in `directory` for `functions`; return the names of the files written.

    Two runs at once end with one set of keys. Raises KeyFileError when a present file is not a key.
    """
    with locked_directory(directory):
        written = [USER_KEY_FILE] if finish_rotation(directory) else []
        user_key, made = ensure_private_key(directory / USER_KEY_FILE)
        written += [USER_KEY_FILE] if made else []
        keys = {user_key_id(user_key): user_key}
        for function in functions:
            file_name = service_key_file(function)
            keys[service_key_id(function)], made = ensure_private_key(directory / file_name)
            written += [file_name] if made else []
        if _write_public_keys(directory / PUBLIC_KEYS_FILE, keys):
            written.append(PUBLIC_KEYS_FILE)
    return written


def _write_public_keys(path: Path, keys: dict[str, Ed25519PrivateKey]) -> bool:
    present = path.read_text() if path.exists() else ""
    wanted = merge_jwks(present, keys)
    if wanted == present:
        return False
    write_secret(path, wanted.encode())
    return True


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m db.seed.secrets", description="Make the shop's secret files that are missing."
    )
    parser.add_argument("--stack", type=Path, default=PROJECT / "stack.yml", help="stack file (stack.yml)")
    options = parser.parse_args(arguments)
    try:
        directory = SeedEnvironment.load(os.environ).secrets
        written = make_missing(directory, functions_with_keys(options.stack))
    except (SettingsError, StackFileError, KeyFileError, OSError) as exc:
        print(f"secrets: {exc}", file=sys.stderr)
        return 1
    if written:
        print(f"secrets: made {', '.join(written)} in {directory}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
