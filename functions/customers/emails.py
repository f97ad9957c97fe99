"""E-mail addresses: one form to compare, another to show."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

import idna

from functions.shared import Invalid

LONGEST_LOCAL_BYTES = 64
LONGEST_BYTES = 254
"""RFC 5321, section 4.5.3.1, less the angle brackets; counted in UTF-8 as RFC 6531 does."""
_ATOM = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.\u0080-\U0010ffff-]+\Z")


@dataclass(frozen=True)
class Email:
    """An address as its owner wrote it, and the key under which it is the same however it is written."""

    shown: str
    key: str


def parse(text: str) -> Email:
    """The address that `text` is; raises Invalid naming the field `email`.

    The key is NFKC and casefolded, its domain in ASCII by IDNA 2008 (UTS #46, not transitional). Mail servers may
    tell `A@x` from `a@x`, or `ß` from `ss`; we do not: nobody has two such addresses, and others could pretend to.
    Quoted local parts and addresses in brackets are not taken.
    """
    shown = unicodedata.normalize("NFC", text)
    local, at, domain = unicodedata.normalize("NFKC", shown).rpartition("@")
    if not at:
        raise _refused("is not an e-mail address: it has no @")
    key = f"{_local_key(local)}@{_domain_key(domain)}"
    if max(len(key.encode()), len(shown.encode())) > LONGEST_BYTES:
        raise _refused(f"must not be longer than {LONGEST_BYTES} bytes")
    return Email(shown, key)


def _local_key(local: str) -> str:
    key = unicodedata.normalize("NFKC", local.casefold())
    if not key or len(key.encode()) > LONGEST_LOCAL_BYTES:
        raise _refused(f"must have 1 to {LONGEST_LOCAL_BYTES} bytes before the @")
    dots_wrong = key.startswith(".") or key.endswith(".") or ".." in key
    if dots_wrong or not _ATOM.match(key) or not key.isprintable():
        raise _refused("has characters before the @ that an address cannot have")
    return key


def _domain_key(domain: str) -> str:
    try:
        key = idna.encode(domain, uts46=True, std3_rules=True).decode("ascii").lower()
    except (idna.IDNAError, UnicodeError) as error:
        raise _refused("has no valid domain after the @") from error
    if "." not in key or key.endswith("."):
        raise _refused("has no valid domain after the @")
    return key


def _refused(message: str) -> Invalid:
    return Invalid(
        "The e-mail address cannot be used.",
        code="email_invalid",
        errors=[{"field": "email", "message": message}],
    )
