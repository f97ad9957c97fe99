"""What the ladder stands on: a platform of its own, the servers of the lower rungs, and edges with more and fewer plugins."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import psutil
import requests
import yaml

from benchmarks.bare_envoy import answering_envoy, passing_envoy, wait_until_listening
from benchmarks.floor import BODY_VARIABLE, served
from benchmarks.own_edge import own_edge
from benchmarks.own_platform import own_platform
from benchmarks.ports import free_port
from benchmarks.report import PROJECT, BenchmarkError
from localfaas.settings import Settings
from localfaas.status import rows
from tests.experiments.common.driving import Request
from tests.experiments.ladder.apps import ADDRESS_FILE, KEPT, PRODUCT_ID

BARE, FLASK, READ, DIRECT = "bare HTTP", "Flask", "Flask + read", "direct function"
GATEWAY, EDGE_BARE, EDGE = "gateway", "edge, no plugin", "edge"
NAIVE, NAIVE_KEPT = "naive function", "naive function, its database connection kept"
NAIVE_PROXY = "naive gateway"
RUNGS = (BARE, FLASK, READ, DIRECT, GATEWAY, EDGE_BARE, EDGE)
NEVER_REACHED = 1_000_000_000
"""In place of a limit on rates: counted, and never in the way."""
_SERVERS = (
    (BARE, "benchmarks.floor_app:application"),
    (FLASK, "tests.experiments.ladder.apps:flask_fixed", "--factory"),
    (READ, "tests.experiments.ladder.apps:flask_read", "--factory"),
)
_ACCEPT = {"Accept": "application/json", "Origin": "http://localhost:3000"}
_DIRECT_PORT = 8002


@dataclass(frozen=True)
class Stage:
    """What is asked on each rung and in each ablation, and whose processor time is taken."""

    rungs: Mapping[str, Request]
    ablations: Mapping[str, Request]
    naive: Mapping[str, Request]
    """A stack as it comes: Flask's server for development, a database connection per request, and two proxies that open a
    connection for each request and write it down, as a gateway behind an edge does without settings."""
    settings: Settings
    own: Mapping[str, int]
    """Processes that are not the platform's, by group."""
    beside: Sequence[int]
    """The proxies and servers of the ablations."""

    def watched(self) -> dict[str, Sequence[int]]:
        """Processes by group; PostgreSQL's change, so they are asked for before each run."""
        programs = {row.program: row.pid for row in rows(self.settings) if row.pid}
        return {
            "server": [pid for name in (BARE, FLASK, READ) for pid in _family(self.own[name])],
            "replica": [pid for name, pid in programs.items() if name.startswith("products-")],
            "gateway": [programs["gateway"]],
            "edge": [programs["edge"], self.own[EDGE_BARE]],
            "PostgreSQL": _family(programs["postgres"]),
            "ablations": self.beside,
        }


def _family(pid: int) -> list[int]:
    return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]


@contextmanager
def built(like: Settings) -> Iterator[Stage]:
    """Everything, up and asked once. Raises BenchmarkError when a rung does not answer as it should."""
    with ExitStack() as stack:
        settings = stack.enter_context(own_platform(like))
        direct = _DIRECT_PORT + settings.port_offset
        body = requests.get(f"http://127.0.0.1:{direct}/{PRODUCT_ID}", timeout=10).text
        own: dict[str, int] = {}
        ports: dict[str, int] = {}
        environment = {
            BODY_VARIABLE: base64.b64encode(body.encode()).decode(),
            ADDRESS_FILE: str(settings.secrets / "products-db"),
        }
        for name, target, *options in _SERVERS:
            ports[name], own[name] = stack.enter_context(served(target, environment, *options))
        before = set(_family(os.getpid()))
        upstream = stack.enter_context(answering_envoy(body))
        hops = {
            "no hop": upstream,
            "Envoy hop": stack.enter_context(passing_envoy(upstream)),
            "Envoy hop, access log": stack.enter_context(passing_envoy(upstream, access_log=True)),
            "Envoy hop, connection per request to the upstream": stack.enter_context(
                passing_envoy(upstream, keep_alive=False)
            ),
        }
        naive = {
            NAIVE: stack.enter_context(_development_server(environment)),
            NAIVE_KEPT: stack.enter_context(_development_server({**environment, KEPT: "1"})),
        }
        inner = stack.enter_context(passing_envoy(naive[NAIVE], access_log=True, keep_alive=False))
        naive[NAIVE_PROXY] = stack.enter_context(passing_envoy(inner, access_log=True, keep_alive=False))
        beside = sorted(set(_family(os.getpid())) - before)
        edge = stack.enter_context(own_edge(rate_limits=True))
        plugins = plugins_of((PROJECT / "kong" / "kong.yml").read_text())
        edge.load(kong_file(plugins, upstream, settings.port("gateway")), {})
        own[EDGE_BARE] = edge.process.pid
        rungs = {
            BARE: _asked(ports[BARE], "/7"),
            FLASK: _asked(ports[FLASK], f"/{PRODUCT_ID}"),
            READ: _asked(ports[READ], f"/{PRODUCT_ID}"),
            DIRECT: _asked(direct, f"/{PRODUCT_ID}"),
            GATEWAY: _asked(settings.port("gateway"), f"/function/products/{PRODUCT_ID}"),
            EDGE_BARE: _asked(edge.port, f"/products/{PRODUCT_ID}"),
            EDGE: _asked(settings.port("edge"), f"/api/products/{PRODUCT_ID}"),
        }
        names = ["no plugin", *(str(plugin["name"]) for plugin in plugins), "all plugins"]
        tls = _asked(settings.port("edge-tls"), f"/api/products/{PRODUCT_ID}", scheme="https")
        ablations = {
            **{name: _asked(port, "/") for name, port in hops.items()},
            **{f"edge alone, {name}": _asked(edge.port, path_of(name)) for name in names},
            **{f"{name}, connection per request": _closing(rungs[name]) for name in (DIRECT, GATEWAY, EDGE)},
            "edge, TLS": tls,
            "edge, TLS, connection per request": _closing(tls),
        }
        naively = {name: _closing(_asked(port, f"/{PRODUCT_ID}")) for name, port in naive.items()}
        found = Stage(rungs, ablations, naively, settings, own, beside)
        _examine(found)
        yield found


@contextmanager
def _development_server(environment: Mapping[str, str]) -> Iterator[int]:
    """The server that `flask run` starts; yields its port."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.experiments.ladder.apps"],
        env={**os.environ, **environment, "PORT": str(port), "PYTHONPATH": str(PROJECT)},
        cwd=PROJECT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_until_listening(process, port)
        yield port
    finally:
        process.terminate()
        process.wait(10)


def plugins_of(text: str) -> list[dict[str, Any]]:
    """The global plugins of a kong.yml, with limits on rates that are never reached."""
    return [_without_end(plugin) for plugin in yaml.safe_load(text)["plugins"]]


def _without_end(plugin: dict[str, Any]) -> dict[str, Any]:
    if plugin["name"] != "rate-limiting":
        return plugin
    windows = ("second", "minute", "hour", "day", "month", "year")
    config = {key: NEVER_REACHED if key in windows else value for key, value in plugin["config"].items()}
    return {**plugin, "config": config}


def kong_file(plugins: Sequence[Mapping[str, Any]], upstream_port: int, gateway_port: int) -> str:
    """A kong.yml with the products as the project's has them but without plugins, and a route to the upstream for none of
    the plugins, for each, and for all."""
    chosen = {
        "no plugin": [],
        **{str(plugin["name"]): [plugin] for plugin in plugins},
        "all plugins": list(plugins),
    }
    routes = [
        {"name": path_of(name).strip("/"), "paths": [f"~{path_of(name)}($|/)"], "plugins": list(some)}
        for name, some in chosen.items()
    ]
    return yaml.safe_dump(
        {
            "_format_version": "3.0",
            "services": [
                {"name": "upstream", "url": f"http://127.0.0.1:{upstream_port}", "routes": routes},
                {
                    "name": "products",
                    "url": f"http://127.0.0.1:{gateway_port}/function/products",
                    "routes": [{"name": "products", "paths": ["~/products($|/)"]}],
                },
            ],
        }
    )


def path_of(name: str) -> str:
    return "/" + name.replace(" ", "-")


def _asked(port: int, path: str, scheme: str = "http") -> Request:
    return Request(f"{scheme}://127.0.0.1:{port}{path}", headers=_ACCEPT, contains='"price_cents"')


def _closing(request: Request) -> Request:
    return Request(request.url, headers={**request.headers, "Connection": "close"}, contains=request.contains)


def _examine(stage: Stage) -> None:
    for name, request in (*stage.rungs.items(), *stage.ablations.items(), *stage.naive.items()):
        if request.url.startswith("https:"):
            continue  # its certificate is the edge's own; k6 asks without checking it
        answer = requests.get(request.url, headers=dict(request.headers), timeout=10)
        if answer.status_code != 200 or request.contains not in answer.text:
            raise BenchmarkError(f"{name} answered {answer.status_code} {answer.text[:200]!r}")
