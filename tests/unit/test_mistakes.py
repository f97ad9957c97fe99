"""Ordinary mistakes are told in a line that says what to do, and no proxy comes between localfaas and its own parts."""

from __future__ import annotations

import ast
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

import localfaas
from localfaas import cli, loopback
from localfaas.edge_reload import EdgeReloadError, reload_edge
from localfaas.project import ProjectError, run_hook
from localfaas.settings import Settings


@pytest.mark.parametrize("words", [["scale", "cart", "2"], ["remove", "cart"], ["invoke", "cart"]])
def test_what_needs_a_platform_says_that_there_was_never_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert cli.main(["--project", str(tmp_path), *words]) == 1
    assert "nothing was ever started in" in capsys.readouterr().err


def test_a_damaged_record_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = Settings.load({}, tmp_path)
    settings.deployments.mkdir(parents=True)
    (settings.deployments / "cart.json").write_text("{")
    settings.secrets.mkdir(parents=True)
    for part in ("user", "password"):
        (settings.secrets / f"basic-auth-{part}").write_text("x")
    (tmp_path / "stack.yml").write_text("provider: {name: openfaas}\nfunctions: {}\n")
    assert cli.main(["--project", str(tmp_path), "deploy"]) == 1
    assert "cart.json is not a deployment record" in capsys.readouterr().err


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_kong_yml_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "kong.yml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(EdgeReloadError, match=r"kong\.yml cannot be read"):
        reload_edge(Settings.load({}, tmp_path), path)


@pytest.mark.parametrize("command", ["no-such-program --now", "python -c 'open quote"])
def test_a_hook_that_cannot_be_run_is_named(tmp_path: Path, command: str) -> None:
    with pytest.raises(ProjectError, match=r"the check command of localfaas\.yml cannot be run"):
        run_hook(Settings.load({}, tmp_path), "check", command)


# Proxies


class Here(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_a_proxy_of_the_environment_is_gone_past(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with HTTPServer(("127.0.0.1", 0), Here) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        with loopback.session() as session:
            assert session.get(f"http://127.0.0.1:{server.server_port}", timeout=10).status_code == 200


def test_localfaas_asks_nobody_by_way_of_the_environment() -> None:
    """`requests.get` and its like take the environment's proxies; tools.py fetches from the outside world."""
    found = [
        f"{path.name}:{node.lineno}"
        for path in Path(localfaas.__file__).parent.rglob("*.py")
        if path.name not in {"tools.py"}
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
        if isinstance(node.value, ast.Name) and node.value.id == "requests"
        if node.attr in {"get", "post", "put", "delete", "patch", "request"}
    ]
    assert found == []
