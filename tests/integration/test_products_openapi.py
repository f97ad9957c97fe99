"""What the catalogue really answers fits what its /openapi.json says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from jsonschema import Draft202012Validator

from functions.products.handler import create_app
from tests.support.functions import Secrets
from tests.support.postgres import Database


@pytest.fixture
def secrets(database: Database, tmp_path: Path) -> Secrets:
    return Secrets.make(tmp_path, products_db=database.url("products"))


@pytest.fixture
def client(secrets: Secrets) -> Iterator[FlaskClient]:
    app = create_app(secrets.environ)
    yield app.test_client()
    app.service.database.close()


CALLS: list[tuple[str, str, str, Any, dict[str, str]]] = [
    ("post", "/", "/", {"sku": "A", "name": "n", "price_cents": 1}, {}),
    ("post", "/", "/", {"sku": "A", "name": "n", "price_cents": 1}, {}),
    ("post", "/bulk", "/bulk", {"items": [{"sku": "A", "name": "n", "price_cents": 2}]}, {}),
    ("get", "/{product_id}", "/1", None, {}),
    ("get", "/{product_id}", "/2", None, {}),
    ("get", "/sku/{sku}", "/sku/A", None, {}),
    ("get", "/", "/?q=n&limit=1", None, {}),
    ("get", "/", "/?limit=0", None, {}),
    ("get", "/prices", "/prices?sku=A&id=9", None, {}),
    ("get", "/categories", "/categories", None, {}),
    ("get", "/{product_id}/prices", "/1/prices", None, {}),
    ("patch", "/{product_id}", "/1", {"name": "m"}, {}),
    ("patch", "/{product_id}", "/1", {"name": "m"}, {"If-Match": '"9"'}),
    ("patch", "/{product_id}", "/1", {"name": "m"}, {"If-Match": '"2"'}),
    ("delete", "/{product_id}", "/1", None, {"If-Match": "*"}),
]


def test_answers_fit_their_schemas(client: FlaskClient, secrets: Secrets) -> None:
    content = client.get("/openapi.json").get_json()
    statuses = []
    for method, template, path, body, headers in CALLS:
        response = client.open(path, method=method, json=body, headers={**secrets.bearer("hq"), **headers})
        operation = content["paths"][template][method]
        answer = operation["responses"][str(response.status_code)]
        schema = answer["content"][response.mimetype]["schema"]
        Draft202012Validator({**schema, "components": content["components"]}).validate(response.get_json())
        statuses.append(response.status_code)
    assert statuses == [201, 409, 200, 200, 404, 200, 200, 422, 200, 200, 200, 428, 412, 200, 200]
    called = {(method, template) for method, template, *_ in CALLS}
    assert called == {(method, path) for path, methods in content["paths"].items() for method in methods}
