"""What TRACES changes of the platform, and that without it nothing is changed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from localfaas import tracer
from localfaas.gateway import clusters, listeners
from localfaas.monitoring import traces
from localfaas.platform import api_program
from localfaas.settings import Settings, Traces
from localfaas.status import traces_sent
from localfaas.supervisor import write_program

OFF = Settings(project=Path("/project"), state=Path("/state"), port_offset=1000)
STORED = replace(OFF, traces=Traces("http://127.0.0.1:9095", 0.25))
ELSEWHERE = replace(OFF, traces=Traces("http://collector.example:4318/otlp"))


def test_without_it_no_envoy_knows_of_a_tracer() -> None:
    assert tracer.traced(None, "edge", "%ROUTE_NAME%", {"a": "b"}) == {}
    assert (tracer.early_mutations(None), tracer.clusters(None)) == ([], [])
    assert "racing" not in str([listeners(OFF), clusters([], OFF)])


def test_spans_go_where_the_setting_says_and_as_many_of_them() -> None:
    (cluster,) = tracer.clusters(ELSEWHERE.traces)
    (endpoint,) = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
    address = endpoint["endpoint"]["address"]["socket_address"]
    assert address == {"address": "collector.example", "port_value": 4318}
    text = str(listeners(ELSEWHERE))
    assert "'uri': 'http://collector.example:4318/otlp/v1/traces'" in text
    assert "'numerator': 1000000" in text
    assert "'numerator': 250000" in str(listeners(STORED))


@pytest.mark.parametrize("settings", [OFF, ELSEWHERE])
def test_the_store_runs_only_where_spans_go_to_it(settings: Settings) -> None:
    assert traces.program(settings, Path("python"), ()) is None
    stored = traces.program(STORED, Path("python"), ())
    assert stored is not None
    assert list(stored.command[-4:]) == ["--port", "9095", "--directory", "/state/traces"]


def test_a_deploy_sends_spans_where_the_platform_was_started_to(tmp_path: Path) -> None:
    stored, off = replace(STORED, state=tmp_path), replace(OFF, state=tmp_path)
    assert traces_sent(stored) == stored.traces
    write_program(stored, api_program(stored))
    assert traces_sent(off) == stored.traces
    write_program(off, api_program(off))
    assert traces_sent(stored) is None
