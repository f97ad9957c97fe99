"""What must not happen to accounts, whatever is sent: no 500, nothing told that should not be, no way around."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.accounts import (
    ADDRESS,
    PASSWORD,
    Accounts,
    emptied,
    make_accounts,
    new_email,
    shared_database,
)
from tests.support.functions import faulty_fields, problem
from tests.support.postgres import Database, PostgresServer


@pytest.fixture(scope="module")
def shared(postgres_server: PostgresServer) -> Iterator[Database]:
    with shared_database(postgres_server) as database:
        yield database


@pytest.fixture
def accounts(shared: Database, tmp_path: Path) -> Accounts:
    return make_accounts(emptied(shared), tmp_path)


@pytest.mark.parametrize(
    ("fields", "code", "faulty"),
    [
        ({"email": "ada"}, "email_invalid", "email"),
        ({"email": "@shop.example"}, "email_invalid", "email"),
        ({"email": "a b@shop.example"}, "email_invalid", "email"),
        ({"email": "a@localhost"}, "email_invalid", "email"),
        ({"email": "a@-x.example"}, "email_invalid", "email"),
        ({"email": "a@" + "x" * 64 + ".example"}, "email_invalid", "email"),
        ({"email": "a" * 65 + "@shop.example"}, "email_invalid", "email"),
        ({"email": "é" * 33 + "@shop.example"}, "email_invalid", "email"),
        ({"email": "a\u202e@shop.example"}, "email_invalid", "email"),
        ({"email": "a" * 400}, "invalid", "email"),
        ({"email": 7}, "invalid", "email"),
        ({"email": None}, "invalid", "email"),
        ({"password": "short"}, "password_length", "password"),
        ({"password": "x" * 900}, "password_length", "password"),
        ({"password": "x" * 100_000}, "invalid", "password"),
        ({"password": "qwertyuiop"}, "password_common", "password"),
        ({"password": "Password1234!"}, "password_common", "password"),
        ({"password": "ababababababab"}, "password_common", "password"),
        ({"password": "ada lovelace rules"}, "password_common", "password"),
        ({"password": "i am ADA.PRIVATE today"}, "password_common", "password"),
        ({"password": ["a"] * 12}, "invalid", "password"),
        ({"name": ""}, "invalid", "name"),
        ({"name": "   "}, "invalid", "name"),
        ({"name": "a\u0007b"}, "invalid", "name"),
        ({"name": "n" * 201}, "invalid", "name"),
        ({"name": "ﷺ" * 60}, "invalid", "name"),
        ({"role": "hq"}, "invalid", "role"),
        ({"language": "klingon"}, "invalid", "language"),
    ],
)
def test_a_registration_that_cannot_be_is_refused_by_field(
    accounts: Accounts, fields: dict[str, Any], code: str, faulty: str
) -> None:
    body = {"email": "ada.private@shop.example", "password": PASSWORD, "name": "Ada Lovelace", **fields}
    answer = accounts.send("POST", "/", body)
    assert (*problem(answer), *faulty_fields(answer)) == (422, code, faulty)
    assert accounts.execute("SELECT count(*) FROM customers.accounts") == [(0,)]


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b'{"email": "a@b.example", "email": "c@d.example", "password": "seven purple herons"}', 400),
        (b'{"email": "a\\u0000@b.example", "password": "seven purple herons"}', 400),
        (b'{"email": "a@b.example", "password": "seven purple \\ud800 herons"}', 400),
        (b'{"email": "a@b.example", "password": "seven purple herons"', 400),
        (b'{"email": "a@b.example", "password": NaN}', 400),
        (b"\xff\xfe", 400),
        (b"[" * 100_000, 400),
        (b"[]", 422),
        (b"null", 422),
        (b'{"email": "a@b.example"}', 422),
        (b'{"email": "a@b.example", "password": "seven purple herons", "device": "x"}', 422),
    ],
)
def test_bodies_that_are_none_are_refused(accounts: Accounts, raw: bytes, status: int) -> None:
    for path in ("/", "/sessions", "/sessions/refresh", "/sessions/end"):
        answer = accounts.send("POST", path, data=raw, content_type="application/json")
        expected = status if path == "/sessions" or status == 400 else 422
        assert problem(answer)[0] == expected, path
        assert b"herons" not in answer.data


def test_no_answer_repeats_a_password_or_a_token(accounts: Accounts) -> None:
    secret = "x" * 2000
    for path, body in (
        ("/", {"email": new_email(), "password": secret, "name": "Ada"}),
        ("/sessions", {"email": new_email(), "password": secret}),
        ("/sessions/refresh", {"refresh_token": secret}),
    ):
        answer = accounts.send("POST", path, body)
        assert problem(answer)[0] == 422
        assert b"xxx" not in answer.data, path


@pytest.mark.parametrize(
    "spelling",
    [
        "ADA@SHOP.EXAMPLE",
        "ａｄａ@shop.example",
        "ada@ｓｈｏｐ.example",
        "  ada@shop.example ",
        "ada@shop。example",
    ],
)
def test_an_address_is_the_same_however_it_is_written(accounts: Accounts, spelling: str) -> None:
    accounts.register("ada@shop.example")
    assert accounts.attempt(spelling).status_code == 201
    accounts.register(spelling, "eight purple herons")
    assert accounts.execute("SELECT count(*) FROM customers.accounts") == [(1,)]


def test_an_international_address_is_shown_as_it_was_written(accounts: Accounts) -> None:
    person = accounts.person(email="Zoë@Bücher.example")
    assert accounts.send("GET", "/me", who=person).get_json()["email"] == "Zoë@Bücher.example"
    assert accounts.execute("SELECT email_key FROM customers.accounts") == [("zoë@xn--bcher-kva.example",)]
    assert accounts.attempt("zoë@xn--bcher-kva.example").status_code == 201


def test_a_password_is_taken_to_the_letter_but_for_how_letters_are_typed(accounts: Accounts) -> None:
    email = accounts.register(password=" café au lait ﬁxe ")
    assert accounts.attempt(email, " cafe\u0301 au lait fixe ").status_code == 201
    for other in ("café au lait fixe", " Café au lait fixe ", " cafe au lait fixe "):
        assert accounts.attempt(email, other).status_code == 401


@pytest.mark.parametrize(
    "header", ["", "x" * 500, "1.2.3.4, 5.6.7.8", "[::1]:80", "\u00e9", "1.2.3.4:99", "'; --"]
)
def test_whatever_a_client_says_of_its_address_it_is_answered(accounts: Accounts, header: str) -> None:
    email = accounts.register()
    for name in ("X-Real-IP", "X-Forwarded-For"):
        headers = {"X-Real-IP": "", name: header}
        body = {"email": email, "password": PASSWORD}
        assert accounts.send("POST", "/sessions", body, headers=headers).status_code == 201


def test_tokens_that_name_nobody_of_ours_open_nothing(accounts: Accounts) -> None:
    person = accounts.person()
    subjects = ["someone", str(uuid.uuid4()), person.customer_id.upper(), "'; DROP TABLE accounts", "a" * 36]
    for subject in subjects:
        bearer = accounts.secrets.bearer("customer", subject=subject)
        for method, path, body in (
            ("GET", "/me", None),
            ("GET", "/me/export", None),
            ("DELETE", "/me", None),
            ("POST", "/me/addresses", ADDRESS),
            ("DELETE", "/sessions", None),
            ("POST", "/me/deactivate", None),
            ("POST", "/me/password", {"password": PASSWORD, "new_password": "eight purple herons"}),
        ):
            answer = accounts.send(method, path, body, who=bearer)
            assert problem(answer) == (401, "session_ended"), (subject, path)
    assert accounts.send("GET", "/me", who=person).status_code == 200


def test_a_refresh_token_is_no_access_token_nor_the_other_way_round(accounts: Accounts) -> None:
    person = accounts.person()
    bearer = {"Authorization": f"Bearer {person.refresh_token}"}
    assert problem(accounts.send("GET", "/me", who=bearer)) == (401, "token_invalid")
    answer = accounts.send("POST", "/sessions/refresh", {"refresh_token": person.access_token})
    assert problem(answer)[0] in {401, 422}


@pytest.mark.parametrize(
    "path", ["/me/addresses/7", "/me/addresses/%00", "/not-an-id", "/erasures/7/done", "/staff/x"]
)
def test_paths_that_name_nothing_are_404(accounts: Accounts, path: str) -> None:
    assert problem(accounts.send("GET", path, who=accounts.hq))[0] in {404, 405}


@pytest.mark.parametrize(
    "query",
    [
        {"limit": "0"},
        {"limit": "101"},
        {"limit": "x"},
        {"role": "king"},
        {"active": "maybe"},
        {"nmae": "x"},
        {"store": "s1"},
    ],
)
def test_a_list_that_cannot_be_is_refused_by_parameter(accounts: Accounts, query: dict[str, str]) -> None:
    answer = accounts.send("GET", "/", who=accounts.hq, query_string=query)
    assert (problem(answer)[0], faulty_fields(answer)) == (422, list(query))


@pytest.mark.parametrize("q", ["%", "\\", "_", "a" * 200, "a b c d e f g", "é\u0301", "'"])
def test_any_text_can_be_searched_for(accounts: Accounts, q: str) -> None:
    accounts.register()
    answer = accounts.send("GET", "/", who=accounts.hq, query_string={"q": q})
    assert answer.status_code == 200


def test_what_is_kept_of_a_registration_fits_however_long_it_is(accounts: Accounts) -> None:
    email = "é" * 32 + "@" + ".".join(["é" * 20] * 3) + ".example"
    accounts.register(email, name="Ω" * 200)
    assert accounts.attempt(email).status_code == 201


def test_an_outage_of_the_database_is_503_and_signs_nobody_in(accounts: Accounts) -> None:
    email = accounts.register()
    with accounts.database.server.outage():
        assert accounts.attempt(email).status_code == 503
        body = {"email": new_email(), "password": PASSWORD, "name": "Ada"}
        assert problem(accounts.send("POST", "/", body))[0] == 503
    deadline = time.monotonic() + 30
    while accounts.attempt(email).status_code != 201:
        assert time.monotonic() < deadline
