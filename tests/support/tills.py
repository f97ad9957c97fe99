"""A store with a till: sales in this process, and products and inventory as they are behind a gateway made by hand.

All three run on one database of the test's own. The gateway can be told to lose answers, to hold them, or to
have no replica of a function.
"""

from __future__ import annotations

import itertools
import json
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

from functions.inventory.handler import create_app as create_inventory
from functions.products.handler import create_app as create_products
from functions.sales.handler import create_app as create_sales
from functions.shared import FunctionApp
from tests.support.functions import Secrets
from tests.support.postgres import TEMPLATE, Database, PostgresServer

LONGEST_HOLD_SECONDS = 30
PASSED_ON = ("Authorization", "Idempotency-Key", "Content-Type", "X-Request-Id", "X-Timeout")

TABLES = (
    *(f"products.{table}" for table in ("prices", "products")),
    *(f"inventory.{table}" for table in ("goods_returns", "idempotency_keys", "issues", "ledger", "stock")),
    *(
        f"sales.{table}"
        for table in (
            "return_lines", "returns", "tenders", "sale_lines", "sales", "gift_card_entries", "gift_cards",
            "cash_movements", "register_sessions", "receipt_counters", "idempotency_keys",
        )
    ),
)  # fmt: skip
"""What a test may have filled."""

Line = tuple[str, int]


@dataclass
class Hold:
    """Calls of `path` are held `before` the function sees them, or `after` it is done."""

    path: str
    when: Literal["before", "after"]
    reached: threading.Event = field(default_factory=threading.Event)
    release: threading.Event = field(default_factory=threading.Event)


@dataclass
class HandMadeGateway:
    """Passes `/function/<name>/<path>` on to applications in this process."""

    apps: dict[str, FunctionApp] = field(default_factory=dict)
    url: str = ""
    away: set[str] = field(default_factory=set)
    """Functions without a replica: 503."""
    lost: set[str] = field(default_factory=set)
    """Functions whose answers are lost: they do what is asked, and the caller sees 503."""
    answers: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    """Function to what it answers instead of what it would."""
    refuse: Sequence[str] = ()
    """Calls whose path holds one of these are answered 500."""
    hold: Hold | None = None
    done: list[str] = field(default_factory=list)

    def answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        _, _, name, rest = path.split("/", 3)
        self._wait(rest, "before")
        try:
            return self._answer(name, method, rest, headers, body)
        finally:
            self.done.append(rest)

    def answered(self, path: str) -> bool:
        """Whether a call of this path was answered since the last `renew`."""
        return path in self.done

    def _answer(
        self, name: str, method: str, rest: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, bytes]:
        if name in self.away:
            return 503, b"{}"
        if any(part in rest for part in self.refuse):
            return 500, b"{}"
        if name in self.answers:
            return self.answers[name]
        response = self.apps[name].test_client().open(f"/{rest}", method=method, headers=headers, data=body)
        self._wait(rest, "after")
        return (503, b"{}") if name in self.lost else (response.status_code, response.data)

    def _wait(self, rest: str, when: str) -> None:
        hold = self.hold
        if hold is not None and hold.when == when and rest.partition("?")[0] == hold.path:
            hold.reached.set()
            hold.release.wait(LONGEST_HOLD_SECONDS)


@contextmanager
def running_gateway() -> Iterator[HandMadeGateway]:
    """A HandMadeGateway that listens on a free port."""
    gateway = HandMadeGateway()
    server = _Server(("127.0.0.1", 0), _handler(gateway))
    gateway.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield gateway
    finally:
        if gateway.hold is not None:
            gateway.hold.release.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128


def _handler(gateway: HandMadeGateway) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name: self.headers[name] for name in PASSED_ON if self.headers[name]}
            status, answer = gateway.answer(self.command, self.path, headers, body)
            try:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)
                self.wfile.flush()
            except ConnectionError:  # the caller was killed, which some tests are about
                self.close_connection = True

        do_POST = do_GET  # noqa: N815 - the name that http.server looks for

        def log_message(self, *_: Any) -> None:
            return

    return Handler


@dataclass
class Till:
    """What a cashier of S1 at register R1 does, and what a test looks at."""

    app: FunctionApp
    gateway: HandMadeGateway
    secrets: Secrets
    database: Database
    environ: dict[str, str]
    keys: Any = field(default_factory=itertools.count)
    connection: Any = None

    def __post_init__(self) -> None:
        self.hq = self.secrets.bearer("hq", subject="head")
        self.clerk = self.staff("S1")
        self.maintenance = self.secrets.bearer("service", subject="maintenance")

    def staff(self, store: str, subject: str = "") -> dict[str, str]:
        return self.secrets.bearer("staff", subject=subject or f"staff-{store}", store=store)

    def post(self, path: str, body: Any = None, who: Mapping[str, str] | None = None, key: str = "") -> Any:
        headers = {**(who or self.clerk), "Idempotency-Key": key or self.new_key()}
        content = {} if body is None else {"data": json.dumps(body), "content_type": "application/json"}
        return self.app.test_client().post(path, headers=headers, **content)

    def get(self, path: str, who: Mapping[str, str] | None = None) -> Any:
        return self.app.test_client().get(path, headers=dict(who or self.clerk))

    def new_key(self) -> str:
        return f"key-{next(self.keys)}"

    def open(self, register: str = "R1", cash: int = 10_000, who: Mapping[str, str] | None = None) -> Any:
        response = self.post(f"/registers/{register}/open", {"opening_cash_cents": cash}, who)
        assert response.status_code == 201, response.get_json()
        return response.get_json()

    def close(self, register: str = "R1", counted: int = 10_000) -> Any:
        return self.post(f"/registers/{register}/close", {"counted_cash_cents": counted})

    def total(self, *lines: Line) -> int:
        response = self.post("/quote", {"lines": as_lines(lines)})
        assert response.status_code == 200, response.get_json()
        total: int = response.get_json()["total_cents"]
        return total

    def sell(self, *lines: Line, key: str = "", who: Mapping[str, str] | None = None, **more: Any) -> Any:
        """A sale of lines, paid by card unless `tenders` says otherwise."""
        if "tenders" not in more:
            more["tenders"] = [{"kind": "card", "amount_cents": self.total(*lines), "reference": "T1"}]
        body = {"register": "R1", "lines": as_lines(lines), **more}
        return self.post("/", body, who, key)

    def sold(self, *lines: Line, **more: Any) -> Any:
        response = self.sell(*lines, **more)
        assert response.status_code == 201, response.get_json()
        return response.get_json()

    def void(self, sale: Any, key: str = "", **more: Any) -> Any:
        body = {"register": "R1", "reason": "a mistake", **more}
        return self.post(f"/{sale['sale_id']}/void", body, key=key)

    def take_back(self, sale: Any, *lines: tuple[int, int], key: str = "", **more: Any) -> Any:
        """Return quantities of lines by number, back into stock and in cash unless `more` says otherwise."""
        restock = more.pop("restock", True)
        body = {
            "register": "R1",
            "reason": "did not fit",
            "lines": [{"line": line, "quantity": quantity, "restock": restock} for line, quantity in lines],
            "refund": {"kind": "cash"},
            **more,
        }
        return self.post(f"/{sale['sale_id']}/returns", body, key=key)

    def recover(self) -> Any:
        return self.app.test_client().post("/recover", headers=self.maintenance)

    def put_in(self, store: str = "S1", /, **quantities: int) -> None:
        """Opening stock."""
        lines = [{"sku": sku, "quantity": quantity} for sku, quantity in quantities.items()]
        headers = {**self.hq, "Idempotency-Key": f"stock-{next(self.keys)}"}
        client = self.gateway.apps["inventory"].test_client()
        response = client.post("/receipts", json={"location": store, "lines": lines}, headers=headers)
        assert response.status_code == 201, response.get_json()

    def stock(self, sku: str, store: str = "S1") -> int:
        statement = "SELECT on_hand FROM inventory.stock WHERE location = %s AND sku = %s"
        rows = self.execute(statement, (store, sku))
        return int(rows[0][0]) if rows else 0

    def add_products(self, **prices: int) -> None:
        for sku, price in prices.items():
            self.execute(
                "INSERT INTO products.products (sku, name, category, price_cents, currency)"
                " VALUES (%s, %s, 'things', %s, 'CAD')",
                (sku, f"Product {sku}", price),
            )

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

    def recovered(self) -> int:
        """Recover as maintenance does, again while what it needs is just coming back."""
        deadline = time.monotonic() + 5
        while True:
            response = self.recover()
            if response.status_code == 200:
                found: int = response.get_json()["recovered"]
                return found
            assert time.monotonic() < deadline, response.get_json()
            time.sleep(0.02)

    def renew(self) -> None:
        """As new: A (1000), B (250) and C (1) are sold, ten thousand of each are in S1, R1 is open with 10000 in cash."""
        gateway = self.gateway
        gateway.away, gateway.lost, gateway.answers = set(), set(), {}
        gateway.refuse, gateway.hold = (), None
        gateway.done.clear()
        self.execute(
            "BEGIN; SET LOCAL session_replication_role = replica;"
            + "".join(f"DELETE FROM {table};" for table in TABLES)
            + "COMMIT"
        )
        self.add_products(A=1000, B=250, C=1)
        self.put_in(A=10_000, B=10_000, C=10_000)
        self.open()

    def statuses(self) -> list[str]:
        """The status of every sale, in the order in which they were recorded."""
        return [row[0] for row in self.execute("SELECT status FROM sales.sales ORDER BY created_at")]

    def check_books(self) -> None:
        """What must hold whatever has happened: documents add up, and so do the ledgers."""
        for name, statement in BOOKS.items():
            assert self.execute(statement) == [], name


BOOKS = {
    "lines add up to sales": """
        SELECT sale_id FROM sales.sales JOIN sales.sale_lines AS line USING (sale_id)
        GROUP BY sale_id, sales.subtotal_cents, sales.tax_cents
        HAVING (sum(line.total_cents), sum(line.tax_cents)) <> (sales.subtotal_cents, sales.tax_cents)
    """,
    "taxes add up": """
        SELECT sale_id FROM sales.sales
        WHERE tax_cents <> (SELECT coalesce(sum((tax->>'amount_cents')::bigint), 0) FROM jsonb_array_elements(taxes) AS tax)
    """,
    "tenders pay sales": """
        SELECT sale_id FROM sales.sales LEFT JOIN sales.tenders USING (sale_id)
        GROUP BY sale_id HAVING coalesce(sum(amount_cents), 0) <> total_cents
    """,
    "lines add up to returns": """
        SELECT return_id FROM sales.returns JOIN sales.return_lines AS line USING (return_id)
        GROUP BY return_id
        HAVING (sum(line.total_cents), sum(line.tax_cents)) <> (returns.subtotal_cents, returns.tax_cents)
    """,
    "what has come back is on the sale's lines": """
        SELECT sale_id, line FROM sales.sale_lines AS sold
        WHERE returned_quantity <> (
            SELECT coalesce(sum(back.quantity), 0)
            FROM sales.return_lines AS back JOIN sales.returns USING (return_id)
            WHERE (back.sale_id, back.sale_line) = (sold.sale_id, sold.line) AND returns.status <> 'refused'
        )
    """,
    "gift cards are their entries": """
        SELECT gift_card_id FROM sales.gift_cards JOIN sales.gift_card_entries USING (gift_card_id)
        GROUP BY gift_card_id HAVING sum(amount_cents) <> balance_cents
    """,
    "receipt numbers have no gaps": """
        SELECT store, business_date FROM sales.sales WHERE receipt_number IS NOT NULL
        GROUP BY store, business_date HAVING (min(receipt_number), max(receipt_number)) <> (1, count(*))
    """,
    "numbers of returns have no gaps": """
        SELECT store, business_date FROM sales.returns WHERE receipt_number IS NOT NULL
        GROUP BY store, business_date HAVING (min(receipt_number), max(receipt_number)) <> (1, count(*))
    """,
    "stock is its ledger": """
        SELECT location, sku FROM inventory.stock FULL JOIN (
            SELECT location, sku, sum(quantity) AS quantity FROM inventory.ledger GROUP BY location, sku
        ) AS ledger USING (location, sku)
        WHERE coalesce(stock.on_hand, 0) <> coalesce(ledger.quantity, 0)
    """,
    "stock that was sold is on sales": """
        SELECT * FROM (
            SELECT sku, sum(quantity) AS quantity FROM sales.sales JOIN sales.sale_lines USING (sale_id)
            WHERE status IN ('complete', 'voiding') AND NOT charge GROUP BY sku
        ) AS sold FULL JOIN (
            SELECT sku, -sum(quantity) AS quantity FROM inventory.ledger WHERE kind IN ('sale', 'sale_undone')
            GROUP BY sku
        ) AS ledger USING (sku)
        WHERE coalesce(sold.quantity, 0) <> coalesce(ledger.quantity, 0)
          AND NOT EXISTS (SELECT FROM sales.sales WHERE status IN ('pending', 'undoing', 'voiding'))
    """,
}
"""Statements that find what is wrong: no rows when all is well."""


def as_lines(lines: Sequence[Line]) -> list[dict[str, Any]]:
    return [{"sku": sku, "quantity": quantity} for sku, quantity in lines]


@contextmanager
def running_till(server: PostgresServer, **settings: str) -> Iterator[Till]:
    """A till for all tests of one file; `renew` it before each, which is faster than a database for each."""
    database = server.create_database(TEMPLATE)
    with running_gateway() as gateway, tempfile.TemporaryDirectory() as directory:
        secrets = Secrets.make(
            Path(directory),
            services=("sales", "maintenance"),
            products_db=database.url("products"),
            inventory_db=database.url("inventory"),
            sales_db=database.url("sales"),
        )
        environ = {**secrets.environ, "gateway_url": gateway.url, "threads": "16", **settings}
        gateway.apps = {
            "products": create_products({**secrets.environ, "threads": "16"}),
            "inventory": create_inventory({**secrets.environ, "threads": "16"}),
            "sales": create_sales(environ),
        }
        yield Till(gateway.apps["sales"], gateway, secrets, database, environ)
        for app in gateway.apps.values():
            app.service.database.close()
    database.drop()
