"""Guessing is slowed down by three buckets; no bucket that others can empty keeps someone out who is known.

| bucket | stops |
|---|---|
| pair (account, network address) | one who guesses at one account |
| address | one who tries a password on many accounts |
| account | many who guess at one account; not asked of addresses from which it was signed in to before |

A bucket holds so many guesses and gains one every so many seconds; a right password gives its guess back.
So one address can never empty an account's bucket (its own pair's is smaller), and nothing lasts beyond its cause.
"""

from __future__ import annotations

import hashlib
import ipaddress
from dataclasses import dataclass

from flask import request

from functions.shared import Problem

SLOTS = 65_536


@dataclass(frozen=True)
class Bucket:
    """How many guesses fit, and in how many seconds one is gained."""

    kind: str
    size: int
    seconds: float


@dataclass(frozen=True)
class Guess:
    """One attempt at a password: which account is guessed at, from where."""

    account: str
    address: str

    def slot(self, kind: str) -> int:
        """The bucket's place in the table, which has room for only so many."""
        key = {"account": self.account, "address": self.address, "pair": f"{self.account} {self.address}"}
        digest = hashlib.sha256(f"{kind} {key[kind]}".encode()).digest()
        return int.from_bytes(digest[:8], "big") % SLOTS


class TooManyGuesses(Problem):
    """429 (RFC 6585): the right password would not be looked at either, so it says nothing about it."""

    status, code, detail = 429, "too_many_attempts", "Too many attempts to sign in; wait a little."

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__(headers={"Retry-After": str(retry_after_seconds)})


def client_network() -> str:
    """Where the request comes from: an IPv4 address, or the /64 of an IPv6 one, which one customer has whole.

    The edge overwrites X-Real-IP; without an edge the function gateway's X-Forwarded-For names its own client.
    """
    named = request.headers.get("X-Real-IP") or request.headers.get("X-Forwarded-For", "").split(",")[0]
    for text in (named, request.remote_addr or ""):
        network = _network(text.strip())
        if network is not None:
            return network
    return "unknown"


def _network(text: str) -> str | None:
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        return str(address.ipv4_mapped or ipaddress.ip_network((int(address), 64), strict=False))
    return str(address)
