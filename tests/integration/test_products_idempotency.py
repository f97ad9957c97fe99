"""A request repeated with its key changes nothing and gets the answer it got."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from functions.products import store
from functions.products.handler import create_app
from functions.shared import FunctionApp
from tests.support.functions import Secrets, problem
from tests.support.postgres import Database

PRODUCT = {"sku": "A1", "name": "n", "price_cents": 5}


@pytest.fixture
def secrets(database: Database, tmp_path: Path) -> Secrets:
    return Secrets.make(tmp_path, products_db=database.url("products"))


@pytest.fixture
def app(secrets: Secrets) -> Iterator[FunctionApp]:
    app = create_app({**secrets.environ, "threads": "8"})
    yield app
    app.service.database.close()


@pytest.fixture
def client(app: FunctionApp) -> FlaskClient:
    return app.test_client()


def headers(secrets: Secrets, key: str, subject: str = "ada") -> dict[str, str]:
    return {**secrets.bearer("hq", subject=subject), "Idempotency-Key": key}


def test_the_same_request_gets_the_same_answer_and_says_so(client: FlaskClient, secrets: Secrets) -> None:
    first = client.post("/", json=PRODUCT, headers=headers(secrets, "k1"))
    again = client.post("/", json=PRODUCT, headers=headers(secrets, "k1"))
    assert (first.status_code, first.data) == (again.status_code, again.data) == (201, first.data)
    assert first.headers["ETag"] == again.headers["ETag"] == '"1"'
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert first.headers["X-Request-Id"] != again.headers["X-Request-Id"]


def test_the_answer_is_that_of_then_and_not_of_now(client: FlaskClient, secrets: Secrets) -> None:
    product_id = client.post("/", json=PRODUCT, headers=headers(secrets, "k1")).get_json()["product_id"]
    client.patch(f"/{product_id}", json={"name": "later"}, headers={**headers(secrets, ""), "If-Match": "*"})
    assert client.post("/", json=PRODUCT, headers=headers(secrets, "k1")).get_json()["name"] == "n"


def test_a_key_used_for_another_body_is_refused(client: FlaskClient, secrets: Secrets) -> None:
    client.post("/", json=PRODUCT, headers=headers(secrets, "k1"))
    response = client.post("/", json={**PRODUCT, "price_cents": 6}, headers=headers(secrets, "k1"))
    assert problem(response) == (422, "idempotency_key_reused")


def test_keys_of_others_and_on_other_routes_are_other_keys(client: FlaskClient, secrets: Secrets) -> None:
    client.post("/", json=PRODUCT, headers=headers(secrets, "k1"))
    other = client.post("/", json=PRODUCT, headers=headers(secrets, "k1", subject="bob"))
    assert problem(other) == (409, "sku_taken")
    bulk = client.post("/bulk", json={"items": [PRODUCT]}, headers=headers(secrets, "k1"))
    assert bulk.get_json() == {"created": 0, "updated": 0, "unchanged": 1}


@pytest.mark.parametrize("key", ["x" * 201, "é", "a\tb"])
def test_a_key_that_is_none_is_refused(client: FlaskClient, secrets: Secrets, key: str) -> None:
    response = client.post("/", json=PRODUCT, headers=headers(secrets, key))
    assert problem(response) == (400, "idempotency_key_malformed")


def test_a_refused_request_leaves_its_key_free(client: FlaskClient, secrets: Secrets) -> None:
    client.post("/", json=PRODUCT, headers=headers(secrets, "k0"))
    for _ in range(2):
        assert problem(client.post("/", json=PRODUCT, headers=headers(secrets, "k1"))) == (409, "sku_taken")
    assert client.post("/", json={**PRODUCT, "sku": "B2"}, headers=headers(secrets, "k1")).status_code == 201


def test_of_many_at_once_one_is_worked_on_and_none_is_made_twice(
    app: FunctionApp, secrets: Secrets, database: Database
) -> None:
    barrier = threading.Barrier(8)
    sent = headers(secrets, "k1")

    def send(_: int) -> Any:
        barrier.wait(10)
        return app.test_client().post("/", json=PRODUCT, headers=sent)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(send, range(8)))
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert (
        sum("Idempotent-Replayed" not in answer.headers for answer in answers if answer.status_code == 201)
        == 1
    )
    for answer in answers:
        if answer.status_code == 409:
            assert problem(answer) == (409, "idempotency_key_in_flight")
            assert answer.headers["Retry-After"] == "1"


def test_a_key_in_flight_is_told_at_once_and_free_when_its_request_dies(
    app: FunctionApp,
    client: FlaskClient,
    secrets: Secrets,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started, go_on = threading.Event(), threading.Event()
    add_product = store.add_product

    def slow(connection: Any, product: Any) -> Any:
        started.set()
        go_on.wait(10)
        return add_product(connection, product)

    monkeypatch.setattr(store, "add_product", slow)
    sent = headers(secrets, "k1")
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(lambda: app.test_client().post("/", json=PRODUCT, headers=sent))
        assert started.wait(10)
        begun = time.monotonic()
        assert problem(client.post("/", json=PRODUCT, headers=sent)) == (409, "idempotency_key_in_flight")
        assert time.monotonic() - begun < 5, "the first one waits for ten seconds"
        end_transactions(database)
        go_on.set()
        assert first.result(10).status_code == 503
    assert client.post("/", json=PRODUCT, headers=sent).status_code == 201


def end_transactions(database: Database) -> None:
    """As when the replica or its network dies."""
    with database.connect() as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE usename = 'products' AND datname = current_database() AND state = 'idle in transaction'"
        )
    connection.close()


def test_answers_are_kept_for_a_day_and_then_dropped(
    client: FlaskClient, secrets: Secrets, database: Database
) -> None:
    client.post("/", json=PRODUCT, headers=headers(secrets, "old"))
    with database.connect() as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT expires_at - now() BETWEEN interval '23 hours' AND interval '24 hours' FROM products.idempotency_keys"
        )
        assert cursor.fetchall() == [(True,)]
        cursor.execute("UPDATE products.idempotency_keys SET expires_at = now() - interval '1 second'")
    connection.commit()
    assert client.post("/", json={**PRODUCT, "sku": "B2"}, headers=headers(secrets, "old")).status_code == 201
    with database.connect() as again, again.cursor() as cursor:
        cursor.execute("UPDATE products.idempotency_keys SET expires_at = now() - interval '1 second'")
    again.commit()
    client.post("/", json={**PRODUCT, "sku": "C3"}, headers=headers(secrets, "new"))
    with database.connect() as last, last.cursor() as cursor:
        cursor.execute("SELECT key FROM products.idempotency_keys")
        assert cursor.fetchall() == [("new",)]
    for one in (connection, again, last):
        one.close()


def test_a_database_that_is_away_is_a_503_and_comes_back_by_itself(
    app: FunctionApp, client: FlaskClient, secrets: Secrets, database: Database
) -> None:
    client.post("/", json=PRODUCT, headers=headers(secrets, "k1"))
    with database.server.outage():
        for _ in range(5):
            for response in (
                client.get("/1"),
                client.get("/?q=a"),
                client.post("/", json=PRODUCT, headers=headers(secrets, "k1")),
            ):
                assert problem(response) == (503, "database_unavailable")
                assert response.headers["Retry-After"] == "1"
        assert app.ready() == "the database cannot be reached"
    deadline = time.monotonic() + 30
    while (response := client.post("/", json=PRODUCT, headers=headers(secrets, "k1"))).status_code != 201:
        assert response.status_code == 503
        assert time.monotonic() < deadline
    assert response.headers["Idempotent-Replayed"] == "true"
    assert json.loads(client.get("/1").data)["sku"] == "A1"


def test_a_replica_is_not_ready_before_its_migration(app: FunctionApp, database: Database) -> None:
    assert app.ready() is None
    with database.connect() as connection, connection.cursor() as cursor:
        cursor.execute("DELETE FROM public.schema_migrations WHERE version = '0002'")
    connection.commit()
    connection.close()
    assert app.ready() == "migration 0002 is not applied"
