"""Envoys with nothing in them: one that answers by itself, as fast as it can, and one that only passes on."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.ports import free_port
from benchmarks.report import BenchmarkError
from localfaas.platform import ENVOY_FLAGS, envoy_binary

START_SECONDS = 15.0
_HTTP = (
    "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
)
_FILE_LOG = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog"
_PROTOCOL = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"


@contextmanager
def answering_envoy(body: str) -> Iterator[int]:
    """Answers everything with 200 and `body`; yields its port."""
    answer = {"direct_response": {"status": 200, "body": {"inline_string": body}}}
    with _running(answer, {}) as port:
        yield port


@contextmanager
def passing_envoy(target_port: int, *, access_log: bool = False, keep_alive: bool = True) -> Iterator[int]:
    """Passes everything on to `target_port`, as a proxy without a single feature does; yields its port.

    With `access_log` it writes a line for each request, and without `keep_alive` it opens a connection for each.
    """
    endpoint = {"address": {"socket_address": {"address": "127.0.0.1", "port_value": target_port}}}
    cluster: dict[str, Any] = {
        "name": "target",
        "type": "STATIC",
        "load_assignment": {
            "cluster_name": "target",
            "endpoints": [{"lb_endpoints": [{"endpoint": endpoint}]}],
        },
    }
    if not keep_alive:
        options = {"common_http_protocol_options": {"max_requests_per_connection": 1}}
        protocol = {"@type": _PROTOCOL, **options, "explicit_http_config": {"http_protocol_options": {}}}
        cluster["typed_extension_protocol_options"] = {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": protocol
        }
    with _running({"route": {"cluster": "target"}}, {"clusters": [cluster]}, access_log=access_log) as port:
        yield port


@contextmanager
def _running(route: Mapping[str, Any], more: Mapping[str, Any], *, access_log: bool = False) -> Iterator[int]:
    port = free_port()
    folder = Path(tempfile.mkdtemp(prefix="envoy-bench-"))
    log = [_logger(folder / "access.log")] if access_log else []
    (folder / "envoy.json").write_text(json.dumps(_bootstrap(port, route, more, log)))
    command = [str(envoy_binary()), "--config-path", str(folder / "envoy.json"), *ENVOY_FLAGS]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until_listening(process, port)
        yield port
    finally:
        process.terminate()
        process.wait(10)
        shutil.rmtree(folder, ignore_errors=True)


def _logger(path: Path) -> dict[str, Any]:
    """A line of text for each request, in Envoy's own format."""
    config = {"@type": _FILE_LOG, "path": str(path)}
    return {"name": "envoy.access_loggers.file", "typed_config": config}


def _bootstrap(
    port: int, route: Mapping[str, Any], more: Mapping[str, Any], access_log: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    host = {"name": "any", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, **route}]}
    manager = {
        "@type": _HTTP,
        "stat_prefix": "bare",
        "route_config": {"virtual_hosts": [host]},
        "access_log": list(access_log),
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": _ROUTER}}],
    }
    listener = {
        "name": "bare",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }
    return {"node": {"id": "bare", "cluster": "bare"}, "static_resources": {"listeners": [listener], **more}}


def wait_until_listening(process: subprocess.Popen[bytes], port: int) -> None:
    """Raises BenchmarkError when the process does not take connections on `port` in time."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise BenchmarkError(f"{process.args!r} did not start")
