"""What a load test is told of the shop: where it is, and tokens of people who can do what it does."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from db.seed.environment import SeedEnvironment
from db.seed.token import TokenRequest, mint

HERE = ("localhost", "127.0.0.1", "::1")
STORE = "S1"
CUSTOMERS = 30
"""So many buy in turn; each is done with one purchase before the next."""


class NotHereError(ValueError):
    """The shop is not on this machine."""


def edge_here(address: str) -> str:
    """The address of the edge without a trailing slash. Raises NotHereError unless it is on this machine."""
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or parts.hostname not in HERE or parts.path.strip("/"):
        raise NotHereError(f"{address} is not on this machine; load goes to http://localhost:PORT only")
    return address.rstrip("/")


def told(environ: Mapping[str, str], base: str | None = None, store: str = STORE) -> dict[str, str]:
    """BASE, HQ_TOKEN, STAFF_TOKEN and CUSTOMER_TOKENS, for eight hours; what `environ` has of them is kept.

    Raises NotHereError, KeyFileError or SettingsError.
    """
    shop = SeedEnvironment.load(environ)

    def token(*roles: str, subject: str, at: str | None = None) -> str:
        return mint(TokenRequest(roles, subject, at), shop.secrets, time.time())

    found = {"BASE": edge_here(base or environ.get("BASE") or shop.edge_url)}
    makers: dict[str, Callable[[], str]] = {
        "HQ_TOKEN": lambda: token("hq", subject="load"),
        "STAFF_TOKEN": lambda: token("staff", subject=f"load-{store}", at=store),
        "CUSTOMER_TOKENS": lambda: " ".join(
            token("customer", subject=str(uuid.uuid4())) for _ in range(CUSTOMERS)
        ),
    }
    return found | {name: environ.get(name) or make() for name, make in makers.items()}
