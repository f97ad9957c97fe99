"""Every function answers every operation as its document says: Schemathesis, in this process, on a database of its own.

A few examples of each operation, the same each time; with VERIFY=1 all at the edges of the document, and many at random.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest

from functions.shared import openapi
from functions.site.domain import operations
from tests.support.callers import FUNCTIONS, Request, World, request_for, running_world
from tests.support.conformance import Examiner, nothing_to_get_wrong, parameters_of
from tests.support.effort import LONG
from tests.support.functions import faulty_fields, problem
from tests.support.postgres import PostgresServer
from tests.support.webshop import checkout_body

POSITIVE, NEGATIVE = (40, 40) if LONG else (0, 0)
"""Examples at random of each operation, beside those at the edges of the document, which say more in less time."""
SCENARIOS, STEPS = (60, 8) if LONG else (4, 5)
MOST_SCENARIOS = 600 if LONG else 0
"""Chains go on until every link from what is new has been followed, with no more than so many; a few of them cannot follow all."""
ROOM = {"guesses_per_pair": "1000000", "guesses_per_address": "1000000", "max_addresses": "1000000"}
"""Limits on a client, which would be all that there is to see."""

ANY_TEXT = (
    "its only parameters that must be there are texts in the path, and any text may be the name of something"
)
NOTHING = "it takes neither body nor parameters"
OPTIONAL = "its only parameters are headers that may be left out and may be any text"
CANNOT_BE_ASKED_WRONGLY = {
    "products": {"GET /sku/{sku}": ANY_TEXT, "GET /categories": NOTHING},
    "inventory": {
        "GET /issues/{reference}": ANY_TEXT,
        "GET /returns/{reference}": ANY_TEXT,
        "GET /locations": NOTHING,
        "GET /stock/{sku}": ANY_TEXT,
        "GET /invariants": NOTHING,
        "POST /expire": NOTHING,
    },
    "sales": {"GET /gift-cards/{code}": ANY_TEXT, "POST /recover": NOTHING},
    "reports": {"POST /refresh": NOTHING, "POST /rebuild": NOTHING},
    "cart": {
        "GET /": OPTIONAL,
        "DELETE /items/{sku}": ANY_TEXT,
        "DELETE /": OPTIONAL,
        "POST /expire": NOTHING,
    },
    "customers": {
        "GET /me": NOTHING,
        "GET /me/addresses": NOTHING,
        "GET /sessions": NOTHING,
        "DELETE /sessions/current": NOTHING,
        "DELETE /sessions": NOTHING,
        "GET /me/export": NOTHING,
        "POST /me/deactivate": NOTHING,
        "DELETE /me": NOTHING,
        "GET /.well-known/jwks.json": NOTHING,
    },
    "orders": {"GET /{reference}": ANY_TEXT, "POST /recover": NOTHING},
    "checkout": {"POST /recover": NOTHING},
    "payments": {
        "GET /authorisations/{reference}": ANY_TEXT,
        "POST /authorisations/{reference}/capture": ANY_TEXT,
        "POST /authorisations/{reference}/void": ANY_TEXT,
    },
    "maintenance": {"POST /": NOTHING},
    "site": {
        "GET /": NOTHING,
        "GET /docs": NOTHING,
        "GET /docs/openapi.json": NOTHING,
        "GET /docs/files/{version}/{name}": ANY_TEXT,
    },
}
"""The operations for which there is no data that does not fit, and why. They too are asked without a token, with a
false one, with other methods, and with what nobody has asked for."""
NOTHING_NAMED = "its path names nothing that was made, and its answer nothing that has a path right below"
NOT_TOLD = "no POST right above it answers with what its path names"
NO_CHAIN_COMES_BY = {
    "products": {
        "GET /": NOTHING_NAMED,
        "GET /sku/{sku}": NOT_TOLD,
        "GET /prices": NOTHING_NAMED,
        "GET /categories": NOTHING_NAMED,
        "POST /bulk": NOTHING_NAMED,
    },
    "inventory": {
        "POST /receipts": NOTHING_NAMED,
        "POST /receipts/bulk": NOTHING_NAMED,
        "POST /adjustments": NOTHING_NAMED,
        "POST /write-offs": NOTHING_NAMED,
        "POST /transfers": NOTHING_NAMED,
        "GET /movements": NOTHING_NAMED,
        "GET /replenishments": NOTHING_NAMED,
        "GET /locations": NOTHING_NAMED,
        "GET /stock": NOTHING_NAMED,
        "GET /stock/{sku}": NOT_TOLD,
        "GET /low-stock": NOTHING_NAMED,
        "PUT /thresholds": NOTHING_NAMED,
        "GET /invariants": NOTHING_NAMED,
        "POST /expire": NOTHING_NAMED,
    },
    "sales": {
        "POST /registers/{register}/open": NOT_TOLD,
        "POST /registers/{register}/close": NOT_TOLD,
        "GET /registers": NOTHING_NAMED,
        "POST /gift-cards": NOTHING_NAMED,
        "GET /gift-cards/{code}": NOT_TOLD,
        "POST /quote": NOTHING_NAMED,
        "GET /": NOTHING_NAMED,
        "GET /returns": NOTHING_NAMED,
        "GET /returns/{return_id}": NOT_TOLD,
        "POST /import": NOTHING_NAMED,
        "POST /recover": NOTHING_NAMED,
    },
    "cart": {
        "POST /erasures": NOTHING_NAMED,
        "POST /items": NOTHING_NAMED,
        "GET /": NOTHING_NAMED,
        "DELETE /": NOTHING_NAMED,
        "PUT /items/{sku}": NOT_TOLD,
        "DELETE /items/{sku}": NOT_TOLD,
        "POST /merge": NOTHING_NAMED,
        "POST /expire": NOTHING_NAMED,
    },
    "customers": {
        "GET /me/addresses": NOTHING_NAMED,
        "POST /sessions": NOTHING_NAMED,
        "GET /sessions": NOTHING_NAMED,
        "DELETE /sessions": NOTHING_NAMED,
        "POST /sessions/refresh": NOTHING_NAMED,
        "DELETE /sessions/current": NOTHING_NAMED,
        "POST /sessions/end": NOTHING_NAMED,
        "POST /me/password": NOTHING_NAMED,
        "GET /me/export": NOTHING_NAMED,
        "DELETE /me": NOTHING_NAMED,
        "GET /me": NOTHING_NAMED,
        "PATCH /me": NOTHING_NAMED,
        "GET /erasures": NOTHING_NAMED,
        "POST /erasures/{customer_id}/done": NOT_TOLD,
        "POST /staff": NOTHING_NAMED,
        "GET /": NOTHING_NAMED,
        "POST /": NOTHING_NAMED,
        "GET /{customer_id}": NOT_TOLD,
        "POST /{customer_id}/deactivate": NOT_TOLD,
        "POST /me/deactivate": NOTHING_NAMED,
        "POST /{customer_id}/activate": NOT_TOLD,
        "GET /.well-known/jwks.json": NOTHING_NAMED,
    },
    "orders": {
        "GET /": NOTHING_NAMED,
        "GET /by-checkout/{checkout_id}": NOT_TOLD,
        "POST /by-checkout/{checkout_id}/paid": NOT_TOLD,
        "POST /by-checkout/{checkout_id}/abandon": NOT_TOLD,
        "POST /erasures": NOTHING_NAMED,
        "POST /recover": NOTHING_NAMED,
    },
    "checkout": {
        "GET /": NOTHING_NAMED,
        "POST /recover": NOTHING_NAMED,
        "POST /erasures": NOTHING_NAMED,
    },
    "payments": {
        "GET /ledger": NOTHING_NAMED,
    },
}
"""The operations of functions with links that no link comes from or leads to, and why. They are asked one by one."""
EACH_BY_ITSELF = {
    ("sales", "POST /import"): "each document is checked by itself, and its refusal told in its place"
}
"""The operations that answer a success to data that does not fit, and why."""


@pytest.fixture(scope="module")
def world(postgres_server: PostgresServer) -> Iterator[World]:
    with running_world(postgres_server, **ROOM) as world:
        while world.done("reports", "POST /refresh", world.maintenance)["more"]:
            pass  # until sales are summed for the first time reports are 503
        yield world


def examiner_of(world: World, function: str) -> Examiner:
    return Examiner(
        world.gateway.apps[function],
        lambda operation: seed_of(world, function, operation),
        lambda operation, asked: headers_of(world, operation.definition.raw, asked),
        frozenset(label for name, label in EACH_BY_ITSELF if name == function),
    )


def seed_of(world: World, function: str, operation: str) -> Request:
    if (function, operation) == ("checkout", "POST /"):
        return Request("/", checkout_body(world.fill(world.callers["customer"], A=1)))
    return request_for(world, function, operation)


def headers_of(world: World, operation: dict[str, Any], asked: Request) -> dict[str, str]:
    """Of who may ask: the customer whose things the seeds are about, or else the one who may do most."""
    roles = operation.get("x-roles", ["customer"])
    kinds = {"customer": "customer", "hq": "hq", "service": "service", "staff": "staff of this store"}
    kind = next(kind for role, kind in kinds.items() if role in roles)
    return world.new_caller(kind) if asked.own else world.callers[kind]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_operation_answers_as_its_document_says(world: World, function: str) -> None:
    examiner = examiner_of(world, function)
    examiner.examine(POSITIVE, NEGATIVE)
    assert not examiner.failures, examiner.report()
    for label in examiner.operations:
        needed = {"seed", "positive", "negative"}
        if label in CANNOT_BE_ASKED_WRONGLY.get(function, {}):
            needed -= {"negative"}
        assert needed <= set(examiner.asked[label]), label


def test_what_cannot_be_asked_wrongly_is_listed_with_its_reason(world: World) -> None:
    documents = {
        name: world.gateway.apps[name].test_client().get("/openapi.json").get_json() for name in FUNCTIONS
    }
    expected = {
        name: {
            f"{method} {path}": reason_of(operation)
            for method, path, operation in operations(document)
            if nothing_to_get_wrong(operation)
        }
        for name, document in documents.items()
    }
    assert {name: found for name, found in expected.items() if found} == CANNOT_BE_ASKED_WRONGLY


def reason_of(operation: dict[str, Any]) -> str:
    places = {parameter["in"] for parameter in operation["parameters"]}
    return ANY_TEXT if "path" in places else OPTIONAL if places else NOTHING


def test_the_merged_document_has_no_operation_that_was_not_examined(world: World) -> None:
    merged = world.ask("site", "GET /docs/openapi.json", {}).get_json()
    examined = {
        (method, f"/api/{name}{path}".rstrip("/"))
        for name in FUNCTIONS
        for method, path in (label.split(" ", 1) for label in examiner_of(world, name).operations)
    }
    shown = {(method, path) for method, path, _ in operations(merged)}
    assert len(shown) > 80
    assert shown <= examined


LINKED = [
    name
    for name in FUNCTIONS
    if '"links"' in json.dumps(openapi.document(import_module(f"functions.{name}.handler").api))
]


@pytest.mark.parametrize("function", LINKED)
def test_every_link_leads_from_what_was_made_to_what_can_be_done_with_it(world: World, function: str) -> None:
    document = world.gateway.apps[function].test_client().get("/openapi.json").get_json()
    named = {
        operation["operationId"]: (method, path, operation)
        for method, path, operation in operations(document)
    }
    followed = 0
    for method, path, operation in list(named.values()):
        links = {
            name: link
            for answer in operation["responses"].values()
            for name, link in answer.get("links", {}).items()
        }
        for link in links.values():
            made = asked(world, function, f"{method} {path}", operation, {})
            assert made.status_code in {200, 201}, made.get_json()
            target_method, target, wanted = named[link["operationId"]]
            values = {name: evaluated(expression, made) for name, expression in link["parameters"].items()}
            label = f"{target_method} {target}"
            answer = asked(world, function, label, wanted, values)
            # Not everything can be done at once with what was just made, but it is there.
            assert answer.status_code in {200, 201, 204, 409}, (label, answer.get_json())
            followed += 1
    assert followed


def asked(world: World, function: str, label: str, operation: dict[str, Any], values: dict[str, str]) -> Any:
    """The operation's seed, with these values of a link in the places of its own."""
    seed = seed_of(world, function, label)
    method, template = label.split(" ", 1)
    path = seed.path.partition("?")[0]
    if values:
        own = parameters_of(template, path)
        path = template.format(**{name: values.get(name, value) for name, value in own.items()})
    headers = {**seed.headers, **{name: value for name, value in values.items() if name == "If-Match"}}
    return world.ask(
        function, f"{method} {path}", {**headers, **headers_of(world, operation, seed)}, seed.body
    )


def evaluated(expression: str, made: Any) -> str:
    """A runtime expression of OpenAPI (3.1, section 4.8.20.3), as far as the documents use them."""
    header = re.fullmatch(r"\$response\.header\.(.+)", expression)
    if header:
        return str(made.headers[header[1]])
    member = re.fullmatch(r"\$response\.body#/(\w+)", expression)
    assert member, expression
    return str(made.get_json()[member[1]])


@pytest.mark.parametrize("function", LINKED)
def test_chains_of_requests_along_the_links_are_answered_as_documented(world: World, function: str) -> None:
    examiner = examiner_of(world, function)
    followed = examiner.follow_links(SCENARIOS, STEPS, MOST_SCENARIOS)
    assert not examiner.failures, examiner.report()
    assert followed, "no chain got further than its first request"
    assert followed.keys() <= examiner.links
    if LONG:
        assert examiner.links_of_new - followed.keys() == set(), "links that no chain has followed"


def test_what_no_chain_comes_by_is_listed_with_its_reason(world: World) -> None:
    found = {}
    for name in LINKED:
        examiner = examiner_of(world, name)
        linked = {
            label for link in examiner.links for label in (link.split(" -> ")[0], link.split(" -> ")[-1])
        }
        found[name] = {
            label: NOT_TOLD if "{" in label else NOTHING_NAMED
            for label in examiner.operations
            if label not in linked
        }
    assert found == NO_CHAIN_COMES_BY


def test_every_list_refuses_what_is_no_cursor_of_its_own_and_names_the_field(world: World) -> None:
    lists = dict(lists_of(world))
    cursors = {place: cursor for place in lists if (cursor := next_of(world, place, lists[place]))}
    assert len(lists) > 12
    assert len(cursors) > 6
    for place, operation in lists.items():
        made_up = {"garbage", "é", "W10", *(cursor for other, cursor in cursors.items() if other != place)}
        own = cursors.get(place)
        if own is not None:
            made_up |= {
                own[:-1],
                own[: len(own) // 2],
                own[1:],
                own[:9] + ("A" if own[9] != "A" else "B") + own[10:],
            }
            assert listed(world, place, operation, own).status_code == 200
        for cursor in made_up:
            answer = listed(world, place, operation, cursor)
            assert (problem(answer), faulty_fields(answer)) == ((400, "bad_cursor"), ["after"]), (
                place,
                cursor,
            )


Place = tuple[str, str]
"""A function, and a path of a list."""


def lists_of(world: World) -> Iterator[tuple[Place, dict[str, Any]]]:
    for name in FUNCTIONS:
        for label, operation in examiner_of(world, name).operations.items():
            if any(parameter.name == "after" for parameter in operation.query):
                yield (name, label.removeprefix("GET ")), operation.definition.raw


def listed(world: World, place: Place, operation: dict[str, Any], after: str | None) -> Any:
    function, template = place
    seed = seed_of(world, function, f"GET {template}")
    client = world.gateway.apps[function].test_client(use_cookies=False)
    query = {"limit": 1, **({} if after is None else {"after": after})}
    path = seed.path.partition("?")[0]
    return client.get(path, query_string=query, headers=headers_of(world, operation, seed))


def next_of(world: World, place: Place, operation: dict[str, Any]) -> str | None:
    """The list's own cursor, if there are two of what it lists; one more of each is made for that."""
    function, template = place
    makers = {"/prices": None, "/returns": "POST /{sale_id}/returns", "/erasures": "DELETE /me"}
    maker = makers.get(template, f"POST {template}")
    client = world.gateway.apps[function].test_client(use_cookies=False)
    document = client.get("/openapi.json").get_json()
    for method, path, each in operations(document):
        if f"{method} {path}" == maker:
            for _ in range(2):
                asked(world, function, maker, each, {})
    answer = listed(world, place, operation, None)
    return answer.get_json()["next"] if answer.status_code == 200 else None
