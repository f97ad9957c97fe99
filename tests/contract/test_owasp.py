"""OWASP's API risks, asked of every operation of every function at once: docs/security.md says which test proves what.

Function-level authorisation (API5) is authorisation.yml's; here are what belongs to somebody (API1), fields that are not
a client's to send or to see (API3), stock that nobody may hoard (API6), addresses that nobody may have fetched (API7),
and text that must stay text.
"""

from __future__ import annotations

import socket
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing
from functools import partial
from importlib import import_module
from typing import Any
from uuid import uuid4

import pytest

from functions.orders import common, routes_orders
from functions.shared import Api, DatabaseSettings, Query, create_app, current, fetch_all, openapi
from tests.contract.test_authorisation import read_table
from tests.support.callers import FUNCTIONS, KINDS, Request, World, request_for, running_world
from tests.support.chain import DATABASES, shut
from tests.support.functions import faulty_fields
from tests.support.hostile import (
    FALSE,
    TRUE,
    Operation,
    Place,
    attack,
    filled,
    objects,
    operations,
    undocumented,
    with_fields,
)
from tests.support.postgres import PostgresServer
from tests.support.webshop import ADDRESS

TABLE = read_table()
ASKED_AS = ("customer", "hq", "service", "staff of this store", "anonymous")
"""Who asks, the first of them that may."""
INTRUDERS = ("other customer", "staff of another")
PATIENT = {
    "statement_timeout_ms": "2000",
    **dict.fromkeys(
        ("guesses_per_pair", "guesses_per_address", "guesses_per_account", "max_addresses"), "10000"
    ),
}
"""No limit that is not asked about keeps a text from being looked at; and what sleeps is cut off."""
FORGED_FIELDS = (
    "role", "roles", "status", "state", "id", "customer_id", "price_cents", "unit_price_cents", "total_cents",
    "tax_cents", "paid_at", "captured_cents", "store", "active", "version", "created_at", "is_admin",
    "password_hash", "__proto__",
)  # fmt: skip
TOLD_BY_DOCUMENT = {("sales", "POST /import")}
"""Documents are checked one by one, and what is wrong with one is told in its place of a 200."""
COUNTED = ("products.products", "customers.accounts", "inventory.ledger", "orders.orders", "sales.sales")


@pytest.fixture(scope="module")
def world(postgres_server: PostgresServer) -> Iterator[World]:
    with running_world(postgres_server, **PATIENT) as world:
        world.done("reports", "POST /refresh", world.maintenance)
        yield world


def operations_of(function: str) -> list[Operation]:
    return list(operations(function, openapi.document(import_module(f"functions.{function}.handler").api)))


OPERATIONS = {(function, each.name): each for function in FUNCTIONS for each in operations_of(function)}
WITH_BODY = [key for key, each in OPERATIONS.items() if each.body is not None]
WITH_OBJECT = [
    (function, name)
    for function, name in OPERATIONS
    if "{" in name and {TABLE[function, name][who] for who in INTRUDERS} & {"403", "404"}
]


def ids(keys: list[tuple[str, str]]) -> list[Any]:
    return [pytest.param(*key, id=" ".join(key)) for key in sorted(keys)]


def headers_of(world: World, function: str, name: str, request: Request) -> dict[str, str]:
    """Of somebody who may ask for this, with an account of its own if the request uses it up."""
    kind = next(kind for kind in ASKED_AS if TABLE[function, name][kind] == "ok")
    return world.new_caller(kind) if request.own and kind in KINDS else world.callers[kind]


def send(world: World, operation: Operation, who: Mapping[str, str], request: Request) -> Any:
    key = request.headers.get("Idempotency-Key", "")
    headers = {**who, **request.headers}
    return world.ask(operation.function, f"{operation.method} {request.path}", headers, request.body, key)


def contents(world: World) -> dict[str, tuple[Any, ...]]:
    """A digest of every table of every function."""
    tables = world.execute(
        "SELECT format('%%I.%%I', schemaname, tablename) FROM pg_tables WHERE schemaname = ANY(%s)",
        (list(DATABASES),),
    )
    digest = "SELECT count(*), md5(string_agg(t::text, ',' ORDER BY t::text)) FROM {} AS t"
    return {table: world.execute(digest.format(table))[0] for (table,) in tables}


def structure(world: World) -> list[tuple[Any, ...]]:
    return world.execute(
        "SELECT table_schema, table_name, column_name FROM information_schema.columns"
        " WHERE table_schema = ANY(%s) ORDER BY 1, 2, 3",
        (list(DATABASES),),
    )


def counts(world: World) -> list[int]:
    return [int(world.execute(f"SELECT count(*) FROM {table}")[0][0]) for table in COUNTED]


# API1: object level authorisation


def telltales(value: Any) -> Iterator[str]:
    """The texts in an answer that are somebody's: names, addresses, numbers, moments, not words of ours."""
    if isinstance(value, dict):
        for part in value.values():
            yield from telltales(part)
    elif isinstance(value, list):
        for part in value:
            yield from telltales(part)
    elif isinstance(value, str) and len(value) >= 8 and any(letter in "0123456789@ " for letter in value):
        yield value


def elsewhere(operation: Operation, request: Request) -> Request:
    """The same request for something that does not exist."""
    for parameter in operation.described["parameters"]:
        if parameter["in"] == "path":
            value = str(uuid4()) if parameter["schema"].get("type") != "integer" else "999999999"
            request = filled(operation, request, Place("path", parameter["name"]), value)
    return request


def intrusions(world: World, keys: Collection[tuple[str, str]]) -> list[str]:
    """What is wrong when strangers ask for what is ada's and S1's, as its owners may: nothing, if all is well."""
    asked = {key: request_for(world, *key) for key in keys}
    owned = {text for key, request in asked.items() for text in shown_to_owner(world, key, request)}
    assert ADDRESS["line1"] in owned
    intruders = {who: world.callers[who] for who in INTRUDERS}
    before = contents(world)
    faults = [
        f"{who}: {' '.join(key)}: {fault}"
        for key, request in asked.items()
        for who in INTRUDERS
        if TABLE[key][who] != "ok"
        for fault in told_to_intruder(world, OPERATIONS[key], intruders[who], request, owned)
    ]
    after = contents(world)
    return faults + [f"{table} is changed" for table in after if after[table] != before[table]]


def shown_to_owner(world: World, key: tuple[str, str], request: Request) -> set[str]:
    """The texts that who may read it is shown."""
    if not key[1].startswith("GET "):
        return set()
    answer = send(world, OPERATIONS[key], headers_of(world, *key, request), request)
    assert answer.status_code == 200, (key, answer.get_json())
    return {text for text in telltales(answer.get_json()) if text not in request.path}


def told_to_intruder(
    world: World, operation: Operation, who: Mapping[str, str], request: Request, owned: Collection[str]
) -> Iterator[str]:
    answer = send(world, operation, who, request)
    if answer.status_code not in {403, 404}:
        yield f"is answered {answer.status_code}"
    shown = answer.get_data(as_text=True)
    yield from (f"is told {text!r}" for text in owned if text in shown)
    if answer.status_code == 404:
        missing = send(world, operation, who, elsewhere(operation, request))
        if without_id(missing) != without_id(answer):
            yield "is told otherwise than of what does not exist"


def test_what_is_somebodys_is_neither_shown_nor_changed_nor_told_of(world: World) -> None:
    assert intrusions(world, WITH_OBJECT) == []


def test_an_order_that_everybody_may_see_and_cancel_is_found(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (common, routes_orders):
        monkeypatch.setattr(module, "visible", lambda row: row)
    found = intrusions(world, [key for key in WITH_OBJECT if key[0] == "orders"])
    for fault in (
        "other customer: orders GET /{reference}: is answered 200",
        f"other customer: orders GET /{{reference}}: is told {ADDRESS['line1']!r}",
        "orders.orders is changed",
    ):
        assert fault in found


def without_id(response: Any) -> dict[str, Any]:
    return {**response.get_json(), "request_id": ""}


def test_lists_have_nothing_of_somebody_else(world: World) -> None:
    """Of all that is ada's, and was sold in S1, in whatever a stranger and staff of S2 can list."""
    owned = {
        world.ada,
        world.email_of(world.ada),
        world.an_order,
        world.a_checkout,
        world.an_address,
        world.a_sale,
    }
    lists = {
        "other customer": [
            ("orders", "/"), ("checkout", "/"), ("cart", "/"), ("customers", "/me"), ("customers", "/me/addresses"),
            ("customers", "/me/export"), ("customers", "/sessions"),
        ],
        "staff of another": [("orders", "/"), ("sales", "/"), ("sales", "/returns"), ("sales", "/registers")],
    }  # fmt: skip
    for who, asked in lists.items():
        for function, path in asked:
            answer = world.ask(function, f"GET {path}", world.callers[who])
            assert answer.status_code == 200, (function, path)
            shown = answer.get_data(as_text=True)
            assert [text for text in owned if text in shown] == [], (who, function, path)
    owners = {"other customer": "customer", "staff of another": "staff of this store"}
    shown = "".join(
        world.ask(function, f"GET {path}", world.callers[owners[who]]).get_data(as_text=True)
        for who, asked in lists.items()
        for function, path in asked
    )
    assert [text for text in owned if text not in shown] == [], "or nothing could have been found"
    for function, query in (("orders", "location=S1"), ("sales", "store=S1"), ("reports", "store=S1")):
        path = "/sales" if function == "reports" else "/"
        answer = world.ask(function, f"GET {path}?{query}", world.callers["staff of another"])
        assert answer.status_code == 403
    mine = world.ask("orders", f"GET /?customer={world.ada}", world.callers["other customer"])
    assert mine.status_code == 403 or mine.get_json()["items"] == []


def test_telltales_are_found() -> None:
    assert set(telltales({"a": [{"b": "Ada Lovelace"}], "status": "delivered", "n": 7})) == {"Ada Lovelace"}


# API3: object property level authorisation


@pytest.mark.parametrize(("function", "name"), ids(WITH_BODY))
def test_no_body_takes_a_field_that_is_not_its_own(world: World, function: str, name: str) -> None:
    operation, request = OPERATIONS[function, name], request_for(world, function, name)
    who = headers_of(world, function, name, request)
    for at, declared in objects(operation, request.body):
        forged = [field for field in FORGED_FIELDS if field not in declared]
        body = with_fields(request.body, at, forged)
        answer = send(world, operation, who, Request(request.path, body, request.headers))
        if at and (function, name) in TOLD_BY_DOCUMENT:
            [told] = answer.get_json()["items"]
            assert told["outcome"] == "refused"
            named = [fault["field"] for fault in told["problem"]["errors"]]
        else:
            assert answer.status_code == 422, (at, answer.get_json())
            named = faulty_fields(answer)
            assert all(field.startswith(".".join(at[:1])) for field in named)
        assert {field.rpartition(".")[2] for field in named} >= set(forged), at


@pytest.mark.parametrize(("function", "name"), ids(list(OPERATIONS)))
def test_no_answer_has_more_than_is_documented(world: World, function: str, name: str) -> None:
    operation, request = OPERATIONS[function, name], request_for(world, function, name)
    answer = send(world, operation, headers_of(world, function, name, request), request)
    schema = operation.answer(answer.status_code)
    if answer.status_code < 300 and schema is not None:
        assert undocumented(answer.get_json(), schema, operation.models) == []
    else:
        assert answer.status_code < 400 or answer.status_code == 409, answer.get_json()


def test_a_field_too_many_is_found() -> None:
    models = {
        "Line": {"type": "object", "properties": {"sku": {"type": "string"}}},
        "Whole": {"type": "object", "properties": {"lines": {"items": {"$ref": "#/x/Line"}}}},
    }
    schema = {"anyOf": [{"$ref": "#/x/Whole"}, {"type": "null"}]}
    answer = {"lines": [{"sku": "A"}, {"sku": "A", "cost_cents": 1}], "password_hash": ""}
    assert undocumented(answer, schema, models) == ["lines.cost_cents", "password_hash"]


# API6: sensitive business flows


def test_stock_is_held_by_a_checkout_under_way_and_by_nothing_else(world: World) -> None:
    """Not by carts, however many and full; and a card that is refused lets go of all that was promised."""
    held = "SELECT coalesce(sum(reserved), 0) FROM inventory.stock"
    before = world.execute(held)
    hoarders = [world.new_caller("customer") for _ in range(3)]
    carts = [world.fill(who, A=999, B=999) for who in hoarders]
    assert world.execute(held) == before
    for who in hoarders:
        assert world.ask("cart", "POST /items", who, {"sku": "A", "quantity": 1}).status_code == 422
        line = {"location": "W1", "lines": [{"sku": "A", "quantity": 1}]}
        assert world.ask("inventory", "POST /reservations", who, line).status_code == 403
    for who, cart in zip(hoarders, carts, strict=True):
        assert world.check_out(who, cart, card_token="tok_declined").status_code == 402
    assert world.execute(held) == before


# API7, API8 and API10: what a client writes stays text


@pytest.fixture
def canary() -> Iterator[socket.socket]:
    """An address that nobody is to ask for anything."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        listener.setblocking(False)
        yield listener


def address(canary: socket.socket) -> str:
    return f"http://127.0.0.1:{canary.getsockname()[1]}"


def was_asked(canary: socket.socket) -> bool:
    try:
        canary.accept()[0].close()
    except BlockingIOError:
        return False
    return True


@pytest.mark.parametrize("function", FUNCTIONS)
def test_no_text_is_run_fetched_or_told_apart(world: World, canary: socket.socket, function: str) -> None:
    """Neither as SQL, nor as an address, a path or a header; a failure would name the operation and the place."""
    columns, rows = structure(world), counts(world)
    world.gateway.requests.clear()
    honest = {each: request_for(world, function, each.name) for each in operations_of(function)}
    faults = []
    for operation, request in honest.items():
        who = headers_of(world, function, operation.name, request)
        ask = partial(send, world, operation, who)
        faults += attack(ask, operation, request, address(canary))
    assert faults == []
    assert structure(world) == columns
    assert all(now >= then for now, then in zip(counts(world), rows, strict=True))
    assert not was_asked(canary)
    paths = [path.partition("?")[0] for path in world.gateway.requests]
    assert [path for path in paths if "/.." in path or "/system" in path] == []


class CarelessQuery(Query):
    q: str = ""


def test_text_that_becomes_a_statement_is_found(world: World) -> None:
    api = Api("cart", title="Careless")

    @api.get("/", query=CarelessQuery, answers={200: dict[str, Any]})
    def search(query: CarelessQuery) -> dict[str, Any]:
        """Search."""
        statement = f"SELECT 1 AS found WHERE 'a' = '{query.q}'"
        return {"found": len(current().database.read(lambda connection: fetch_all(connection, statement)))}

    app = create_app(api, DatabaseSettings, {**world.environ, "statement_timeout_ms": "200"})
    [operation] = operations("careless", openapi.document(api))
    found = attack(
        lambda request: app.test_client().get(request.path), operation, Request("/"), "http://127.0.0.1:9"
    )
    shut(app)
    assert [fault for fault in found if f"{TRUE!r} and {FALSE!r} are told apart" in fault]
    assert [fault for fault in found if "is answered 50" in fault]


def test_an_address_that_was_asked_is_noticed(canary: socket.socket) -> None:
    assert not was_asked(canary)
    with closing(socket.create_connection(canary.getsockname())):
        assert was_asked(canary)


def test_every_id_that_a_client_names_is_of_a_kind() -> None:
    """A path's parameter is a number, a UUID, or a name that its function looks up; the last are known."""
    named = {
        parameter["name"]
        for each in OPERATIONS.values()
        for parameter in each.described["parameters"]
        if parameter["in"] == "path" and parameter["schema"] == {"type": "string"}
    }
    assert named == {"sku", "reference", "register", "code", "store", "version", "name"}
