"""What the edge was given last goes on when its process starts again, whatever is then thought of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from localfaas.edge import Edge
from localfaas.edge.apply import EdgeEnvoy, EnvoyRefusedError
from localfaas.edge.compile import Compiled
from localfaas.settings import Settings

CONFIGURATION = """
_format_version: "3.0"
services:
- {name: a, url: "http://127.0.0.1:9", routes: [{name: a, paths: [/a]}]}
"""


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(EdgeEnvoy, "validate", lambda *_: None)
    settings = Settings.load({}, tmp_path)
    Edge(settings).load(CONFIGURATION)
    return settings


def routes(settings: Settings) -> str:
    return (settings.envoy("edge") / "rds" / "rds.json").read_text()


def test_what_was_accepted_once_is_not_judged_again(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(envoy: EdgeEnvoy, compiled: Compiled) -> None:
        raise EnvoyRefusedError("it was killed")

    before = routes(settings)
    monkeypatch.setattr(EdgeEnvoy, "validate", killed)
    edge = Edge(settings)
    edge.update_membership({"cart": [("127.0.0.1", 8008)]})
    assert routes(settings) == before
    assert edge.loaded.text == CONFIGURATION


def test_what_envoy_does_not_take_at_a_restart_is_told_and_still_counts_as_loaded(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def busy(envoy: EdgeEnvoy, compiled: Compiled) -> None:
        raise EnvoyRefusedError("not read within 5 s")

    monkeypatch.setattr(EdgeEnvoy, "apply", busy)
    assert Edge(settings).loaded.text == CONFIGURATION
    assert "not read within 5 s" in caplog.text


def test_what_can_no_longer_be_read_goes_on_in_envoy_until_something_else_is_loaded(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    before = routes(settings)
    (settings.envoy("edge") / "declarative.yml").write_text("_format_version: '9.9'")
    edge = Edge(settings)
    edge.update_membership({"cart": [("127.0.0.1", 8008)]})
    assert routes(settings) == before
    assert "post one to the admin port" in caplog.text
    assert edge.membership == {"cart": (("127.0.0.1", 8008),)}
    edge.load(CONFIGURATION.replace("/a", "/b"))
    edge.update_membership({})
    assert '"/b"' in routes(settings)
