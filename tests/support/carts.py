"""The cart function in this process, on a database of its own, with the catalogue stood in for."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flask.testing import FlaskClient

from functions.cart.handler import create_app
from functions.shared import FunctionApp
from tests.support.chain import shut
from tests.support.functions import Secrets
from tests.support.hand_made_gateway import HandMadeGateway, StandInCatalogue, running_gateway
from tests.support.postgres import TEMPLATE, Database, PostgresServer

PRICES = {"A": 1000, "B": 250, "C": 1}
TABLES = ("items", "carts", "checkouts", "idempotency_keys")


@dataclass
class Shop:
    app: FunctionApp
    gateway: HandMadeGateway
    catalogue: StandInCatalogue
    secrets: Secrets
    database: Database

    def visitor(self) -> FlaskClient:
        """A browser: keeps cookies."""
        return self.app.test_client()

    def program(self) -> FlaskClient:
        """A client without a cookie jar: its token is in a header."""
        return self.app.test_client(use_cookies=False)

    def customer(self, subject: str = "c-1") -> dict[str, str]:
        return self.secrets.bearer("customer", subject=subject)

    def execute(self, statement: str) -> None:
        connection = self.database.connect()
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
        connection.close()

    def empty(self) -> None:
        """As new: no carts, no kept answers, a gateway that is whole, and the catalogue that every shop begins with."""
        self.gateway.mend()
        self.execute(
            "BEGIN; SET LOCAL session_replication_role = replica;"
            + "".join(f"DELETE FROM cart.{table};" for table in TABLES)
            + "COMMIT"
        )
        self.catalogue.products.clear()
        self.stock_shelves()

    def stock_shelves(self) -> None:
        for sku, price in PRICES.items():
            self.catalogue.sell(sku, price)

    def count(self, table: str) -> int:
        connection = self.database.connect()
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT count(*) FROM cart.{table}")
            found: int = sum(row[0] for row in cursor.fetchall())
        connection.close()
        return found


@contextmanager
def running_shop(database: Database, directory: Path, **settings: str) -> Iterator[Shop]:
    """A shop that sells A, B and C; `settings` are environment variables of the cart."""
    with running_gateway() as gateway:
        shop = make_shop(database, directory, gateway, **settings)
        yield shop
        shut(shop.app)


@contextmanager
def lasting_shop(server: PostgresServer, **settings: str) -> Iterator[Shop]:
    """A shop for all tests of one file; `empty` it before each, which is faster than a database for each."""
    database = server.create_database(TEMPLATE)
    with (
        tempfile.TemporaryDirectory() as directory,
        running_shop(database, Path(directory), **settings) as shop,
    ):
        yield shop
    database.drop()


def make_shop(database: Database, directory: Path, gateway: HandMadeGateway, **settings: str) -> Shop:
    secrets = Secrets.make(
        directory / "secrets", services=("cart", "checkout", "maintenance"), cart_db=database.url("cart")
    )
    environ = {**secrets.environ, "gateway_url": gateway.url, "threads": "8", **settings}
    catalogue = StandInCatalogue()
    gateway.stand_ins["products"] = catalogue
    shop = Shop(create_app(environ), gateway, catalogue, secrets, database)
    shop.stock_shelves()
    return shop


def add(client: FlaskClient, sku: str = "A", quantity: int = 1, **headers: str) -> Any:
    return client.post("/items", json={"sku": sku, "quantity": quantity}, headers=headers)


def quantities(response: Any) -> dict[str, int]:
    assert response.status_code == 200, response.get_json()
    return {item["sku"]: item["quantity"] for item in response.get_json()["items"]}


def merge(shop: Shop, client: FlaskClient, subject: str = "c-1", **headers: str) -> Any:
    return client.post("/merge", headers={**shop.customer(subject), **headers})


def expire(shop: Shop) -> Any:
    """Call the cart as maintenance does."""
    service = shop.secrets.bearer("service", subject="maintenance")
    return shop.program().post("/expire", headers=service)


def expire_all(shop: Shop) -> None:
    """Let the time of every cart pass."""
    shop.execute("UPDATE cart.carts SET expires_at = now() - interval '1 second'")
