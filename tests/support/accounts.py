"""The customers function in this process, on a database of its own, with passwords that cost little to hash."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from werkzeug.test import TestResponse

from functions.customers.handler import create_app
from functions.shared import FunctionApp
from tests.support.functions import Secrets
from tests.support.postgres import TEMPLATE, Database, PostgresServer

CHEAP = {"password_memory_kib": "8", "password_iterations": "1", "threads": "16", "password_queue": "14"}
PASSWORD = "seven purple herons"
ADDRESS = {
    "name": "Ada Lovelace", "line1": "12 rue Principale", "line2": None, "city": "Laval", "province": "QC",
    "postal_code": "H7A 1A1", "country": "CA", "phone": None,
}  # fmt: skip

_numbers = itertools.count(1)


def new_email() -> str:
    return f"person{next(_numbers)}@shop.example"


@dataclass(frozen=True)
class Person:
    """Someone who has signed in; `headers` bear the access token of that sign-in."""

    email: str
    customer_id: str
    access_token: str
    refresh_token: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.access_token}"}


@dataclass
class Accounts:
    app: FunctionApp
    secrets: Secrets
    database: Database
    address: str = "192.0.2.1"

    def send(
        self,
        method: str,
        path: str,
        json: Any = None,
        who: Person | dict[str, str] | None = None,
        **more: Any,
    ) -> TestResponse:
        """A request as it arrives through the edge, with the token of `who`."""
        headers = {"X-Real-IP": self.address, **more.pop("headers", {})}
        headers |= who.headers if isinstance(who, Person) else who or {}
        options = more if json is None else {"json": json, **more}
        with self.app.test_client() as client:
            return client.open(path, method=method, headers=headers, **options)

    def register(self, email: str | None = None, password: str = PASSWORD, name: str = "Ada") -> str:
        email = email or new_email()
        answer = self.send("POST", "/", {"email": email, "password": password, "name": name})
        assert answer.status_code == 202, answer.get_json()
        return email

    def attempt(self, email: str, password: str = PASSWORD, address: str | None = None) -> TestResponse:
        headers = {"X-Real-IP": address} if address else {}
        return self.send("POST", "/sessions", {"email": email, "password": password}, headers=headers)

    def sign_in(self, email: str, password: str = PASSWORD) -> Person:
        answer = self.attempt(email, password)
        assert answer.status_code == 201, answer.get_json()
        return _person(email, answer)

    def person(self, **account: str) -> Person:
        """Someone who has just registered and signed in."""
        email = self.register(**account)
        return self.sign_in(email, account.get("password", PASSWORD))

    def employee(self, role: str = "staff", store: str | None = "S1") -> Person:
        """Someone for whom hq has made an account."""
        email = new_email()
        body = {"email": email, "password": PASSWORD, "name": "Grace", "role": role, "store": store}
        made = self.send("POST", "/staff", body, who=self.hq)
        assert made.status_code == 201, made.get_json()
        return self.sign_in(email)

    def refresh(self, token: str) -> TestResponse:
        return self.send("POST", "/sessions/refresh", {"refresh_token": token})

    @property
    def hq(self) -> dict[str, str]:
        return self.secrets.bearer("hq")

    @property
    def service(self) -> dict[str, str]:
        return self.secrets.bearer("service", subject="maintenance")

    def execute(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run a statement as the superuser; its rows, if it has any."""
        with closing(self.database.connect()) as connection, connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            rows = cursor.fetchall() if cursor.description else []
            connection.commit()
            return list(rows)


@contextmanager
def shared_database(server: PostgresServer) -> Iterator[Database]:
    """A database for the tests of one module: emptying it takes a hundredth of the time that a new one does."""
    database = server.create_database(TEMPLATE)
    yield database
    database.drop()


def emptied(database: Database) -> Database:
    """The same, without any account."""
    with closing(database.connect()) as connection, connection.cursor() as cursor:
        for table in ("erasures", "accounts", "guesses"):
            cursor.execute(f"DELETE FROM customers.{table}")
        connection.commit()
    return database


def make_accounts(database: Database, directory: Path, **settings: str) -> Accounts:
    """The function with `settings` as environment variables."""
    secrets = Secrets.make(
        directory / "secrets", services=("maintenance",), customers_db=database.url("customers")
    )
    app = create_app({**secrets.environ, **CHEAP, **settings})
    return Accounts(app, secrets, database)


def at_once(calls: Iterable[Any]) -> list[Any]:
    """Call all of these at the same time; their results in order."""
    waiting = list(calls)
    with ThreadPoolExecutor(len(waiting)) as pool:
        return [future.result() for future in [pool.submit(call) for call in waiting]]


def _person(email: str, answer: TestResponse) -> Person:
    body = answer.get_json()
    return Person(email, body["customer_id"], body["access_token"], body["refresh_token"])
