"""The first-request experiment's client and wait, against real replicas with and without warm-up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from benchmarks.http_client import render_request
from benchmarks.report import BenchmarkError
from tests.experiments.first_request.trials import REQUESTS, asked, is_ready
from tests.support.functions import Secrets
from tests.support.ports import free_port
from tests.support.postgres import Database
from tests.support.replicas import running_replicas


@pytest.fixture
def port(request: pytest.FixtureRequest, database: Database, tmp_path: Path) -> Iterator[int]:
    secrets = Secrets.make(tmp_path / "secrets", products_db=database.url("products"))
    environ = {**secrets.environ, "warm_up": request.param}
    with running_replicas("products", 1, tmp_path, environ) as [replica]:
        yield urlsplit(replica.url).port or 0


@pytest.mark.parametrize("port", ["true", "false"], indirect=True)
def test_ten_requests_follow_a_start_and_a_refusal_spoils_them(port: int) -> None:
    assert is_ready(port)
    taken = asked(port, render_request("localhost", "GET", "/?limit=1"), REQUESTS)
    assert len(taken) == REQUESTS
    assert min(taken) > 0
    with pytest.raises(BenchmarkError, match="answered 404"):
        asked(port, render_request("localhost", "GET", "/7"), 1)


def test_a_port_where_nobody_listens_is_not_ready() -> None:
    assert not is_ready(free_port())
