"""Print a signed token for development: `python -m db.seed.token --role hq`.

The keys and claims are those of the customers function (user tokens) and of functions that call
each other (service tokens), so that what works with this token works with theirs.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt

from db.seed.environment import SeedEnvironment
from db.seed.keys import (
    USER_KEY_FILE,
    KeyFileError,
    load_private_key,
    service_key_file,
    service_key_id,
    user_key_id,
)
from localfaas.settings import SettingsError

ISSUER = "magasin"
ROLES = ("customer", "staff", "hq", "service")
DEFAULT_LIFETIME_SECONDS = 8 * 3600
LONGEST_LIFETIME_SECONDS = 30 * 86400
_UNIT_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class TokenRequest:
    """Whose token, with which roles; `store` goes with the role staff and with no other."""

    roles: tuple[str, ...]
    subject: str
    store: str | None = None
    lifetime_seconds: int = DEFAULT_LIFETIME_SECONDS

    def __post_init__(self) -> None:
        if ("staff" in self.roles) != (self.store is not None):
            raise ValueError("--store goes with --role staff: give both or neither")
        if "service" in self.roles and len(self.roles) > 1:
            raise ValueError("--role service stands alone: a service has no other role")
        if not 1 <= self.lifetime_seconds <= LONGEST_LIFETIME_SECONDS:
            raise ValueError("--lifetime must be from 1 second to 30 days")

    @property
    def is_service(self) -> bool:
        return "service" in self.roles


def mint(request: TokenRequest, secrets: Path, now: float) -> str:
    """A compact JWS (EdDSA) of the claims; service tokens are signed with the function's own key.

    Raises KeyFileError when the key it needs is not in `secrets`.
    """
    key_file = service_key_file(request.subject) if request.is_service else USER_KEY_FILE
    key = load_private_key(secrets / key_file)
    kid = service_key_id(request.subject) if request.is_service else user_key_id(key)
    claims: dict[str, Any] = {
        "iss": ISSUER,
        "sub": request.subject,
        "roles": list(request.roles),
        "iat": int(now),
        "exp": int(now) + request.lifetime_seconds,
    }
    if request.store is not None:
        claims["store"] = request.store
    return jwt.encode(claims, key, algorithm="EdDSA", headers={"kid": kid})


def parse_lifetime(text: str) -> int:
    """Seconds of `900`, `15m`, `8h` or `2d`. Raises ValueError for anything else."""
    match = re.fullmatch(r"(\d{1,9})([smhd]?)", text)
    if match is None:
        raise ValueError(f"{text!r} is no duration; write seconds, or 15m, 8h, 2d")
    return int(match[1]) * _UNIT_SECONDS[match[2]]


def _lifetime_argument(text: str) -> int:
    try:
        return parse_lifetime(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from exc


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m db.seed.token",
        description="Print a signed token for development, for the header `Authorization: Bearer …`.",
    )
    parser.add_argument(
        "--role", action="append", required=True, choices=ROLES, help="give it again for more"
    )
    parser.add_argument("--store", help="the store of a staff member, for example S1")
    parser.add_argument("--subject", help="customer or staff id; for --role service the function's name")
    parser.add_argument(
        "--lifetime",
        type=_lifetime_argument,
        default=DEFAULT_LIFETIME_SECONDS,
        metavar="DURATION",
        help="seconds, or 15m, 8h, 2d (default 8h)",
    )
    return parser


def main(arguments: list[str] | None = None) -> int:
    parser = build_parser()
    options = parser.parse_args(arguments)
    if "service" in options.role and not options.subject:
        parser.error("--role service needs --subject FUNCTION, whose key signs")
    try:
        request = TokenRequest(
            roles=tuple(dict.fromkeys(options.role)),
            subject=options.subject or str(uuid.uuid4()),
            store=options.store,
            lifetime_seconds=options.lifetime,
        )
        print(mint(request, SeedEnvironment.load(os.environ).secrets, time.time()))
    except (SettingsError, KeyFileError) as exc:
        print(f"token: {exc}", file=sys.stderr)
        return 1
    except ValueError as exc:
        parser.error(str(exc))
    return 0


if __name__ == "__main__":
    sys.exit(main())
