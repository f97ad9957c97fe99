"""The inventory function in this process, on a database of its own, and who may call it."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from functions.inventory.handler import create_app
from functions.shared import FunctionApp
from tests.support.functions import Secrets
from tests.support.postgres import TEMPLATE, Database, PostgresServer

SERVICES = ("sales", "checkout", "maintenance")
TABLES = (
    "bulk_receipts", "goods_returns", "idempotency_keys", "issues", "ledger", "replenishment_lines",
    "replenishments", "reservation_lines", "reservations", "stock",
)  # fmt: skip


@dataclass
class Stockroom:
    app: FunctionApp
    secrets: Secrets
    database: Database
    keys: Any = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.hq = self.secrets.bearer("hq", subject="head")
        self.sales = self.secrets.bearer("service", subject="sales")
        self.maintenance = self.secrets.bearer("service", subject="maintenance")

    def staff(self, location: str) -> dict[str, str]:
        return self.secrets.bearer("staff", subject=f"staff-{location}", store=location)

    def post(self, path: str, body: Any = None, who: dict[str, str] | None = None, key: str = "") -> Any:
        """POST with a key of its own, as head office unless `who` says otherwise."""
        headers = {**(who or self.hq), "Idempotency-Key": key or f"key-{next(self.keys)}"}
        content = {} if body is None else {"json": body}
        return self.app.test_client().post(path, headers=headers, **content)

    def get(self, path: str, who: dict[str, str] | None = None) -> Any:
        return self.app.test_client().get(path, headers=who or self.hq)

    def receive(self, location: str, **quantities: int) -> None:
        response = self.post("/receipts", {"location": location, "lines": lines(**quantities)})
        assert response.status_code == 201, response.get_json()

    def reserve(self, location: str = "W1", ttl_seconds: int = 600, **quantities: int) -> Any:
        body = {"location": location, "lines": lines(**quantities), "ttl_seconds": ttl_seconds}
        return self.post("/reservations", body, self.sales)

    def issue(self, reference: str, location: str = "S1", **quantities: int) -> Any:
        body = {"location": location, "reference": reference, "lines": lines(**quantities)}
        return self.post("/issues", body, self.sales)

    def expire(self) -> Any:
        """What maintenance does."""
        return self.app.test_client().post("/expire", headers=self.maintenance).get_json()

    def let_time_pass(self) -> None:
        """Every open reservation's time has passed."""
        self.execute("UPDATE inventory.reservations SET expires_at = now() - interval '1 second'")

    def stock(self, location: str, sku: str) -> tuple[int, int]:
        """`on_hand` and `reserved`."""
        for row in self.get(f"/stock/{sku}").get_json()["locations"]:
            if row["location"] == location:
                return row["on_hand"], row["reserved"]
        return 0, 0

    def differences(self) -> list[dict[str, Any]]:
        answer = self.get("/invariants").get_json()
        assert answer["holds"] == (answer["differences"] == [])
        found: list[dict[str, Any]] = answer["differences"]
        return found

    def empty(self) -> None:
        """As new: nothing in stock, nothing promised, an empty ledger. The keys used so far may be used again."""
        self.execute(
            "SET LOCAL session_replication_role = replica;"
            + "".join(f"DELETE FROM inventory.{table};" for table in TABLES)
        )

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement as the superuser."""
        with closing(self.database.connect()) as connection, connection.cursor() as cursor:
            cursor.execute(statement)
            connection.commit()
            return cursor.fetchall() if cursor.description else []


def make_stockroom(database: Database, directory: Path, **settings: str) -> Stockroom:
    secrets = Secrets.make(directory / "secrets", services=SERVICES, inventory_db=database.url("inventory"))
    app = create_app({**secrets.environ, "threads": "8", **settings})
    return Stockroom(app, secrets, database)


@contextmanager
def stockroom(server: PostgresServer, **settings: str) -> Iterator[Stockroom]:
    """A stockroom for all tests of one file; `empty` it before each, which is faster than a database for each."""
    database = server.create_database(TEMPLATE)
    with tempfile.TemporaryDirectory() as directory:
        room = make_stockroom(database, Path(directory), **settings)
        yield room
        room.app.service.database.close()
    database.drop()


def lines(**quantities: int) -> list[dict[str, Any]]:
    return [{"sku": sku, "quantity": quantity} for sku, quantity in quantities.items()]


def lacking(response: Any) -> list[tuple[str, int, int]]:
    """What a refusal says is lacking, after checking that it is one: SKU, requested, available."""
    body = response.get_json()
    assert response.status_code == 409, body
    assert body["errors"], body
    return [(lack["sku"], lack["requested"], lack["available"]) for lack in body["lacking"]]
