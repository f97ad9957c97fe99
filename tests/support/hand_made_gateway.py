"""A function gateway made by hand: passes calls on to functions in this process, to real replicas, or to stand-ins.

It can be told to lose answers, to hold them, to answer something else, or to have no replica of a function.
Which calls are meant is said by patterns (fnmatch): a function's name (`inventory`), or its name and a path
(`payments/authorisations/*/capture`); `*` is every call.
"""

from __future__ import annotations

import http.client
import itertools
import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

from functions.shared import FunctionApp

LONGEST_HOLD_SECONDS = 30
PASSED_ON = (
    "Authorization", "Idempotency-Key", "Content-Type", "If-Match", "X-Request-Id", "X-Timeout", "traceparent",
)  # fmt: skip

Answered = tuple[int, bytes]


@dataclass(frozen=True)
class Call:
    """One call of a function, as it came."""

    function: str
    method: str
    target: str
    """Path and query, without the leading slash."""
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    def is_meant(self, pattern: str) -> bool:
        return fnmatchcase(self.function, pattern) or fnmatchcase(f"{self.function}/{self.path}", pattern)

    def is_any_of(self, patterns: Iterable[str]) -> bool:
        return any(self.is_meant(pattern) for pattern in list(patterns))


@dataclass
class Hold:
    """Calls of `path` (a pattern, without the function's name) are held `before` the function sees them, or `after`."""

    path: str
    when: Literal["before", "after"]
    reached: threading.Event = field(default_factory=threading.Event)
    release: threading.Event = field(default_factory=threading.Event)


@dataclass
class HandMadeGateway:
    """Passes `/function/<name>/<path>` on; tests change it while it runs."""

    apps: dict[str, FunctionApp] = field(default_factory=dict)
    """Functions in this process."""
    replicas: dict[str, list[str]] = field(default_factory=dict)
    """Functions that are real processes: their base addresses, asked in turn; these go before `apps`."""
    stand_ins: dict[str, Callable[[Call], Answered]] = field(default_factory=dict)
    url: str = ""
    away: set[str] = field(default_factory=set)
    """Calls that find no replica: 503."""
    lost: set[str] = field(default_factory=set)
    """Calls whose answers are lost: what is asked is done, and the caller sees 503."""
    answers: dict[str, Answered] = field(default_factory=dict)
    """What is answered instead of what the function would, which does not see the call."""
    mischief: Callable[[Call], Literal["away", "lost"] | None] | None = None
    """Decides call by call which find no replica, and which lose their answers."""
    hold: Hold | None = None
    requests: list[str] = field(default_factory=list)
    """Each call's `/function/<name>/<path>`, in the order in which they came."""
    done: list[str] = field(default_factory=list)
    """The path of each call that was answered."""
    turns: Iterator[int] = field(default_factory=itertools.count)

    def answer(self, call: Call) -> Answered:
        self.requests.append(f"/function/{call.function}/{call.target}")
        self._wait(call, "before")
        try:
            return self._answer(call)
        finally:
            self.done.append(call.target)

    def answered(self, path: str) -> bool:
        """Whether a call of this path was answered since the last `mend`."""
        return path in self.done

    def mend(self) -> None:
        """Nothing is away, lost or held any more, and what was asked before is forgotten."""
        self.away, self.lost, self.answers = set(), set(), {}
        self.hold, self.mischief = None, None
        self.requests.clear()
        self.done.clear()

    def _answer(self, call: Call) -> Answered:
        mischief = self.mischief(call) if self.mischief is not None else None
        if mischief == "away" or call.is_any_of(self.away):
            return 503, b"{}"
        for pattern, answer in list(self.answers.items()):
            if call.is_meant(pattern):
                return answer
        answer = self._pass_on(call)
        self._wait(call, "after")
        return (503, b"{}") if mischief == "lost" or call.is_any_of(self.lost) else answer

    def _pass_on(self, call: Call) -> Answered:
        if self.replicas.get(call.function):
            addresses = self.replicas[call.function]
            return _sent(addresses[next(self.turns) % len(addresses)], call)
        if call.function in self.stand_ins:
            return self.stand_ins[call.function](call)
        if call.function not in self.apps:
            return 503, b"{}"
        client = self.apps[call.function].test_client()
        response = client.open(f"/{call.target}", method=call.method, headers=call.headers, data=call.body)
        return response.status_code, response.data

    def _wait(self, call: Call, when: str) -> None:
        hold = self.hold
        if hold is not None and hold.when == when and fnmatchcase(call.path, hold.path):
            hold.reached.set()
            hold.release.wait(LONGEST_HOLD_SECONDS)


def _sent(address: str, call: Call) -> Answered:
    """The answer of a real replica; 503 when it dies, as of a gateway that has no other."""
    with closing(http.client.HTTPConnection(urlsplit(address).netloc, timeout=20)) as connection:
        try:
            connection.request(call.method, f"/{call.target}", call.body, dict(call.headers))
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException):
            return 503, b"{}"


@dataclass
class StandInCatalogue:
    """Stands in for products where a test needs no more than its prices: `gateway.stand_ins["products"] = it`."""

    products: dict[str, dict[str, Any]] = field(default_factory=dict)

    def sell(self, sku: str, price_cents: int = 100, **changes: Any) -> dict[str, Any]:
        """Put a product into the catalogue, or change it: its version goes up."""
        product = {
            "product_id": len(self.products) + 1,
            "sku": sku,
            "name": f"Product {sku}",
            "category": "Things",
            "currency": "CAD",
            "active": True,
            "version": 0,
            **self.products.get(sku, {}),
            "price_cents": price_cents,
            **changes,
        }
        product["version"] += 1
        self.products[sku] = product
        return product

    def __call__(self, call: Call) -> Answered:
        """The answer of products' `GET /prices`."""
        wanted = parse_qs(urlsplit(call.target).query)
        skus, ids = wanted.get("sku", []), [int(value) for value in wanted.get("id", [])]
        by_id = {product["product_id"]: product for product in self.products.values()}
        found = [self.products.get(sku) for sku in skus] + [by_id.get(product_id) for product_id in ids]
        missing = {
            "skus": [sku for sku in skus if sku not in self.products],
            "ids": [product_id for product_id in ids if product_id not in by_id],
        }
        items = [product for product in found if product]
        return 200, json.dumps({"items": items, "missing": missing}).encode()


@contextmanager
def running_gateway() -> Iterator[HandMadeGateway]:
    """A HandMadeGateway that listens on a free port."""
    gateway = HandMadeGateway()
    server = _Server(("127.0.0.1", 0), _handler(gateway))
    gateway.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield gateway
    finally:
        if gateway.hold is not None:
            gateway.hold.release.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128


def _handler(gateway: HandMadeGateway) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name: self.headers[name] for name in PASSED_ON if self.headers[name]}
            _, _, function, target = self.path.split("/", 3)
            status, answer = gateway.answer(Call(function, self.command, target, headers, body))
            try:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)
                self.wfile.flush()
            except ConnectionError:  # the caller was killed or has given up, which some tests are about
                self.close_connection = True

        do_POST = do_GET  # noqa: N815 - the name that http.server looks for
        do_PUT = do_GET  # noqa: N815
        do_PATCH = do_GET  # noqa: N815
        do_DELETE = do_GET  # noqa: N815

        def log_message(self, *_: Any) -> None:
            return

    return Handler
