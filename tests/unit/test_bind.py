"""BIND opens the edge to other machines, and nothing else: behind it are interfaces that ask nobody for a token."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from localfaas import edge, gateway
from localfaas.settings import PORTS, Settings
from tests.support.postgres import PROJECT

ELSEWHERE = "192.0.2.1"
READERS = {"edge/edge.py", "edge/admin_node.py", "platform.py"}
"""Who listens there, who shows it as Kong does, and who hands it to the process that does both."""


def reads_bind(source: str) -> bool:
    return any(
        isinstance(node, ast.Attribute)
        and node.attr == "bind"
        and ast.unparse(node.value).endswith("settings")
        for node in ast.walk(ast.parse(source))
    )


@pytest.mark.parametrize(
    ("bind", "host", "shown"),
    [
        ("127.0.0.1", "127.0.0.1", "localhost"),
        ("0.0.0.0", "127.0.0.1", "localhost"),
        ("::", "[::1]", "[::1]"),
        (ELSEWHERE, ELSEWHERE, ELSEWHERE),
        ("127.0.0.10", "127.0.0.10", "127.0.0.10"),
        ("2001:db8::1", "[2001:db8::1]", "[2001:db8::1]"),
    ],
)
def test_the_edge_is_asked_where_it_listens_and_all_else_at_home(bind: str, host: str, shown: str) -> None:
    settings = Settings(project=PROJECT, state=PROJECT, bind=bind)
    assert settings.url("edge") == f"http://{host}:8000"
    assert settings.url("edge-tls") == f"http://{host}:8443"
    others = {
        settings.url(name).rsplit(":", 1)[0]
        for name in PORTS
        if not name.startswith("edge") or name == "edge-admin"
    }
    assert others == {"http://127.0.0.1"}
    assert settings.stack_variables({})["EDGE_URL"] == f"http://{shown}:8000"


def test_only_the_edge_is_told_of_it(tmp_path: Path) -> None:
    settings = Settings(project=PROJECT, state=tmp_path, bind=ELSEWHERE)
    gateway.write_bootstrap(settings)
    gateway.write_gateway(settings, [])
    edge.write_bootstrap(settings)
    files = {path.relative_to(tmp_path).as_posix(): path for path in tmp_path.rglob("*.json")}
    told = {name for name, path in files.items() if ELSEWHERE in path.read_text()}
    assert told == {"envoy/edge/lds/lds.json"}
    [listener] = json.loads(files["envoy/gateway/lds/lds.json"].read_text())["resources"]
    assert listener["address"]["socket_address"] == {"address": "127.0.0.1", "port_value": 8080}


def test_nobody_else_reads_it() -> None:
    package = PROJECT / "localfaas"
    readers = {
        path.relative_to(package).as_posix() for path in package.rglob("*.py") if reads_bind(path.read_text())
    }
    assert readers == READERS


def test_a_reader_is_found() -> None:
    assert reads_bind("listen(self.settings.bind, 8080)")
    assert not reads_bind("probe.bind((LOOPBACK, 1))")
