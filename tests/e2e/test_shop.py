"""The shop as `make up` starts it, seen from outside: through the edge, by a stranger."""

import http.client
import importlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
import requests
from requests.structures import CaseInsensitiveDict

from functions.shared.auth import ServiceTokens
from tests.support.platform import PROJECT, Deployed, listening, steady_load
from tests.support.secret_search import (
    command_lines,
    found,
    found_in_files,
    given_away,
    left_open,
    values_in,
)
from tests.support.shoppers import Street, check_out
from tests.support.waiting import wait_for

pytestmark = pytest.mark.e2e

RETAIL = PROJECT.parent / "shared" / "data" / "online-retail-2010-12.csv"
FUNCTIONS = sorted(path.parent.name for path in (PROJECT / "functions").glob("*/handler.py"))
PUBLIC = sorted(set(FUNCTIONS) - {"maintenance", "payments", "site"})
OPERATORS = ["metrics", "_/health", "_/ready"]
"""Paths for whoever runs a function."""


def disguised(path):
    """Ways to write `/<path>` that some server on the way might tidy up into it."""
    encoded = "".join(f"%{ord(letter):02x}" if letter.isalpha() else letter for letter in path)
    slash = path.replace("/", "%2F")
    return [
        f"/{path}", f"//{path}", f"///{path}", f"/./{path}", f"/%2e/{path}", f"/x/../{path}", f"/x/%2e%2E/{path}",
        f"/{encoded}", f"/%2F{path}", f"%2F{path}", f"/%252F{path}", f"/{slash}", f"/{path}/", f"/{path}//",
        f"/{path}/.", f"/{path}%2F", f"/{path};x", f"/;/{path}", f"/{path}%00", f"/{path}?", f"/{path}%3F", f"/{path}%20",
        f"/{path.upper()}", f"/{path.title()}", path, f"/\\{path}", f"/{path}#x",
    ]  # fmt: skip


def internal_operations(function):
    """Method and path of the routes that are for other functions alone; any id will do."""
    routes = importlib.import_module(f"functions.{function}.handler").api.routes
    ids = "00000000-0000-4000-8000-000000000000"
    return [(route.method, re.sub(r"<[^>]+>", ids, route.path)[1:]) for route in routes if route.is_internal]


def is_also_public(function, path):
    """Whether a route for others has the same path, for other methods."""
    routes = importlib.import_module(f"functions.{function}.handler").api.routes
    return any(
        re.fullmatch(re.sub(r"<[^>]+>", "[^/]+", route.path), f"/{path}")
        for route in routes
        if not route.is_internal
    )


def service_token(platform):
    key = (platform.secrets / "maintenance-key").read_text()
    return {"Authorization": f"Bearer {ServiceTokens('maintenance', key).token()}"}


def get(platform, path):
    return platform.patiently(lambda: requests.get(platform.edge(path), timeout=10))


def statuses(platform, method, paths, headers=None):
    """Status of each path, sent exactly as written; clients and libraries tidy paths up."""

    def ask(path):
        edge = urlsplit(platform.edge(""))
        kind = http.client.HTTPSConnection if edge.scheme == "https" else http.client.HTTPConnection
        connection = kind(edge.hostname, edge.port, timeout=10)
        connection._validate_path = lambda path: None
        connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in (headers or {}).items():
            connection.putheader(name, value)
        connection.endheaders(b"")
        response = connection.getresponse()
        answer = requests.Response()
        answer.status_code, answer.headers = response.status, CaseInsensitiveDict(response.headers)
        connection.close()
        return answer

    return {path: platform.patiently(lambda path=path: ask(path)).status_code for path in paths}


@pytest.mark.parametrize("path", ["/api/products", "/api/cart"])
def test_first_requests_answer_as_they_stand(shop, path):
    response = get(shop, path)
    assert response.status_code == 200
    assert response.headers["X-Request-Id"]


def test_demonstration_data_is_there(shop):
    page = get(shop, "/api/products?limit=5").json()
    assert len(page["items"]) == 5
    assert page["next"]


@pytest.mark.parametrize("function", PUBLIC)
@pytest.mark.parametrize("path", OPERATORS)
def test_operators_paths_are_not_reached_through_the_edge(shop, function, path):
    found = statuses(shop, "GET", [f"/api/{function}{way}" for way in disguised(path)])
    # 401: `METRICS` may be the number of an order, which is somebody's.
    assert set(found.values()) <= {400, 401, 404}, found
    assert found[f"/api/{function}/{path}"] == 404


@pytest.mark.parametrize("path", OPERATORS)
def test_operators_paths_are_not_reached_beside_the_functions(shop, path):
    found = statuses(
        shop, "GET", [f"{place}{way}" for place in ("", "/docs", "/docs/..") for way in disguised(path)]
    )
    assert set(found.values()) <= {400, 404}, found


@pytest.mark.parametrize("function", [name for name in PUBLIC if internal_operations(name)])
def test_internal_operations_are_not_reached_through_the_edge_even_with_a_functions_token(shop, function):
    token = service_token(shop)
    for method, path in internal_operations(function):
        found = statuses(shop, method, [f"/api/{function}{way}" for way in disguised(path)], token)
        # 405: `RECOVER` may be the number of an order, which can be read and not posted.
        assert set(found.values()) <= {400, 404, 405}, found
        assert found[f"/api/{function}/{path}"] == 404
        if is_also_public(function, path):  # `recover` may be the number of an order
            continue
        others = [
            statuses(shop, other, [f"/api/{function}/{path}"], token) for other in ("HEAD", "OPTIONS", "PUT")
        ]
        assert [list(found.values()) for found in others] == [[404]] * 3
        if "/" not in path:
            direct = requests.request(
                method, shop.gateway(f"/function/{function}/{path}"), headers=token, timeout=10
            )
            assert direct.status_code not in (401, 403, 404)


def test_functions_behind_the_scenes_are_not_reached_through_the_edge(shop):
    ways = [f"/api/{name}{end}" for name in ("maintenance", "payments") for end in ("", "/", "/_/health")]
    ways += [
        f"{place}/function/{name}" for place in ("", "/api", "/docs/..", "/api/cart/..") for name in FUNCTIONS
    ]
    ways += ["/system/functions", "/api/products/../../system/functions", "/docs/%2e%2e/system/info"]
    assert set(statuses(shop, "GET", ways).values()) == {404}


def replicas_asked(shop):
    """Which carts answer twelve requests in a row."""
    return {get(shop, "/api/cart").headers["X-Served-By"] for _ in range(12)}


def test_carts_are_spread_over_three_replicas(shop):
    asked = replicas_asked(shop)
    if isinstance(shop, Deployed):  # on a cluster they have names of their own, and may be more
        assert len(asked) >= 3
    else:
        assert asked == {"cart-1", "cart-2", "cart-3"}


def test_no_get_fails_when_one_of_three_carts_dies(shop):
    pid = shop.processes()["cart-2"]["pid"]
    with steady_load(shop.edge("/api/cart"), workers=4) as load:
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: shop.processes()["cart-2"]["pid"] not in (0, pid), 20, "cart-2 again")
        wait_for(lambda: load.statuses[200] > 100, 20, "a hundred answers")
    assert load.failed == 0, load.failures[:3]


def test_saturated_carts_stay_in_rotation(shop):
    admin = shop.settings.url("edge-admin")
    wait_for(lambda: len(replicas_asked(shop)) == 3, 20, "three carts in rotation")
    with steady_load(shop.edge("/api/cart"), workers=64, pause=0) as load:
        for _ in range(20):
            health = requests.get(admin + "/upstreams/cart/health", timeout=10).json()["data"]
            assert {target["health"] for target in health} == {"HEALTHY"}
    assert load.failed == 0, load.failures[:3]
    assert set(load.served_by) == {"cart-1", "cart-2", "cart-3"}


def test_killed_postgres_comes_back_and_functions_with_it(shop):
    pid = shop.processes()["postgres"]["pid"]
    os.kill(pid, signal.SIGKILL)
    statuses = set()

    def answers_again():
        replaced = shop.processes()["postgres"]["pid"] not in (0, pid)
        status = requests.get(shop.edge("/api/products"), timeout=15).status_code
        statuses.add(status)
        return replaced and status == 200

    wait_for(answers_again, 30, "products after PostgreSQL")
    assert statuses <= {200, 503}


def test_schedule_runs_maintenance(shop):
    def calls():
        text = requests.get(f"http://127.0.0.1:{8099 + shop.offset}/metrics", timeout=10).text
        return sum(
            float(line.rsplit(" ", 1)[1])
            for line in text.splitlines()
            if 'http_request_duration_seconds_count{method="POST"' in line
        )

    before = wait_for(calls, 20, "a scheduled call")
    wait_for(lambda: calls() > before, 20, "the next one")


def test_real_catalogue_is_imported_and_found(shop):
    if not RETAIL.exists():
        pytest.skip("the Online Retail file is not in ../shared/data")
    command = [sys.executable, "-m", "db.seed.online_retail", str(RETAIL)]
    first = subprocess.run(
        command, env=shop.environment(), cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert first.returncode == 0, first.stdout + first.stderr
    assert "2,015 stock codes" in first.stdout
    found = get(shop, "/api/products?q=lantern").json()["items"]
    assert any("LANTERN" in item["name"] for item in found)
    again = subprocess.run(
        command, env=shop.environment(), cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert again.returncode == 0
    assert "Nothing changed" in again.stdout


def test_secrets_are_readable_by_their_owner_alone(shop):
    for path in Path(shop.settings.secrets).iterdir():
        assert path.stat().st_mode & 0o077 == 0, path.name


def test_logs_and_sockets_are_their_owners_alone(shop):
    folders = [shop.settings.logs, shop.settings.run]
    files = [path for folder in folders for path in folder.rglob("*") if not path.is_dir()]
    assert {path.suffix for path in files} >= {".log", ".sock"}
    assert [str(path) for path in (*folders, *files) if path.stat().st_mode & 0o077] == []


def test_nothing_listens_beyond_loopback(shop):
    assert {address for address, _ in listening(shop)} == {"127.0.0.1"}


def secrets_of_a_purchase(shop):
    """What a customer who buys something knows, and nobody else is to read, by what it is; and the request's id."""
    street, once = Street(shop), uuid4().hex
    sku, person = street.new_product(500, "W1", 5), street.visitor()
    email, password, wrong = f"{uuid4().hex}@example.com", f"a password {once}", f"another {once}"
    cart_token = person.ask("POST", "/cart/items", {"sku": sku}).headers["X-Cart-Token"]
    person.done("POST", "/customers", {"email": email, "password": password, "name": "Ada"})
    assert person.ask("POST", "/customers/sessions", {"email": email, "password": wrong}).status_code == 401
    signed = person.done("POST", "/customers/sessions", {"email": email, "password": password})
    person.token = {"Authorization": f"Bearer {signed['access_token']}"}
    cart = person.done("POST", "/cart/merge")
    bought = check_out(person, cart, card_token=f"tok_ok_{once}")
    assert bought.status_code == 201, bought.text
    person.leave()
    head, member = street.head_office(), f"{uuid4().hex}@example.com"
    account = {
        "email": member,
        "password": password,
        "name": f"Grace {uuid4().hex}",
        "role": "staff",
        "store": "S1",
    }
    head.done("POST", "/customers/staff", account)
    assert head.ask("POST", "/customers/staff", account).status_code == 409, "PostgreSQL has refused a key"
    head.leave()
    return {
        "e-mail address": email, "address of staff": member, "name of staff": account["name"],
        "password": password, "wrong password": wrong, "cart token": cart_token,
        "card token": f"tok_ok_{once}", "access token": signed["access_token"], "refresh token": signed["refresh_token"],
    }, bought.headers["X-Request-Id"]  # fmt: skip


def shown_to_anybody(shop):
    """What each part shows without a password: its metrics and its configuration; and refusals of every kind."""
    targets = requests.get(
        shop.settings.url("gateway-metrics") + "/system/localfaas/targets", timeout=10
    ).json()
    asked = [f"http://{target['targets'][0]}/metrics" for target in targets]
    pages = {
        "edge-admin": ["/metrics", "/config"], "gateway-metrics": ["/metrics"], "postgres-exporter": ["/metrics"],
        "prometheus": ["/metrics", "/api/v1/status/config", "/api/v1/status/flags", "/api/v1/targets"],
        "alertmanager": ["/metrics", "/api/v2/status"], "dashboards": ["/"],
    }  # fmt: skip
    parts = {"edge-admin", "gateway-metrics", *shop.processes()}
    asked += [
        shop.settings.url(part) + path for part, paths in pages.items() if part in parts for path in paths
    ]
    answers = [requests.get(url, timeout=10) for url in asked]
    assert {answer.status_code for answer in answers} == {200}, [
        answer.url for answer in answers if not answer.ok
    ]
    for function in PUBLIC:
        for token in ("Bearer nonsense", f"{service_token(shop)['Authorization'][:-4]}xxxx"):
            answers += [
                requests.request(method, shop.edge(f"/api/{function}{path}"), data="{", timeout=10, headers={
                    "Authorization": token, "Content-Type": "application/json", "Idempotency-Key": "k"})
                for method, path in (("GET", "/"), ("POST", "/"), ("GET", "/nothing/here"), ("DELETE", "/"))
            ]  # fmt: skip
    answers += [requests.get(shop.gateway(path), auth=auth, timeout=10)
                for path in ("/system/functions", "/system/secrets", "/function/nothing", "/ui/")
                for auth in (None, ("admin", "wrong"))]  # fmt: skip
    return {f"{answer.request.method} {answer.url}": f"{answer.headers}\n{answer.text}" for answer in answers}


def test_no_secret_is_where_others_can_read_it(shop):
    known, request_id = secrets_of_a_purchase(shop)
    values = {**values_in(Path(shop.settings.secrets)), **known}
    assert len(values) > 20
    shown = shown_to_anybody(shop)
    logs = list(shop.settings.logs.rglob("*"))
    wait_for(lambda: found_in_files({"request": request_id}, logs), 10, "the purchase in the logs")
    assert given_away(values, logs, PROJECT) == {}
    assert {pid: names for pid, line in command_lines().items() if (names := found(values, line))} == {}
    assert {place: names for place, text in shown.items() if (names := found(values, text))} == {}
    assert left_open(values, shop.state, without=["data"]) == []
