"""The web shop with spans on: a real edge and gateway, the functions and the store of spans in this process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from waitress.server import create_server

from functions.shared import FunctionApp, later
from functions.shared.telemetry import Telemetry
from functions.shared.tracer import Tracer
from localfaas.settings import Settings
from localfaas.traces.app import create_app
from localfaas.traces.otlp import Span
from localfaas.traces.store import Store, Wanted
from tests.support.api import Api
from tests.support.edge import PROJECT, RunningEdge, running_edge
from tests.support.gateway import running_gateway
from tests.support.ports import free_offset
from tests.support.postgres import PostgresServer
from tests.support.serving import Served
from tests.support.waiting import wait_for
from tests.support.webshop import FUNCTIONS, WebShop, running_webshop


@contextmanager
def served(app: Any, port: int = 0) -> Iterator[int]:
    """A WSGI application on a port of this machine, until the block ends."""
    serving = Served(create_server(app, host="127.0.0.1", port=port, threads=4))
    try:
        yield serving.server.effective_port
    finally:
        serving.stop()


def tracer_of(function: FunctionApp) -> Tracer:
    assert isinstance(function.wsgi_app, Telemetry)
    assert function.wsgi_app.tracer
    return function.wsgi_app.tracer


@dataclass
class TracedShop:
    """What a client sees, and what is kept of it."""

    edge: RunningEdge
    shop: WebShop
    store: Store

    def spans_of(self, trace_id: str) -> list[Span]:
        """All spans of a trace that went through the edge: it is whole when no span's parent is missing."""
        later.settle()
        for function in self.shop.gateway.apps.values():
            tracer_of(function)._processor.force_flush()
        wait_for(lambda: self._is_whole(trace_id), 10, f"the whole trace {trace_id}")
        return self.store.spans(trace_id)

    def _is_whole(self, trace_id: str) -> bool:
        spans = self.store.spans(trace_id)
        known = parents(spans)
        return [span.service for span in spans if span.span_id not in known] == ["edge"]

    def trace_of(self, request_id: str) -> str:
        """The id of the trace that the request with this id is in."""
        (listed,) = wait_for(lambda: self.store.traces(Wanted(id=request_id)), 10, f"a trace of {request_id}")
        return str(listed.trace_id)


@contextmanager
def running_traced_shop(server: PostgresServer, state: Path) -> Iterator[TracedShop]:
    """As `TRACES=on make up` puts it together, in `state`, which should be a short path."""
    environ = {"PORT_OFFSET": str(free_offset()), "TRACES": "on", "RATE_LIMITS": "off"}
    settings = Settings.load({"STATE_DIR": str(state), **environ}, state)
    assert settings.traces
    with ExitStack() as stack:
        store = stack.enter_context(closing(Store(state / "traces" / "spans.db")))
        stack.enter_context(served(create_app(store), settings.port("traces")))
        gateway = stack.enter_context(running_gateway(Api(settings)))
        urls = {"gateway_url": settings.url("gateway"), "traces_url": settings.traces.url}
        shop = stack.enter_context(running_webshop(server, **urls))
        membership: dict[str, list[tuple[str, int]]] = {}
        for name in FUNCTIONS:
            function = shop.gateway.apps[name]
            stack.callback(tracer_of(function).close)
            port = stack.enter_context(served(function))
            membership[name] = [("127.0.0.1", port)]
            gateway.deploy(name, port)
        edge = stack.enter_context(running_edge(state, **environ))
        edge.edge.update_membership(membership)
        edge.load((PROJECT / "kong" / "kong.yml").read_text())
        yield TracedShop(edge, shop, store)


def parents(spans: list[Span]) -> Mapping[str, Span]:
    """Each span's parent, by the span's id; those that have none here are left out."""
    known = {span.span_id: span for span in spans}
    return {span.span_id: known[span.parent_id] for span in spans if span.parent_id in known}
