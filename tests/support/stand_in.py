"""A stand-in for the function gateway: passes calls to real functions, and answers for products where none is given."""

from __future__ import annotations

import json
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.error import HTTPError
from urllib.parse import parse_qs, urlsplit

PRODUCTS = "/function/products/prices"
LONGEST_HOLD_SECONDS = 30


@dataclass
class StandInGateway:
    """What the stand-in knows; tests change it while it runs."""

    url: str = ""
    products: dict[str, dict[str, Any]] = field(default_factory=dict)
    functions: dict[str, str] = field(default_factory=dict)
    """Function name to the base address of a real replica."""
    away: bool = False
    """Answer 503, as the gateway does when a function has no replica."""
    garbage: bytes | None = None
    """Answer this instead of prices."""
    hold: threading.Event | None = None
    """Answer only once it is set."""
    requests: list[str] = field(default_factory=list)

    def sell(self, sku: str, price_cents: int = 100, **changes: Any) -> dict[str, Any]:
        """Put a product into the catalogue, or change it: its version goes up."""
        product = {
            "product_id": len(self.products) + 1,
            "sku": sku,
            "name": f"Product {sku}",
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

    def prices(self, query: str) -> dict[str, Any]:
        """The answer of products' `GET /prices`."""
        wanted = parse_qs(query)
        skus, ids = wanted.get("sku", []), [int(value) for value in wanted.get("id", [])]
        by_id = {product["product_id"]: product for product in self.products.values()}
        found = [self.products.get(sku) for sku in skus] + [by_id.get(product_id) for product_id in ids]
        return {
            "items": [product for product in found if product],
            "missing": {
                "skus": [sku for sku in skus if sku not in self.products],
                "ids": [product_id for product_id in ids if product_id not in by_id],
            },
        }


@contextmanager
def running_stand_in() -> Iterator[StandInGateway]:
    """A StandInGateway that listens on a free port."""
    gateway = StandInGateway()
    server = _Server(("127.0.0.1", 0), _handler(gateway))
    gateway.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield gateway
    finally:
        if gateway.hold is not None:
            gateway.hold.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128


def _handler(gateway: StandInGateway) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def do_GET(self) -> None:
            gateway.requests.append(self.path)
            parts = urlsplit(self.path)
            if gateway.hold is not None:
                gateway.hold.wait(LONGEST_HOLD_SECONDS)
            if gateway.away:
                self._answer(503, b"{}")
            elif gateway.garbage is not None:
                self._answer(200, gateway.garbage)
            elif parts.path != PRODUCTS or "products" in gateway.functions:
                self._pass_on("GET")
            else:
                self._answer(200, json.dumps(gateway.prices(parts.query)).encode())

        def do_POST(self) -> None:
            gateway.requests.append(self.path)
            if gateway.hold is not None:
                gateway.hold.wait(LONGEST_HOLD_SECONDS)
            if gateway.away:
                self._answer(503, b"{}")
            elif gateway.garbage is not None:
                self._answer(200, gateway.garbage)
            else:
                self._pass_on("POST")

        def _pass_on(self, method: str) -> None:
            _, _, function, path = self.path.split("/", 3)
            address = gateway.functions.get(function)
            if address is None:
                self._answer(503, b"{}")
                return
            headers = {"Authorization": self.headers["Authorization"] or ""}
            request = urllib.request.Request(f"{address}/{path}", method=method, headers=headers)
            try:
                with urllib.request.urlopen(request, timeout=20) as response:
                    self._answer(response.status, response.read())
            except HTTPError as refusal:
                with refusal:
                    self._answer(refusal.code, refusal.read())

        def _answer(self, status: int, body: bytes) -> None:
            try:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
                self.wfile.flush()
            except ConnectionError:  # the caller has given up, which some tests are about
                self.close_connection = True

        def log_message(self, *_: Any) -> None:
            return

    return Handler
