"""Functions of the chain in this process, behind a gateway made by hand, on one database of the test's own."""

from __future__ import annotations

import importlib
import itertools
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from functions.shared import FunctionApp
from tests.support.functions import Secrets
from tests.support.hand_made_gateway import HandMadeGateway, running_gateway
from tests.support.postgres import TEMPLATE, Database, PostgresServer

SERVICES = ("cart", "checkout", "maintenance", "orders", "sales")
"""Functions that sign tokens for their own calls."""
DATABASES = (
    "cart", "checkout", "customers", "inventory", "orders", "payments", "products", "reports", "sales",
)  # fmt: skip
THREADS = "16"

_FILLED_BY_TESTS = """
SELECT format('%%I.%%I', nspname, relname)
FROM pg_class JOIN pg_namespace AS n ON n.oid = relnamespace
WHERE relkind = 'r' AND nspname = ANY(%s)
ORDER BY 1
"""


@dataclass
class Chain:
    """What is in the database and behind the gateway, and who may ask for it."""

    gateway: HandMadeGateway
    secrets: Secrets
    database: Database
    environ: dict[str, str]
    """What every function is given."""
    tables: list[str] = field(default_factory=list)
    """What a test may have filled; tables that migrations fill are not among them."""
    keys: Any = field(default_factory=itertools.count)
    connection: Any = None

    def __post_init__(self) -> None:
        self.hq = self.secrets.bearer("hq", subject="head")
        self.maintenance = self.service("maintenance")

    def staff(self, store: str, subject: str = "") -> dict[str, str]:
        return self.secrets.bearer("staff", subject=subject or f"staff-{store}", store=store)

    def service(self, name: str) -> dict[str, str]:
        return self.secrets.bearer("service", subject=name)

    def new_key(self) -> str:
        return f"key-{next(self.keys)}"

    def ask(
        self, function: str, request: str, who: Mapping[str, str], body: Any = None, key: str = ""
    ) -> Any:
        """`request` (such as `GET /stock`) to a function in this process, not through the gateway.

        POST bears a key of its own, unless `key` is one.
        """
        method, path = request.split(" ", 1)
        headers = dict(who)
        if method == "POST":
            headers["Idempotency-Key"] = key or self.new_key()
        content: dict[str, Any] = {}
        if body is not None:
            content = {"data": json.dumps(body), "content_type": "application/json"}
        client = self.gateway.apps[function].test_client(use_cookies=False)
        return client.open(path, method=method, headers=headers, **content)

    def put_in(self, location: str = "S1", /, **quantities: int) -> None:
        """Opening stock."""
        lines = [{"sku": sku, "quantity": quantity} for sku, quantity in quantities.items()]
        body = {"location": location, "lines": lines}
        response = self.ask("inventory", "POST /receipts", self.hq, body, f"stock-{next(self.keys)}")
        assert response.status_code == 201, response.get_json()

    def stock(self, sku: str, location: str = "S1") -> int:
        statement = "SELECT on_hand FROM inventory.stock WHERE location = %s AND sku = %s"
        rows = self.execute(statement, (location, sku))
        return int(rows[0][0]) if rows else 0

    def add_products(self, **prices: int) -> None:
        for sku, price in prices.items():
            self.execute(
                "INSERT INTO products.products (sku, name, category, price_cents, currency)"
                " VALUES (%s, %s, 'things', %s, 'CAD')",
                (sku, f"Product {sku}", price),
            )

    def set_price(self, sku: str, price_cents: int) -> None:
        statement = "UPDATE products.products SET price_cents = %s, version = version + 1 WHERE sku = %s"
        self.execute(statement, (price_cents, sku))

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a statement as the superuser, on a connection that is kept."""
        if self.connection is None or self.connection.closed:
            self.connection = self.database.connect()
            self.connection.autocommit = True
        with self.connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def outage(self) -> Iterator[None]:
        """The database is away inside the block."""
        if self.connection is not None:
            self.connection.close()
        with self.database.server.outage():
            yield

    def empty(self) -> None:
        """Nothing was ever sold, and the gateway is whole."""
        self.gateway.mend()
        self.execute(
            "BEGIN; SET LOCAL session_replication_role = replica;"
            + "".join(f"DELETE FROM {table};" for table in self.tables)
            + "COMMIT"
        )

    def find_fillable(self) -> None:
        """Note which tables are empty now: those are what `empty` empties."""
        found = self.execute(_FILLED_BY_TESTS, (list(DATABASES),))
        self.tables = [table for (table,) in found if not self.execute(f"SELECT 1 FROM {table} LIMIT 1")]


def make_app(function: str, environ: Mapping[str, str]) -> FunctionApp:
    """A function of the shop as its template makes it."""
    app = importlib.import_module(f"functions.{function}.handler").create_app(environ)
    assert isinstance(app, FunctionApp)
    return app


def shut(app: FunctionApp) -> None:
    """Close the connections that a function holds, to the database and to the gateway."""
    with suppress(RuntimeError):  # it has none
        app.service.database.close()
    with suppress(RuntimeError):
        app.service.client.close()


@contextmanager
def running_functions(
    server: PostgresServer, functions: Sequence[str], **settings: str
) -> Iterator[tuple[HandMadeGateway, Secrets, Database, dict[str, str]]]:
    """`functions` behind a gateway on a fresh database; `settings` are environment variables of all of them."""
    database = server.create_database(TEMPLATE)
    with running_functions_on(database, functions, **settings) as parts:
        yield parts
    database.drop()


@contextmanager
def running_functions_on(
    database: Database, functions: Sequence[str], **settings: str
) -> Iterator[tuple[HandMadeGateway, Secrets, Database, dict[str, str]]]:
    """The same on a database that is there."""
    with running_gateway() as gateway, tempfile.TemporaryDirectory() as directory:
        addresses = {f"{name}_db": database.url(name) for name in DATABASES}
        secrets = Secrets.make(Path(directory), services=SERVICES, **addresses)
        environ = {**secrets.environ, "gateway_url": gateway.url, "threads": THREADS, **settings}
        gateway.apps = {name: make_app(name, environ) for name in functions}
        try:
            yield gateway, secrets, database, environ
        finally:
            for app in gateway.apps.values():
                shut(app)
