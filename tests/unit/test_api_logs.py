"""The log stream over REST: parameters, errors, and an end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from localfaas.api import logs as api_logs
from tests.support.api import BASIC, Api, make_api


@pytest.fixture
def api(tmp_path: Path) -> Api:
    api = make_api(tmp_path)
    api.deploy()
    (api.settings.logs / "cart-1.log").write_text("one\ntwo\n")
    (api.settings.logs / "cart-2.log").write_text("three\n")
    return api


def texts(api: Api, query: str) -> list[str]:
    response = api.send("GET", f"/system/logs?{query}")
    assert (response.status_code, response.content_type) == (200, "text/plain; charset=utf-8")
    return [json.loads(line)["text"] for line in response.text.splitlines()]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("name=cart", ["one", "two", "three"]),
        ("name=cart&tail=1", ["two", "three"]),
        ("name=cart&tail=-1&follow=false", ["one", "two", "three"]),
        ("name=cart&instance=cart-2", ["three"]),
        ("name=cart&since=2000-01-01T00:00:00Z&namespace=openfaas-fn", ["one", "two", "three"]),
        ("name=cart&since=2100-01-01T00:00:00%2B01:00", []),
        ("name=cart&since=2100-01-01T00:00:00+01:00", []),
    ],
)
def test_lines_are_selected_as_asked(api: Api, query: str, expected: list[str]) -> None:
    assert texts(api, query) == expected


@pytest.mark.parametrize(
    "query",
    [
        "",
        "name=",
        "name=cart&tail=x",
        "name=cart&since=5m",
        "name=cart&since=2026-01-01T00:00:00",
        "name=cart&follow=yes",
    ],
)
def test_what_cannot_be_parsed_is_openfaas_s_500(api: Api, query: str) -> None:
    response = api.send("GET", f"/system/logs?{query}")
    assert (response.status_code, response.text) == (500, "unknown log request error (422)\n")


@pytest.mark.parametrize("query", ["name=other", "name=cart&namespace=other", "name=../cart"])
def test_an_unknown_function_is_openfaas_s_500(api: Api, query: str) -> None:
    response = api.send("GET", f"/system/logs?{query}")
    assert (response.status_code, response.text) == (500, "unknown log request error (500)\n")


def test_following_ends_when_the_client_leaves(api: Api) -> None:
    answers = iter([False, True])
    response = api.client.get(
        "/system/logs?name=cart&tail=1&follow=true",
        headers={"Authorization": BASIC},
        environ_overrides={"waitress.client_disconnected": lambda: next(answers)},
    )
    assert len(response.text.splitlines()) == 2


def test_followers_leave_room_for_others(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_logs, "_followers", api_logs.threading.BoundedSemaphore(1))

    def follow() -> int:
        response = api.client.get(
            "/system/logs?name=cart&follow=1",
            headers={"Authorization": BASIC},
            environ_overrides={"waitress.client_disconnected": lambda: True},
            buffered=False,
        )
        open_responses.append(response)
        return response.status_code

    open_responses: list = []  # type: ignore[type-arg]
    assert follow() == 200
    assert follow() == 503
    for response in open_responses:
        response.close()
    assert follow() == 200
    open_responses[-1].close()
