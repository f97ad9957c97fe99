"""The catalogue over HTTP on a real PostgreSQL: what it takes, shows and refuses."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from functions.products import store
from functions.products.handler import create_app
from functions.shared import FunctionApp
from tests.support.functions import Secrets, faulty_fields, problem
from tests.support.postgres import TEMPLATE, Database, PostgresServer

LANTERN = {"sku": "85123A", "name": "WHITE HANGING HEART T-LIGHT HOLDER", "price_cents": 255}


@pytest.fixture(scope="module")
def database(postgres_server: PostgresServer) -> Iterator[Database]:
    """One for all tests of this file; `app` empties it, which is faster than a database for each."""
    database = postgres_server.create_database(TEMPLATE)
    yield database
    database.drop()


@pytest.fixture(scope="module")
def secrets(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Secrets:
    directory = tmp_path_factory.mktemp("secrets")
    return Secrets.make(directory, services=("cart",), products_db=database.url("products"))


@pytest.fixture(scope="module")
def running_app(secrets: Secrets) -> Iterator[FunctionApp]:
    app = create_app({**secrets.environ, "threads": "8"})
    yield app
    app.service.database.close()


@pytest.fixture
def app(running_app: FunctionApp, database: Database) -> FunctionApp:
    """The function of an empty catalogue, whose first product will be number 1."""
    with closing(database.connect()) as connection, connection, connection.cursor() as cursor:
        cursor.execute(
            "TRUNCATE products.products, products.prices, products.idempotency_keys RESTART IDENTITY"
        )
    return running_app


@pytest.fixture
def client(app: FunctionApp) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def hq(secrets: Secrets) -> dict[str, str]:
    return secrets.bearer("hq", subject="ada")


def create(client: FlaskClient, hq: dict[str, str], **fields: Any) -> dict[str, Any]:
    response = client.post("/", json={**LANTERN, **fields}, headers=hq)
    assert response.status_code == 201, response.data
    product: dict[str, Any] = response.get_json()
    return product


def skus(client: FlaskClient, query: str) -> list[str]:
    response = client.get(f"/?{query}")
    assert response.status_code == 200, response.data
    return [item["sku"] for item in response.get_json()["items"]]


def at_once(count: int, call: Callable[[int], Any]) -> list[Any]:
    """Results of `count` calls that start together."""
    gate = threading.Barrier(count)

    def run(index: int) -> Any:
        gate.wait(10)
        return call(index)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def test_a_product_is_created_and_read_by_id_and_by_sku(client: FlaskClient, hq: dict[str, str]) -> None:
    created = create(client, hq)
    assert created | LANTERN == created
    assert (created["currency"], created["category"], created["active"], created["version"]) == (
        "CAD", "uncategorised", True, 1,
    )  # fmt: skip
    assert created["created_at"].endswith("Z")
    for path in (f"/{created['product_id']}", "/sku/85123A"):
        response = client.get(path)
        assert (response.get_json(), response.headers["ETag"]) == (created, '"1"')


def test_reading_again_what_has_not_changed_sends_no_body(client: FlaskClient, hq: dict[str, str]) -> None:
    product_id = create(client, hq)["product_id"]
    response = client.get(f"/{product_id}", headers={"If-None-Match": '"1"'})
    assert (response.status_code, response.data) == (304, b"")


@pytest.mark.parametrize("path", ["/7", "/0", "/999999999999999999", "/sku/nope", "/7/prices"])
def test_an_unknown_product_is_not_found(client: FlaskClient, path: str) -> None:
    assert problem(client.get(path)) == (404, "product_not_found")


@pytest.mark.parametrize(
    "sku", ["gift_0001_40", "DCGS0058", "a/b c", "☕-1", "85123A+", "..", "%2F", "PADS?"]
)
def test_a_sku_of_any_spelling_is_found_again(client: FlaskClient, hq: dict[str, str], sku: str) -> None:
    create(client, hq, sku=sku)
    escaped = sku.replace("%", "%25").replace("?", "%3F")
    assert client.get(f"/sku/{escaped}").get_json()["sku"] == sku


def test_a_sku_belongs_to_one_product_also_when_two_ask_at_once(app: FunctionApp, hq: dict[str, str]) -> None:
    answers = at_once(8, lambda _: app.test_client().post("/", json=LANTERN, headers=hq))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 7
    refused = next(answer for answer in answers if answer.status_code == 409)
    assert problem(refused) == (409, "sku_taken")
    assert faulty_fields(refused) == ["sku"]


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"price_cents": -1}, "price_cents"),
        ({"price_cents": 100_000_001}, "price_cents"),
        ({"price_cents": 10**30}, "price_cents"),
        ({"price_cents": 2.5}, "price_cents"),
        ({"price_cents": "255"}, "price_cents"),
        ({"price_cents": True}, "price_cents"),
        ({"price_cents": None}, "price_cents"),
        ({"sku": ""}, "sku"),
        ({"sku": "   "}, "sku"),
        ({"sku": "x" * 65}, "sku"),
        ({"sku": "a\nb"}, "sku"),
        ({"sku": 85123}, "sku"),
        ({"name": ""}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"name": "ﷺ" * 60}, "name"),
        ({"name": "a\x07"}, "name"),
        ({"description": "x" * 2001}, "description"),
        ({"category": ""}, "category"),
        ({"currency": "cad"}, "currency"),
        ({"currency": "€"}, "currency"),
        ({"active": "yes"}, "active"),
        ({"colour": "white"}, "colour"),
    ],
)
def test_a_value_that_cannot_be_sold_is_named(
    client: FlaskClient, hq: dict[str, str], fields: dict[str, Any], named: str
) -> None:
    response = client.post("/", json={**LANTERN, **fields}, headers=hq)
    assert problem(response) == (422, "invalid")
    assert faulty_fields(response) == [named]


@pytest.mark.parametrize("missing", ["sku", "name", "price_cents"])
def test_what_is_required_is_asked_for(client: FlaskClient, hq: dict[str, str], missing: str) -> None:
    fields = {name: value for name, value in LANTERN.items() if name != missing}
    assert faulty_fields(client.post("/", json=fields, headers=hq)) == [missing]


@pytest.mark.parametrize("name", ["NUL\x00", "half \ud83d"])
def test_text_that_cannot_be_stored_is_a_bad_request(
    client: FlaskClient, hq: dict[str, str], name: str
) -> None:
    body = json.dumps({**LANTERN, "name": name})
    response = client.post("/", data=body, content_type="application/json", headers=hq)
    assert problem(response) == (400, "malformed_json")


def test_only_the_head_office_and_services_write(client: FlaskClient, secrets: Secrets) -> None:
    for method, path in (("post", "/"), ("patch", "/1"), ("delete", "/1"), ("post", "/bulk")):
        call = getattr(client, method)
        assert problem(call(path, json={})) == (401, "unauthorized")
        for headers in (secrets.bearer("customer"), secrets.bearer("staff", store="S1")):
            assert problem(call(path, json={}, headers=headers)) == (403, "forbidden")
    service = secrets.bearer("service", subject="cart")
    assert client.post("/", json=LANTERN, headers=service).status_code == 201


def test_the_search_minds_neither_case_nor_accents_nor_order(client: FlaskClient, hq: dict[str, str]) -> None:
    create(client, hq, sku="A1", name="Café Crème", description="Tasse à motif d'été")
    create(client, hq, sku="B2", name="CAFE NOIR")
    create(client, hq, sku="C3", name="Cafe\u0301 filtre")
    assert skus(client, "q=cafe") == ["A1", "C3", "B2"]
    assert skus(client, "q=CRÈME+café") == ["A1"]
    assert skus(client, "q=ÉTÉ+tasse") == ["A1"]
    assert skus(client, "q=b2") == ["B2"]
    assert skus(client, "q=the") == []


@pytest.mark.parametrize("word", ["%", "_", "\\", "100%", "'", '"', "$1", "%s", "%(q)s", "％"])
def test_no_character_of_a_search_is_special(client: FlaskClient, hq: dict[str, str], word: str) -> None:
    create(client, hq, sku="PLAIN", name="nothing of the kind")
    create(client, hq, sku="ODD", name=f"before {word} after")
    response = client.get("/", query_string={"q": word})
    assert [item["sku"] for item in response.get_json()["items"]] == ["ODD"]


def test_filters_combine(client: FlaskClient, hq: dict[str, str]) -> None:
    for index in range(6):
        create(
            client, hq, sku=f"S{index}", price_cents=index * 100, category="even" if index % 2 == 0 else "odd"
        )
    product_id = create(client, hq, sku="S6", price_cents=600, category="even")["product_id"]
    client.delete(f"/{product_id}", headers={**hq, "If-Match": "*"})
    assert skus(client, "category=even&min_price_cents=200&max_price_cents=600&sort=price") == ["S2", "S4"]
    assert skus(client, "active=false") == ["S6"]
    assert skus(client, "category=even&active=any&sort=-price") == ["S6", "S4", "S2", "S0"]
    assert skus(client, "min_price_cents=500&max_price_cents=100") == []


@pytest.mark.parametrize("sort", ["name", "-name", "price", "-price", "created", "-created"])
def test_pages_show_each_product_once_in_a_stable_order(
    client: FlaskClient, hq: dict[str, str], sort: str
) -> None:
    items = [{"sku": f"S{i:02}", "name": f"name {i % 3}", "price_cents": i % 4} for i in range(23)]
    client.post("/bulk", json={"items": items}, headers=hq)
    seen: list[str] = []
    after = ""
    while after is not None:
        page = client.get(
            "/", query_string={"sort": sort, "limit": 5} | ({"after": after} if after else {})
        ).get_json()
        seen += [item["sku"] for item in page["items"]]
        after = page["next"]
        create(client, hq, sku=f"NEW{len(seen)}", name="name", price_cents=0)  # grows while it is read
    assert [sku for sku in dict.fromkeys(seen) if sku.startswith("S")] == [
        sku for sku in seen if sku.startswith("S")
    ]
    assert {sku for sku in seen if sku.startswith("S")} == {item["sku"] for item in items}


@pytest.mark.parametrize(
    ("query", "status"),
    [("limit=0", 422), ("limit=201", 422), ("limit=x", 422), ("sort=colour", 422), ("colour=red", 422), ("after=x", 400),
     ("q=" + "a" * 101, 422), ("q=" + "+a" * 9, 422), ("q=%00", 400), ("category=%00", 400), ("min_price_cents=-1", 422),
     ("max_price_cents=99999999999999999999", 422), ("active=maybe", 422), ("q=a&q=b", 422)],
)  # fmt: skip
def test_a_query_that_makes_no_sense_is_refused(client: FlaskClient, query: str, status: int) -> None:
    response = client.get(f"/?{query}")
    assert problem(response)[0] == status


def test_a_cursor_is_good_for_its_own_order_only(client: FlaskClient, hq: dict[str, str]) -> None:
    for index in range(3):
        create(client, hq, sku=f"S{index}")
    cursor = client.get("/?limit=1&sort=price").get_json()["next"]
    assert problem(client.get(f"/?limit=1&sort=-price&after={cursor}")) == (422, "bad_cursor")
    assert problem(client.get(f"/?limit=1&sort=name&after={cursor}")) == (400, "bad_cursor")


@pytest.mark.parametrize("name", ["😀" * 200, "ﷺ" * 11])
def test_a_list_goes_on_after_the_longest_names_that_there_are(
    client: FlaskClient, hq: dict[str, str], name: str
) -> None:
    for index in range(3):
        create(client, hq, sku=f"S{index}", name=name)
    cursor = client.get("/?limit=1").get_json()["next"]
    assert [item["sku"] for item in client.get(f"/?after={cursor}").get_json()["items"]] == ["S1", "S2"]


def test_several_prices_are_read_in_one_call_and_missing_ones_named(
    client: FlaskClient, hq: dict[str, str]
) -> None:
    first, second = create(client, hq, sku="S1"), create(client, hq, sku="S2", price_cents=9)
    client.delete(f"/{second['product_id']}", headers={**hq, "If-Match": "*"})
    answer = client.get(
        f"/prices?sku=S2&sku=nope&sku=s1&id={first['product_id']}&id=424242&sku=S2"
    ).get_json()
    assert [(item["sku"], item["price_cents"], item["active"]) for item in answer["items"]] == [
        ("S2", 9, False), ("S1", 255, True),
    ]  # fmt: skip
    assert answer["missing"] == {"skus": ["nope", "s1"], "ids": [424242]}


@pytest.mark.parametrize(
    "query", ["", "id=x", "id=0", "id=99999999999999999999", "sku=" + "x" * 65, "&".join(["id=1"] * 201)]
)
def test_prices_of_nothing_or_of_too_much_are_refused(client: FlaskClient, query: str) -> None:
    assert problem(client.get(f"/prices?{query}"))[0] == 422


def test_categories_count_what_is_on_sale(client: FlaskClient, hq: dict[str, str]) -> None:
    for index, category in enumerate(["toys", "toys", "garden", "old"]):
        create(client, hq, sku=f"S{index}", category=category)
    old = client.get("/sku/S3").get_json()["product_id"]
    client.delete(f"/{old}", headers={**hq, "If-Match": "*"})
    assert client.get("/categories").get_json() == {
        "items": [{"category": "garden", "product_count": 1}, {"category": "toys", "product_count": 2}],
        "next": None,
    }


def test_a_change_needs_the_version_that_was_read(client: FlaskClient, hq: dict[str, str]) -> None:
    path = f"/{create(client, hq)['product_id']}"
    assert problem(client.patch(path, json={"name": "x"}, headers=hq)) == (428, "if_match_required")
    changed = client.patch(path, json={"name": "new"}, headers={**hq, "If-Match": '"1"'})
    assert (changed.status_code, changed.headers["ETag"], changed.get_json()["name"]) == (200, '"2"', "new")
    assert problem(client.patch(path, json={"name": "x"}, headers={**hq, "If-Match": '"1"'})) == (
        412,
        "stale",
    )
    assert problem(client.patch("/42", json={"name": "x"}, headers={**hq, "If-Match": "*"})) == (
        404,
        "product_not_found",
    )
    assert client.get(path).get_json()["name"] == "new"


def test_of_many_changes_to_one_version_one_is_made(
    app: FunctionApp, client: FlaskClient, hq: dict[str, str]
) -> None:
    path = f"/{create(client, hq)['product_id']}"
    for version in range(1, 6):
        headers = {**hq, "If-Match": f'"{version}"'}
        answers = at_once(
            8,
            lambda index, headers=headers: app.test_client().patch(
                path, json={"price_cents": index}, headers=headers
            ),
        )
        assert sorted(answer.status_code for answer in answers) == [200] + [412] * 7
    assert client.get(path).headers["ETag"] == '"6"'


@pytest.mark.parametrize("body", [{}, {"name": None}, {"price_cents": -1}, {"sku": "X"}, {"version": 7}])
def test_a_change_that_changes_nothing_or_too_much_is_refused(
    client: FlaskClient, hq: dict[str, str], body: dict[str, Any]
) -> None:
    path = f"/{create(client, hq)['product_id']}"
    assert problem(client.patch(path, json=body, headers={**hq, "If-Match": '"1"'})) == (422, "invalid")


def test_each_price_is_remembered_with_its_moment(
    client: FlaskClient, hq: dict[str, str], database: Database
) -> None:
    path = f"/{create(client, hq, price_cents=100)['product_id']}"
    client.patch(path, json={"name": "no new price"}, headers={**hq, "If-Match": "*"})
    client.patch(path, json={"price_cents": 200}, headers={**hq, "If-Match": "*"})
    client.post("/bulk", json={"items": [{**LANTERN, "price_cents": 300}]}, headers=hq)
    first = client.get(f"{path}/prices?limit=2").get_json()
    rest = client.get(f"{path}/prices?limit=2&after={first['next']}").get_json()
    assert [item["price_cents"] for item in first["items"] + rest["items"]] == [300, 200, 100]
    assert rest["next"] is None
    with database.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT DISTINCT changed_by FROM products.prices")
        assert cursor.fetchall() == [("ada",)]
    connection.close()


def test_a_product_taken_off_sale_can_be_read_and_brought_back(
    client: FlaskClient, hq: dict[str, str]
) -> None:
    path = f"/{create(client, hq)['product_id']}"
    assert problem(client.delete(path, headers=hq)) == (428, "if_match_required")
    gone = client.delete(path, headers={**hq, "If-Match": '"1"'})
    assert (gone.status_code, gone.get_json()["active"], gone.headers["ETag"]) == (200, False, '"2"')
    again = client.delete(path, headers={**hq, "If-Match": '"2"'})
    assert (again.status_code, again.headers["ETag"]) == (200, '"2"')
    assert client.get(path).get_json()["active"] is False
    assert skus(client, "") == []
    assert (
        client.patch(path, json={"active": True}, headers={**hq, "If-Match": '"2"'}).get_json()["active"]
        is True
    )


def test_a_bulk_creates_updates_and_leaves_alone(client: FlaskClient, hq: dict[str, str]) -> None:
    rows = [{"sku": f"S{i}", "name": f"n{i}", "price_cents": i} for i in range(1000)]
    assert client.post("/bulk", json={"items": rows}, headers=hq).get_json() == {
        "created": 1000, "updated": 0, "unchanged": 0,
    }  # fmt: skip
    rows[3]["price_cents"] = 7777
    rows[4] = {"sku": "NEW", "name": "new", "price_cents": 1}
    assert client.post("/bulk", json={"items": rows}, headers=hq).get_json() == {
        "created": 1, "updated": 1, "unchanged": 998,
    }  # fmt: skip
    assert client.get("/sku/S3").get_json()["version"] == 2


def test_a_bulk_keeps_what_it_does_not_name(client: FlaskClient, hq: dict[str, str]) -> None:
    create(client, hq, description="kept", category="toys", currency="EUR")
    client.post("/bulk", json={"items": [{**LANTERN, "price_cents": 1}]}, headers=hq)
    product = client.get("/sku/85123A").get_json()
    assert (product["description"], product["category"], product["currency"], product["price_cents"]) == (
        "kept", "toys", "EUR", 1,
    )  # fmt: skip


def test_a_bulk_with_bad_rows_stores_none_and_names_each(client: FlaskClient, hq: dict[str, str]) -> None:
    rows: list[dict[str, Any]] = [{"sku": f"S{i}", "name": "n", "price_cents": 1} for i in range(5)]
    rows[1]["price_cents"] = -1
    rows[3].pop("name")
    rows[4]["colour"] = "red"
    response = client.post("/bulk", json={"items": rows}, headers=hq)
    assert problem(response) == (422, "invalid")
    assert sorted(faulty_fields(response)) == ["items.1.price_cents", "items.3.name", "items.4.colour"]
    assert skus(client, "") == []


def test_a_sku_given_twice_in_a_bulk_is_named(client: FlaskClient, hq: dict[str, str]) -> None:
    rows = [{"sku": sku, "name": "n", "price_cents": 1} for sku in ("A", "B", "A", " A ")]
    response = client.post("/bulk", json={"items": rows}, headers=hq)
    assert problem(response) == (422, "sku_repeated")
    assert faulty_fields(response) == ["items.2.sku", "items.3.sku"]


@pytest.mark.parametrize(
    "rows", [[], [{"sku": "A", "name": "n", "price_cents": 1}] * 1001, {}, None, ["x"], [None]]
)
def test_a_bulk_of_nothing_or_of_too_much_is_refused(
    client: FlaskClient, hq: dict[str, str], rows: Any
) -> None:
    assert problem(client.post("/bulk", json={"items": rows}, headers=hq)) == (422, "invalid")


def test_bulks_in_opposite_order_do_not_lock_each_other_out(app: FunctionApp, hq: dict[str, str]) -> None:
    rows = [{"sku": f"S{i}", "name": "n", "price_cents": 1} for i in range(300)]

    def send(index: int) -> int:
        mine = [{**row, "price_cents": index} for row in (rows if index % 2 else reversed(rows))]
        return app.test_client().post("/bulk", json={"items": mine}, headers=hq).status_code

    assert at_once(6, send) == [200] * 6


def test_a_bulk_changes_nothing_that_it_does_not_name_of_a_product_created_meanwhile(
    app: FunctionApp, hq: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = {**LANTERN, "category": "toys", "active": False}
    posts: list[Future[Any]] = []
    lock_by_sku = store.lock_by_sku

    def locked_while_another_creates(*args: Any) -> Any:
        present = lock_by_sku(*args)
        posts.append(pool.submit(app.test_client().post, "/", json=whole, headers=hq))
        wait(posts, timeout=0.5)
        return present

    monkeypatch.setattr(store, "lock_by_sku", locked_while_another_creates)
    with ThreadPoolExecutor(1) as pool:
        bulk = app.test_client().post("/bulk", json={"items": [LANTERN]}, headers=hq)
    assert (bulk.status_code, bulk.get_json()["created"]) == (200, 1)
    assert problem(posts[0].result()) == (409, "sku_taken")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.sampled_from(["sku", "name", "price_cents", "items", "currency", "active", "category", "x"]), inner, max_size=6
    ),
    max_leaves=12,
))  # fmt: skip
def test_no_body_whatever_is_a_server_error(client: FlaskClient, hq: dict[str, str], body: Any) -> None:
    for method, path in (("POST", "/"), ("POST", "/bulk"), ("PATCH", "/1")):
        response = client.open(path, method=method, json=body, headers={**hq, "If-Match": "*"})
        assert response.status_code < 500, (body, response.data)
