"""What a request adds to the metrics, however it ends, and how the first one of a replica is marked."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from prometheus_client import REGISTRY
from werkzeug.test import Client

from functions.shared import Api, FunctionSettings, Unavailable, later, metrics
from functions.shared import create_app as build
from functions.shared.telemetry import Telemetry, parse_timeout
from tests.support.metrics import growth, value

api = Api("lamps", title="Lamps")


@api.get("/<id:lamp_id>")
def read_lamp(lamp_id: int) -> dict[str, float]:
    """One lamp, and how many requests are being worked on."""
    return {"in_flight": value("http_requests_in_flight")}


@api.get("/broken")
def broken() -> None:
    """Fail in a way nobody thought of."""
    raise KeyError


@api.get("/busy")
def busy() -> None:
    """Refuse for a while."""
    raise Unavailable


@pytest.fixture
def client() -> Client:
    return Client(build(api, FunctionSettings, {"threads": "3", "HOSTNAME": "lamps-1"}))


def raising(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    raise RuntimeError("not even an answer")


@pytest.mark.parametrize(
    ("method", "path", "route", "status"),
    [
        ("GET", "/7", "/<id:lamp_id>", "200"),
        ("GET", "/no/where", "unmatched", "404"),
        ("PUT", "/7", "unmatched", "405"),
        ("GET", "/broken", "/broken", "500"),
        ("GET", "/busy", "/busy", "503"),
    ],
)
def test_a_request_is_counted_however_it_ends(
    client: Client, method: str, path: str, route: str, status: str
) -> None:
    labels = {"route": route, "method": method, "status": status}
    with growth("http_request_duration_seconds_count", **labels) as counted:
        client.open(path, method=method)
    assert counted.by == 1
    assert value("http_requests_in_flight") == 0


def test_a_request_is_in_flight_while_it_is_worked_on(client: Client) -> None:
    assert client.get("/7").get_json() == {"in_flight": 1}
    assert value("http_requests_in_flight") == 0


def test_an_exception_that_nobody_catches_is_counted_and_leaves_nothing_in_flight(
    capsys: pytest.CaptureFixture[str],
) -> None:
    bare = Client(Telemetry(raising, "lamps", "lamps-1", 10.0))
    labels = {"route": "unmatched", "method": "GET", "status": "500"}
    with growth("http_request_duration_seconds_count", **labels) as counted, pytest.raises(RuntimeError):
        bare.get("/")
    assert counted.by == 1
    assert value("http_requests_in_flight") == 0
    assert json.loads(capsys.readouterr().out)["status"] == 500


def test_the_first_request_of_a_replica_is_marked_and_no_other(
    client: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(3):
        client.get("/7")
    later.settle()
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line.get("first") for line in lines] == [True, None, None]
    assert value("http_first_request_duration_seconds") == pytest.approx(
        lines[0]["milliseconds"] / 1000, abs=1e-5
    )


def test_a_replica_says_how_many_requests_it_works_on_at_once(client: Client) -> None:
    assert value("function_threads") == 3


def test_only_calls_through_the_gateway_count_as_queued(client: Client) -> None:
    with growth("http_request_queue_seconds_count") as counted:
        client.get("/7")
    assert counted.by == 0
    with growth("http_request_queue_seconds_count") as counted:
        client.get("/7", headers={"X-Start-Time": "1"})
        client.get("/7", headers={"X-Start-Time": str(time.time_ns())})
    assert counted.by == 1, "half a century in a queue is none"


@pytest.mark.parametrize(
    ("statement", "operation"),
    [
        ("\n  SELECT 1", "select"),
        ("with x AS (SELECT 1) SELECT 2", "with"),
        ("EXECUTE read_product (%s)", "execute"),
        ("-- One row is a day.\n/* x */ UPDATE x", "update"),
        ("VACUUM", "other"),
        ("-- nothing", "other"),
        ("", "other"),
    ],
)
def test_statements_are_told_apart_by_their_first_word(statement: str, operation: str) -> None:
    assert metrics.operation(statement) == (operation,)


def test_no_series_says_when_a_counter_began() -> None:
    names = {sample.name for metric in REGISTRY.collect() for sample in metric.samples}
    assert not [name for name in names if name.endswith("_created")]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("750ms", 0.75), ("1m30s", 90.0), ("2", None), ("", None), ("-1s", None), ("soon", None)],
)
def test_a_clients_deadline_is_a_duration_with_a_unit_as_the_edge_reads_it(
    text: str, seconds: float | None
) -> None:
    assert parse_timeout(text) == seconds
