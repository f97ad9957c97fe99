"""The series that a PromQL expression reads, by its tokens (https://prometheus.io/docs/prometheus/latest/querying/basics/)."""

from __future__ import annotations

import re
from collections.abc import Iterator

_TOKEN = re.compile(
    r"""
    (?P<string>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`)
    | (?P<comment>\#[^\n]*)
    | (?P<number>[0-9][0-9a-zA-Z_.]*)
    | (?P<word>[a-zA-Z_:][a-zA-Z0-9_:]*)
    | (?P<sign>\S)
    """,
    re.VERBOSE,
)
_TAKES_LABELS = {"by", "without", "on", "ignoring", "group_left", "group_right"}
_WORDS = _TAKES_LABELS | {"and", "or", "unless", "offset", "bool", "atan2", "inf", "nan", "start", "end"}


def metric_names(expression: str) -> set[str]:
    """Names of all series read; the parts of a histogram or summary as they are asked for (`_bucket`, `_sum`)."""
    tokens = [*_outside_of_labels(expression), ""]
    found = set()
    for place, token in enumerate(tokens[:-1]):
        following = tokens[place + 1]
        is_call = following == "(" or following.lower() in {"by", "without"}
        if re.match(r"[a-zA-Z_:]", token) and token.lower() not in _WORDS and not is_call:
            found.add(token)
    return found


def _outside_of_labels(expression: str) -> Iterator[str]:
    """Words and signs, but those in `{…}`, `[…]` and the brackets of a grouping."""
    closing, before = "", ""
    for match in _TOKEN.finditer(expression):
        kind, token = match.lastgroup, match.group()
        if kind in {"string", "comment", "number"}:
            continue
        if closing:
            closing = "" if token == closing else closing
            continue
        if token in "{[" or (token == "(" and before in _TAKES_LABELS):
            closing = {"{": "}", "[": "]", "(": ")"}[token]
        else:
            yield token
        before = token.lower()
