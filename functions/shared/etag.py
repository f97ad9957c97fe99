"""Entity tags of rows with a version (RFC 9110, section 8.8.3), and the conditions on them."""

from __future__ import annotations

from flask import request

from .errors import PreconditionFailed, PreconditionRequired


def etag(version: int) -> str:
    """The strong entity tag of a version."""
    return f'"{version}"'


def required_version() -> int | None:
    """The version that If-Match asks for; None for `*`.

    A weak tag counts as the strong one: an edge that compresses an answer weakens its tag (nginx and Envoy do),
    and the version behind it is the same.
    Raises PreconditionRequired (428) without the header, PreconditionFailed (412) for a tag that is not ours.
    """
    header = request.headers.get("If-Match", "").strip()
    if not header:
        raise PreconditionRequired
    if header == "*":
        return None
    strong = header.removeprefix("W/")
    tag = strong.strip('"')
    if strong != etag_text(tag) or not (tag.isascii() and tag.isdecimal()) or len(tag) > 9:
        raise PreconditionFailed
    return int(tag)


def etag_text(tag: str) -> str:
    return f'"{tag}"'


def is_fresh(version: int) -> bool:
    """Whether If-None-Match says that the client already has `version`."""
    header = request.headers.get("If-None-Match")
    if not header:
        return False
    tags = {tag.strip().removeprefix("W/") for tag in header.split(",")}
    return "*" in tags or etag(version) in tags
