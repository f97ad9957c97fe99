"""Secrets over REST: written exactly, listed by name, never shown."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from tests.support.api import Api, make_api

PATH = "/system/secrets"


@pytest.fixture
def api(tmp_path: Path) -> Api:
    return make_api(tmp_path)


def stored(api: Api, name: str) -> bytes:
    return (api.settings.secrets / name).read_bytes()


def names(api: Api) -> list[str]:
    return [one["name"] for one in api.send("GET", PATH).json or []]


def test_a_secret_s_life(api: Api) -> None:
    assert api.send("GET", PATH).data == b"[]"
    assert api.send("POST", PATH, {"name": "cart-db", "value": "one"}).status_code == 202
    assert stored(api, "cart-db") == b"one"
    assert api.send("GET", PATH).json == [{"name": "cart-db", "namespace": "openfaas-fn"}]
    assert api.send("POST", PATH, {"name": "cart-db", "value": "two"}).status_code == 409
    assert api.send("PUT", PATH, {"name": "cart-db", "value": "two"}).status_code == 202
    assert stored(api, "cart-db") == b"two"
    response = api.send("DELETE", PATH, {"name": "cart-db"})
    assert (response.status_code, response.data) == (202, b"")
    assert names(api) == []


def test_raw_bytes_win_and_are_kept_exactly(api: Api) -> None:
    raw = b"\x00\xff line\n"
    body = {"name": "key", "value": "trimmed", "rawValue": base64.b64encode(raw).decode()}
    api.send("POST", PATH, body)
    assert stored(api, "key") == raw
    api.send("PUT", PATH, {"name": "key", "value": "é\n", "rawValue": ""})
    assert stored(api, "key") == "é\n".encode()


def test_files_are_private(api: Api) -> None:
    api.send("POST", PATH, {"name": "key", "value": "x"})
    assert (api.settings.secrets / "key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "name", ["Key", "a_b", "../key", "a/b", ".key", "-a", "a-", "a..b", "a" * 254, "a\n", "a\0", "é"]
)
def test_a_name_that_is_no_dns_name_is_422(api: Api, name: str) -> None:
    before = sorted(path.name for path in api.settings.state.rglob("*"))
    assert api.send("POST", PATH, {"name": name, "value": "x"}).status_code == 422
    assert api.send("PUT", PATH, {"name": name, "value": "x"}).status_code == 404
    assert api.send("DELETE", PATH, {"name": name}).status_code == 404
    assert sorted(path.name for path in api.settings.state.rglob("*")) == before


def test_an_empty_name_is_500_as_in_openfaas(api: Api) -> None:
    assert api.send("POST", PATH, {"value": "x"}).status_code == 500


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_an_unknown_secret_is_404(api: Api, method: str) -> None:
    response = api.send(method, PATH, {"name": "key"})
    assert (response.status_code, response.data) == (404, b"")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"name": 1}',
        b'{"name": "a", "rawValue": "%%"}',
        b'{"name": "a", "rawValue": "\xc3\xa9"}',
    ],
)
def test_a_bad_body_is_400_without_a_body(api: Api, method: str, body: bytes) -> None:
    response = api.send(method, PATH, data=body)
    assert (response.status_code, response.data) == (400, b"")


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
def test_another_namespace_is_400_without_a_body(api: Api, method: str) -> None:
    body: Any = None if method == "GET" else {"name": "a", "value": "x"}
    response = api.send(method, f"{PATH}?namespace=other", body)
    assert (response.status_code, response.data) == (400, b"")


def test_the_platform_s_own_passwords_cannot_be_seen_or_changed(api: Api) -> None:
    before = stored(api, "basic-auth-password")
    assert names(api) == []
    body = {"name": "basic-auth-password", "value": "mine"}
    assert [api.send(method, PATH, body).status_code for method in ("POST", "PUT", "DELETE")] == [
        409,
        404,
        404,
    ]
    assert api.send("POST", PATH, {"name": "postgres-other", "value": "x"}).status_code == 409
    assert stored(api, "basic-auth-password") == before
