"""The requests of the constant load: reads and writes, through the gateway and straight to the cart replicas.

Each may be sent any number of times and leaves the shop as it is: the load measures, it does not fill the shop.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from benchmarks.http_client import BadAnswerError, KeepAlive, Reply, render_request
from benchmarks.load import WORKERS_PER_FLOW, Flow
from benchmarks.report import BenchmarkError
from db.seed.keys import KeyFileError
from db.seed.token import TokenRequest, mint
from localfaas.settings import Settings

PRODUCT_PATH = "/api/products/7"
CART_PATH = "/api/cart"


def prepare_flows(settings: Settings) -> tuple[Flow, ...]:
    """Open a cart with one product in it and make the requests. Raises BenchmarkError when the shop is not well."""
    port = settings.port("edge")
    with KeepAlive(port) as client:
        product = json.loads(_sent(client, _flow(port, "GET", PRODUCT_PATH)).body)
        sku = product["sku"]
        added = {"sku": sku, "quantity": 1}
        cart_token = _sent(client, _flow(port, "POST", f"{CART_PATH}/items", added)).header("X-Cart-Token")
        holder = {"X-Cart-Token": cart_token}
        flows = (
            _flow(port, "GET", PRODUCT_PATH),
            _flow(port, "GET", CART_PATH, headers=holder),
            _flow(port, "PUT", f"{CART_PATH}/items/{sku}", {"quantity": 1}, holder),
            _flow(port, "POST", f"{CART_PATH}/items", added, holder, keyed=True),
            _flow(
                port, "POST", "/api/products/bulk", {"items": [_as_it_is(product)]}, _headquarters(settings)
            ),
        )
        for flow in flows:
            for request in flow.requests:
                _sent(client, replace(flow, requests=(request,)))
    return flows


def _as_it_is(product: Mapping[str, Any]) -> dict[str, Any]:
    """A bulk row that changes nothing."""
    return {name: product[name] for name in ("sku", "name", "price_cents")}


def _headquarters(settings: Settings) -> dict[str, str]:
    try:
        token = mint(TokenRequest(roles=("hq",), subject="bench-kill"), settings.secrets, time.time())
    except KeyFileError as exc:
        raise BenchmarkError(str(exc)) from exc
    return {"Authorization": f"Bearer {token}"}


def _flow(
    port: int,
    method: str,
    path: str,
    body: object = None,
    headers: Mapping[str, str] | None = None,
    *,
    keyed: bool = False,
) -> Flow:
    """With `keyed` each connection has an Idempotency-Key of its own; one key twice at once is a conflict (409)."""
    content = b"" if body is None else json.dumps(body).encode()
    keys = [{"Idempotency-Key": str(uuid.uuid4())} for _ in range(WORKERS_PER_FLOW)] if keyed else [{}]
    host = f"localhost:{port}"
    requests = [render_request(host, method, path, content, {**(headers or {}), **key}) for key in keys]
    return Flow(method, path, tuple(requests))


def _sent(client: KeepAlive, flow: Flow) -> Reply:
    try:
        reply = client.send(flow.requests[0])
    except (OSError, BadAnswerError) as exc:
        raise BenchmarkError(
            f"no answer from the edge ({exc}); is the platform up? `make status` shows"
        ) from exc
    if reply.status != 200:
        raise BenchmarkError(
            f"{flow.method} {flow.path} answered {reply.status} before anything was killed: {reply.body[:200]!r}"
        )
    return reply
