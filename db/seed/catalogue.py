"""Load products through the shop's public HTTP API, in batches, as any head-office program would.

The API is the bulk upsert of the products function (functions/products/README.md): all or nothing,
each bad row named by its place. A batch may be sent again without harm, so whatever passes is waited for.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

PRODUCTS_PATH = "/api/products"
BULK_PATH = f"{PRODUCTS_PATH}/bulk"
ROWS_PER_REQUEST = 1000
"""What the bulk upsert takes at most."""
LONGEST_SKU = 64
LONGEST_NAME = 200
MAX_PRICE_CENTS = 100_000_000
"""The limits of the products function."""

ANSWER_TIMEOUT_SECONDS = 30.0
"""The client's part of the time budget."""
FIRST_PATIENCE_SECONDS = 2.0
"""How long the first contact is tried: a shop that is not running is said at once."""
PATIENCE_SECONDS = 180.0
"""How long one batch is tried while the shop is busy or away."""
LONGEST_WAIT_SECONDS = 60.0
_FIRST_WAIT_SECONDS = 0.5

_PASSING = frozenset({429, 502, 503, 504})

Row = Mapping[str, Any]
"""One product in the fields of the bulk upsert; `sku` is always there."""


class UploadError(RuntimeError):
    """The shop does not take the catalogue; the message says why and what to do."""


@dataclass
class Outcome:
    """What the shop did with the rows; `refused` is sku to the shop's reason."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    refused: dict[str, str] = field(default_factory=dict)

    def add(self, other: Outcome) -> None:
        self.created += other.created
        self.updated += other.updated
        self.unchanged += other.unchanged
        self.refused |= other.refused


@dataclass(frozen=True)
class Answer:
    """One HTTP answer, read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        try:
            value = json.loads(self.body)
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}


Send = Callable[[str, str, bytes | None, Mapping[str, str]], Answer]
"""method, path, body, headers to an answer; raises OSError or http.client.HTTPException when there is none."""


class ShopConnection:
    """A keep-alive connection to the edge, opened again after a failure."""

    def __init__(self, base_url: str) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise UploadError(f"EDGE_URL must be an address such as http://localhost:8000, not {base_url!r}")
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(parts.hostname, parts.port, timeout=ANSWER_TIMEOUT_SECONDS)
        self._prefix = parts.path.rstrip("/")

    def close(self) -> None:
        self._connection.close()

    def __call__(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> Answer:
        try:
            self._connection.request(method, self._prefix + path, body, dict(headers))
            response = self._connection.getresponse()
            content = response.read()
        except BaseException:
            self._connection.close()
            raise
        lowered = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, lowered, content)


@dataclass(frozen=True)
class Catalogue:
    """The products function as seen through the edge.

    `say` is told, in one sentence, whenever the shop has to be waited for.
    """

    send: Send
    say: Callable[[str], None]
    token: Callable[[], str] = lambda: ""
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic

    def upsert(self, rows: Sequence[Row], progress: Callable[[int], None]) -> Outcome:
        """Create or update `rows`, telling `progress` how many are done.

        Rows that the shop refuses are left out and reported; the others are stored all the same.
        Raises UploadError when the shop cannot be used.
        """
        outcome = Outcome()
        for start in range(0, len(rows), ROWS_PER_REQUEST):
            outcome.add(self._upsert_batch(rows[start : start + ROWS_PER_REQUEST]))
            progress(min(start + ROWS_PER_REQUEST, len(rows)))
        return outcome

    def _upsert_batch(self, batch: Sequence[Row]) -> Outcome:
        refused: dict[str, str] = {}
        while batch:
            answer = self.request("POST", BULK_PATH, {"items": list(batch)})
            if answer.status == 200:
                counts = answer.json()
                return Outcome(
                    int(counts.get("created", 0)),
                    int(counts.get("updated", 0)),
                    int(counts.get("unchanged", 0)),
                    refused,
                )
            bad = dict(_bad_rows(answer, len(batch)))
            if not bad:
                raise UploadError(explain(answer))
            refused |= {str(batch[index]["sku"]): reason for index, reason in bad.items()}
            batch = [row for index, row in enumerate(batch) if index not in bad]
        return Outcome(refused=refused)

    def check(self) -> None:
        """Raises UploadError when no catalogue answers at this address."""
        answer = self.request("GET", f"{PRODUCTS_PATH}?limit=1", patience=FIRST_PATIENCE_SECONDS)
        if answer.status != 200:
            raise UploadError(explain(answer))

    def request(
        self, method: str, path: str, value: Any = None, patience: float = PATIENCE_SECONDS, key: str = ""
    ) -> Answer:
        """One answer that is not a passing failure: busy and away are waited for, as told and within bounds.

        `key` is the Idempotency-Key, the same however often it is sent.
        """
        deadline = self.clock() + patience
        wait = _FIRST_WAIT_SECONDS
        while True:
            answer, fault = self._try(method, path, value, key)
            if answer is not None and answer.status not in _PASSING:
                return answer
            told = _told_wait(answer.headers) if answer is not None else None
            pause = min(told if told is not None else wait, LONGEST_WAIT_SECONDS)
            if self.clock() + pause > deadline:
                raise UploadError(f"{fault}; gave up after {patience:.0f} s")
            self.say(f"{fault}; trying again in {pause:.1f} s")
            self.sleep(pause)
            wait = min(wait * 2, LONGEST_WAIT_SECONDS)

    def _try(self, method: str, path: str, value: Any, key: str) -> tuple[Answer | None, str]:
        """The answer, if there was one, and a sentence about the failure, if it is one."""
        body = None if value is None else json.dumps(value, ensure_ascii=False).encode()
        headers = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if token := self.token():
            headers["Authorization"] = f"Bearer {token}"
        if key:
            headers["Idempotency-Key"] = key
        try:
            answer = self.send(method, path, body, headers)
        except TimeoutError:
            return None, f"the shop did not answer within {ANSWER_TIMEOUT_SECONDS:.0f} s"
        except (OSError, http.client.HTTPException) as exc:
            return None, f"the shop cannot be reached ({exc}); is it running? `make up` starts it"
        return answer, "the shop is busy" if answer.status == 429 else f"the shop answers {answer.status}"


def _told_wait(headers: Mapping[str, str]) -> float | None:
    """Seconds of Retry-After (RFC 9110 section 10.2.3), else of RateLimit-Reset."""
    text = headers.get("retry-after") or headers.get("ratelimit-reset") or ""
    if text.isdecimal():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return None


def _bad_rows(answer: Answer, count: int) -> Iterator[tuple[int, str]]:
    """The places of the rows that a 4xx names as `items.<place>.<field>`, with the shop's words on each."""
    if answer.status not in {400, 409, 422}:
        return
    for fault in answer.json().get("errors") or []:
        parts = str(fault.get("field", "")).split(".")
        if len(parts) >= 2 and parts[0] == "items" and parts[1].isdecimal() and int(parts[1]) < count:
            yield int(parts[1]), f"{'.'.join(parts[2:]) or 'row'}: {fault.get('message', 'refused')}"


def explain(answer: Answer, function: str = "products") -> str:
    """One line on an answer of `function` that ends the upload."""
    detail = (
        answer.json().get("detail")
        or answer.json().get("message")
        or answer.body[:200].decode("utf-8", "replace")
    )
    advice = {
        401: "the shop does not know this key; do SECRETS_DIR and EDGE_URL belong to one platform?",
        403: "this token may not change that",
        404: f"there is no {function} function at this address; is EDGE_URL the shop's, and is it deployed?",
        413: "a batch is larger than the edge takes",
    }.get(answer.status, f"this is not expected; the shop's logs may say more (`make logs f={function}`)")
    return f"the shop answered {answer.status} ({str(detail).strip()}): {advice}"
