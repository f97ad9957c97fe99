"""What happens before a route: clean paths, unknown paths, methods, then authentication."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from localfaas.api.app import ROUTES
from tests.support.api import BASIC, PASSWORD, USER, Api, make_api

NO_HEADERS: dict[str, str] = {}


@pytest.fixture
def api(tmp_path: Path) -> Api:
    return make_api(tmp_path)


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "route", [route for route in ROUTES if not route.open], ids=lambda r: f"{r.method} {r.path}"
)
def test_every_system_route_asks_for_the_password(api: Api, route: object) -> None:
    path = route.path.replace("<name:name>", "cart").replace("<name:namespace>", "x")  # type: ignore[attr-defined]
    response = api.send(route.method, path, headers=NO_HEADERS)  # type: ignore[attr-defined]
    assert (response.status_code, response.text) == (401, "invalid credentials")
    assert response.headers["WWW-Authenticate"] == 'Basic realm="Restricted"'
    assert response.mimetype == "text/plain"


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Basic",
        "Basic !!!",
        basic(USER),
        basic(f"{USER}:"),
        basic(f"{USER}:wrong"),
        basic(f"other:{PASSWORD}"),
        basic(f"{USER}:{PASSWORD} "),
        basic(f"{USER}:{PASSWORD}").replace("Basic", "Bearer"),
        "Bearer ",
    ],
)
def test_wrong_credentials_are_refused(api: Api, authorization: str) -> None:
    response = api.send("GET", "/system/functions", headers={"Authorization": authorization})
    assert response.status_code == 401


def test_the_right_credentials_are_admitted(api: Api) -> None:
    assert api.send("GET", "/system/functions", headers={"Authorization": BASIC}).status_code == 200
    assert api.send("GET", "/system/functions", headers={"Authorization": "b" + BASIC[1:]}).status_code == 200


@pytest.mark.parametrize(
    "path", ["/nothing", "/system/functions/", "/system/function/a%20b", "/system", "/metrics"]
)
def test_an_unknown_path_is_404_before_authentication(api: Api, path: str) -> None:
    response = api.send("GET", path, headers=NO_HEADERS)
    assert (response.status_code, response.text) == (404, "404 page not found\n")
    assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_asynchronous_invocation_is_not_there(api: Api) -> None:
    assert api.send("POST", "/async-function/cart").status_code == 404


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PATCH", "/system/functions"),
        ("POST", "/system/function/cart"),
        ("GET", "/system/scale-function/cart"),
        ("GET", "/system/alert"),
        ("POST", "/healthz"),
        ("OPTIONS", "/system/functions"),
    ],
)
def test_a_wrong_method_is_405_before_authentication(api: Api, method: str, path: str) -> None:
    response = api.send(method, path, headers=NO_HEADERS)
    assert (response.status_code, response.data) == (405, b"")


@pytest.mark.parametrize(
    ("path", "clean"),
    [
        ("//system/functions", "/system/functions"),
        ("/system//functions", "/system/functions"),
        ("/system/./functions", "/system/functions"),
        ("/x/../system/functions?namespace=a", "/system/functions?namespace=a"),
        ("/function/cart//7", "/function/cart/7"),
        ("/../../x/", "/x/"),
        ("///evil.example/..", "/"),
    ],
)
def test_an_unclean_path_is_redirected_to_the_clean_one(api: Api, path: str, clean: str) -> None:
    response = api.client.get("/", environ_overrides={"REQUEST_URI": path})
    assert (response.status_code, response.headers["Location"], response.data) == (301, clean, b"")


def test_home_leads_to_the_page_which_asks_for_the_password(api: Api) -> None:
    home = api.send("GET", "/", headers=NO_HEADERS)
    assert (home.status_code, home.headers["Location"]) == (307, "/ui/")
    assert api.send("GET", "/ui/", headers=NO_HEADERS).status_code == 401


def test_the_page_lists_functions_and_escapes_what_it_shows(api: Api) -> None:
    assert "None is deployed" in api.send("GET", "/ui/").text
    api.images.add("<b>")
    api.send("POST", "/system/functions", {"service": "cart", "image": "<b>"})
    page = api.send("GET", "/ui/").text
    assert '<a href="/function/cart">' in page
    assert "&lt;b&gt;" in page


def test_health_needs_no_password(api: Api) -> None:
    for method in ("GET", "HEAD"):
        response = api.send(method, "/healthz", headers=NO_HEADERS)
        assert (response.status_code, response.data) == (200, b"")


def test_an_unforeseen_error_is_a_fixed_sentence(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    def fail(name: str) -> int:
        raise RuntimeError("secret detail")

    api.deploy()
    object.__setattr__(api.context, "available", fail)
    response = api.send("GET", "/system/function/cart")
    assert response.status_code == 500
    assert "secret detail" not in response.text
    assert "secret detail" in caplog.text


def test_the_api_does_not_start_without_its_password(tmp_path: Path) -> None:
    api = make_api(tmp_path)
    (api.settings.secrets / "basic-auth-password").unlink()
    from localfaas.api import create_app

    with pytest.raises(FileNotFoundError):
        create_app(api.context)


def test_what_the_platform_says_of_itself(api: Api) -> None:
    assert api.send("GET", "/system/namespaces").json == ["openfaas-fn"]
    info = api.send("GET", "/system/info").json
    assert info is not None
    assert info["provider"]["provider"] == "localfaas"
    assert info["provider"]["orchestration"] not in ("", "kubernetes")
    for version in (info["version"], info["provider"]["version"]):
        assert version["sha"]
        assert version["release"]
    assert info["arch"]


def test_several_namespaces_are_not_in_the_community_edition(api: Api) -> None:
    for path in ("/system/namespace/", "/system/namespace/other"):
        response = api.send("GET", path)
        assert (response.status_code, response.text) == (
            501,
            "Feature not implemented in this version of OpenFaaS\n",
        )
        for method in ("POST", "PUT", "DELETE"):
            assert api.send(method, path).status_code == 405
    assert api.send("GET", "/system/telemetry").status_code == 404
