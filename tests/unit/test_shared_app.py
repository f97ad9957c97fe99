"""The application that every function is made of: routes, refusals, roles, headers, metrics, log lines."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg2
import psycopg2.errors
import pytest
from flask.testing import FlaskClient
from prometheus_client import REGISTRY

from functions.shared import (
    Answer,
    Api,
    Body,
    Conflict,
    FunctionSettings,
    TokenSettings,
    Unavailable,
    current,
    later,
)
from functions.shared import create_app as build
from functions.shared.auth import ServiceTokens
from functions.shared.warmth import Warmth
from tests.support.functions import Secrets, faulty_fields, problem

api = Api("toys", title="Toys")


class Toy(Body):
    name: str


@api.get("/<id:toy_id>")
def read_toy(toy_id: int) -> dict[str, int]:
    """One toy."""
    return {"toy_id": toy_id}


@api.get("/named/<path:name>")
def read_named(name: str) -> dict[str, str]:
    """A toy by its name."""
    return {"name": name}


@api.post("/", body=Toy, answers={201: Toy}, roles=("hq",))
def create_toy(body: Toy) -> Answer:
    """Make a toy."""
    return Answer(body.model_dump(), 201)


@api.post("/expire", roles=("service",))
def expire() -> Answer:
    """For other functions only."""
    return Answer(None, 204)


@api.get("/whoami")
def who() -> dict[str, Any]:
    """Who asks."""
    identity = current().identity()
    return {"subject": identity.subject if identity else None}


@api.get("/broken")
def broken() -> None:
    """Fail in a way nobody thought of."""
    raise KeyError("secret detail")


@api.get("/busy")
def busy() -> None:
    """Refuse for a while."""
    raise Unavailable(retry_after_seconds=3)


@api.get("/database/<kind>")
def database_error(kind: str) -> None:
    """Fail as PostgreSQL does."""
    kinds: dict[str, type[psycopg2.Error]] = {
        "timeout": psycopg2.errors.QueryCanceled,
        "lock": psycopg2.errors.LockNotAvailable,
        "deadlock": psycopg2.errors.DeadlockDetected,
        "gone": psycopg2.OperationalError,
        "closed": psycopg2.InterfaceError,
        "range": psycopg2.errors.NumericValueOutOfRange,
        "rule": psycopg2.errors.CheckViolation,
        "defect": psycopg2.errors.UndefinedTable,
    }
    raise kinds[kind]


@pytest.fixture
def secrets(tmp_path: Path) -> Secrets:
    return Secrets.make(tmp_path)


@pytest.fixture
def client(secrets: Secrets) -> FlaskClient:
    return build(api, TokenSettings, secrets.environ).test_client()


def test_a_route_answers_json_and_names_request_and_replica(client: FlaskClient) -> None:
    response = client.get("/7", headers={"X-Request-Id": "abc-1"})
    assert (response.status_code, response.get_json()) == (200, {"toy_id": 7})
    assert response.headers["X-Request-Id"] == "abc-1"
    assert response.headers["X-Served-By"] == "test-1"


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "é", "a;b", '"'])
def test_a_request_id_that_could_forge_a_log_line_is_replaced(client: FlaskClient, given: str) -> None:
    response = client.get("/7", headers={"X-Request-Id": given})
    assert re.fullmatch(r"[0-9a-f-]{36}", response.headers["X-Request-Id"])


@pytest.mark.parametrize(
    "path",
    [
        "/nothing/here",
        "/-1",
        "/9999999999999999999",
        "/" + "9" * 5000,
        "/٣",
        "/1.5",
        "//7",
        "/named/%00",
        "/named/",
    ],
)
def test_what_is_not_there_is_a_404_problem(client: FlaskClient, path: str) -> None:
    assert problem(client.get(path)) == (404, "not_found")


def test_a_trailing_slash_makes_no_difference(client: FlaskClient) -> None:
    assert client.get("/7/").status_code == 200
    assert client.get("/named/a/b").get_json() == {"name": "a/b"}


def test_a_wrong_method_is_told_which_are_right(client: FlaskClient) -> None:
    response = client.put("/7")
    assert problem(response) == (405, "method_not_allowed")
    assert "GET" in response.headers["Allow"]


def test_an_unforeseen_error_says_nothing_of_itself(client: FlaskClient) -> None:
    response = client.get("/broken")
    assert problem(response) == (500, "internal_error")
    assert b"secret detail" not in response.data


def test_a_passing_refusal_says_when_to_come_back(client: FlaskClient) -> None:
    response = client.get("/busy")
    assert problem(response) == (503, "unavailable")
    assert response.headers["Retry-After"] == "3"


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("timeout", (503, "database_slow")),
        ("lock", (503, "database_busy")),
        ("deadlock", (503, "database_busy")),
        ("gone", (503, "database_unavailable")),
        ("closed", (503, "database_unavailable")),
        ("range", (422, "out_of_range")),
        ("rule", (409, "refused")),
        ("defect", (500, "internal_error")),
    ],
)
def test_database_errors_are_translated_in_one_place(
    client: FlaskClient, kind: str, expected: tuple[int, str]
) -> None:
    response = client.get(f"/database/{kind}")
    assert problem(response) == expected
    assert ("Retry-After" in response.headers) == (expected[0] == 503)


def test_a_constraint_known_by_name_speaks_the_words_of_the_shop() -> None:
    class Diagnosed(psycopg2.errors.UniqueViolation):
        diag = type("Diagnostics", (), {"constraint_name": "toys_name_key", "column_name": None})()  # type: ignore[assignment]

    known = Api("toys", title="Toys", refusals={"toys_name_key": Conflict("Taken.", code="name_taken")})

    @known.get("/")
    def clash() -> None:
        """Clash."""
        raise Diagnosed

    client = build(known, FunctionSettings, {}).test_client()
    assert problem(client.get("/")) == (409, "name_taken")


def test_roles_are_asked_for_before_the_body_is_looked_at(client: FlaskClient, secrets: Secrets) -> None:
    response = client.post("/", data=b"{")
    assert problem(response) == (401, "unauthorized")
    assert response.headers["WWW-Authenticate"].startswith("Bearer")
    assert problem(client.post("/", data=b"{", headers=secrets.bearer("customer"))) == (403, "forbidden")
    assert client.post("/", json={"name": "x"}, headers=secrets.bearer("hq")).status_code == 201


def test_an_internal_route_is_not_there_for_what_comes_through_the_edge(secrets: Secrets) -> None:
    named = Secrets.make(secrets.directory, ("maintenance",))
    client = build(api, TokenSettings, named.environ).test_client()
    token = ServiceTokens("maintenance", (secrets.directory / "maintenance-key").read_text()).token()
    bearer = {"Authorization": f"Bearer {token}"}
    assert client.post("/expire", headers=bearer).status_code == 204
    assert problem(client.post("/expire")) == (401, "unauthorized")
    for headers in ({}, bearer, named.bearer("hq")):
        through_edge = {**headers, "X-Kong-Request-Id": "0" * 32}
        assert problem(client.post("/expire", headers=through_edge)) == (404, "not_found")


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "DELETE"])
def test_no_other_method_betrays_an_internal_route_to_the_edge(client: FlaskClient, method: str) -> None:
    through_edge = {"X-Kong-Request-Id": "0" * 32}
    assert client.open("/expire", method=method, headers=through_edge).status_code == 404
    assert client.open("/expire", method=method).status_code == 405
    refused = client.open("/whoami", method="DELETE", headers=through_edge)
    assert refused.status_code == 405
    assert set(refused.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}


def test_a_bad_token_is_refused_also_where_none_is_needed(client: FlaskClient, secrets: Secrets) -> None:
    assert client.get("/whoami").get_json() == {"subject": None}
    assert client.get("/whoami", headers=secrets.bearer("hq", subject="ada")).get_json() == {"subject": "ada"}
    assert problem(client.get("/whoami", headers={"Authorization": "Bearer x"})) == (401, "token_invalid")


def test_a_body_must_be_declared_as_json(client: FlaskClient, secrets: Secrets) -> None:
    headers = secrets.bearer("hq")
    assert problem(client.post("/", data="name=x", headers=headers)) == (415, "unsupported_media_type")
    response = client.post("/", data=b"", content_type="application/json; charset=utf-8", headers=headers)
    assert problem(response) == (400, "malformed_json")


def test_a_body_beyond_the_limit_is_refused(client: FlaskClient, secrets: Secrets) -> None:
    body = json.dumps({"name": "x" * 5_000_000})
    response = client.post("/", data=body, content_type="application/json", headers=secrets.bearer("hq"))
    assert problem(response) == (413, "too_large")


def test_faulty_fields_are_named(client: FlaskClient, secrets: Secrets) -> None:
    response = client.post("/", json={"nome": "x"}, headers=secrets.bearer("hq"))
    assert problem(response) == (422, "invalid")
    assert sorted(faulty_fields(response)) == ["name", "nome"]


def test_latency_is_counted_by_route_template_and_never_by_path(client: FlaskClient) -> None:
    def count(route: str, status: str) -> float:
        labels = {"route": route, "method": "GET", "status": status}
        return REGISTRY.get_sample_value("http_request_duration_seconds_count", labels) or 0.0

    before = count("/<id:toy_id>", "200"), count("unmatched", "404")
    for number in range(3):
        client.get(f"/{number}")
        client.get(f"/nothing/{number}")
    assert (count("/<id:toy_id>", "200"), count("unmatched", "404")) == (before[0] + 3, before[1] + 3)


def test_an_invented_method_makes_no_new_time_series(client: FlaskClient) -> None:
    client.open("/7", method="BREW")
    labels = {sample.labels.get("method") for metric in REGISTRY.collect() for sample in metric.samples}
    assert "BREW" not in labels


def test_each_request_leaves_one_json_line(client: FlaskClient, capsys: pytest.CaptureFixture[str]) -> None:
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    client.get(
        "/7?q=secret", headers={"X-Request-Id": "r1", "traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"}
    )
    later.settle()
    line = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert line["milliseconds"] >= 0
    expected = {"function": "toys", "replica": "test-1", "request_id": "r1", "trace_id": trace_id,
                "method": "GET", "route": "/<id:toy_id>", "status": 200}  # fmt: skip
    assert {name: line[name] for name in expected} == expected
    assert "secret" not in json.dumps(line)


def test_a_traceback_is_logged_with_the_request_it_belongs_to(
    client: FlaskClient, capsys: pytest.CaptureFixture[str]
) -> None:
    client.get("/broken", headers={"X-Request-Id": "r2"})
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    logged = next(line for line in lines if line["level"] == "error")
    assert logged["request_id"] == "r2"
    assert "KeyError" in logged["traceback"]


def test_a_function_without_a_database_is_ready_at_once() -> None:
    assert build(api, FunctionSettings, {}).ready() is None


def test_a_replica_warms_up_by_asking_itself_and_nobody_counts_it(
    secrets: Secrets, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []
    own = Api("warm", title="Warm", warm_up=("/asked", "/broken", "/nothing"))
    own.get("/asked")(_asked(asked))
    own.get("/broken")(broken)
    app = build(own, TokenSettings, secrets.environ)
    app.warm_up()
    later.settle()
    assert asked and not [line for line in capsys.readouterr().out.splitlines() if '"request"' in line]
    asked.clear()
    app.test_client().get("/asked")
    later.settle()
    [line] = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"request"' in line]
    assert line["first"], "the first that somebody asks for is still the first"


def test_a_replica_that_is_told_not_to_warm_up_does_not(secrets: Secrets) -> None:
    asked: list[str] = []
    own = Api("cold", title="Cold", warm_up=("/asked",))
    own.get("/asked")(_asked(asked))
    build(own, TokenSettings, {**secrets.environ, "warm_up": "false"}).warm_up()
    assert asked == []


def _asked(asked: list[str]) -> Callable[[], dict[str, str]]:
    """A route's handler that writes down that it was asked."""

    def handler() -> dict[str, str]:
        """Asked."""
        asked.append("asked")
        return {}

    return handler


def test_a_warm_up_that_fails_is_logged_and_keeps_nobody_waiting(caplog: pytest.LogCaptureFixture) -> None:
    warmth = Warmth([].pop, None, 1)
    assert warmth.restore()
    assert "the warm-up failed" in caplog.text
    assert "IndexError" in caplog.text


def test_what_has_waited_longer_than_its_time_allows_is_refused_and_not_begun(client: FlaskClient) -> None:
    def waited(seconds: float) -> dict[str, str]:
        return {"X-Start-Time": str(time.time_ns() - round(seconds * 1e9))}

    assert client.get("/7", headers=waited(0)).status_code == 200
    response = client.get("/7", headers=waited(9))
    assert (response.status_code, response.headers["Retry-After"]) == (503, "1")
    assert response.get_json()["code"] == "too_busy"
    assert client.get("/7", headers=waited(1)).status_code == 200
    assert client.get("/7", headers=waited(-9)).status_code == 200, "the gateway's clock is ahead"
    assert client.get("/7").status_code == 200


def test_a_gateway_with_another_clock_has_nothing_refused(client: FlaskClient) -> None:
    """As on a cluster whose nodes do not agree on the time."""
    behind = {"X-Start-Time": str(time.time_ns() - 10_000_000_000)}
    assert [client.get("/7", headers=behind).status_code for _ in range(3)] == [200] * 3
