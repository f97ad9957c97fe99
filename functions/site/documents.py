"""The functions' own API documents, fetched through the function gateway and kept for a few seconds."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any

from functions.shared import Problem, to_json
from functions.shared.client import ServiceClient

from .domain import Json, merge
from .examples import EDGE_URL

FRESH_SECONDS = 10.0
"""A document that lacks nothing is asked for again after this long."""
INCOMPLETE_SECONDS = 1.0
"""One that lacks a function is, so that a function which comes back is soon shown."""
FETCH_SECONDS = 2.0
"""All functions are asked at once, and each has this long."""

_TITLE = "Magasin"
_ABOUT = """The API of the shop, one section for each function.

Errors are RFC 9457 problem details with a stable `code`.
A POST that moves money or stock takes an `Idempotency-Key`: sending it again with the same body gets the same answer.
The commands of each operation (`x-codeSamples`) work as they stand after those of *How to begin* on the page `/docs`;
`x-needs` says which of their variables other operations set.
"""


@dataclass(frozen=True)
class Gathered:
    """What the functions said at one moment; `away` gives the reason for each that said nothing of use."""

    document: Json
    body: bytes
    etag: str
    away: Mapping[str, str]


class Documents:
    """The merged document of `functions`; safe to share between threads."""

    def __init__(
        self,
        client: ServiceClient,
        functions: Sequence[str],
        edge_url: str = EDGE_URL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._functions = functions
        self._edge_url = edge_url
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: tuple[float, Gathered] | None = None

    def current(self) -> Gathered:
        """The document, at most FRESH_SECONDS old. Who comes while it is fetched waits for it."""
        with self._lock:
            if self._kept is None or self._kept[0] <= self._clock():
                gathered = self._gather()
                seconds = INCOMPLETE_SECONDS if gathered.away else FRESH_SECONDS
                self._kept = (self._clock() + seconds, gathered)
            return self._kept[1]

    def _gather(self) -> Gathered:
        with ThreadPoolExecutor(max_workers=len(self._functions)) as pool:
            # Each call belongs to the request that is worked on, whichever thread makes it.
            calls = [pool.submit(copy_context().run, self._fetch, function) for function in self._functions]
            found = {function: call.result() for function, call in zip(self._functions, calls, strict=True)}
        away = {function: result for function, result in found.items() if isinstance(result, str)}
        present = {function: result for function, result in found.items() if isinstance(result, dict)}
        about = _ABOUT + _absence(away)
        document = merge(present, title=_TITLE, description=about, edge_url=self._edge_url)
        body = to_json(document)
        return Gathered(document, body, f'"{hashlib.sha256(body).hexdigest()[:24]}"', away)

    def _fetch(self, function: str) -> Json | str:
        """The function's document, or why there is none."""
        try:
            response = self._client.get(function, "/openapi.json")
            document: Any = response.json() if response.status_code == 200 else None
        except Problem as problem:
            return f"did not answer ({problem.status})"
        except ValueError:
            return "answered something that is not JSON"
        if response.status_code != 200:
            return f"answered {response.status_code}"
        return document if _is_document(document) else "answered something else"


def _is_document(document: Any) -> bool:
    return isinstance(document, dict) and isinstance(document.get("paths"), dict)


def _absence(away: Mapping[str, str]) -> str:
    if not away:
        return ""
    reasons = "".join(f"\n- `{function}` {reason}" for function, reason in away.items())
    return f"\n**Missing from this document right now:**\n{reasons}\n"
