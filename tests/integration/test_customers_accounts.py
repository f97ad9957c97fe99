"""Accounts: the profile, addresses, what staff may see and do, and what ends with an account."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.accounts import (
    ADDRESS,
    PASSWORD,
    Accounts,
    Person,
    at_once,
    emptied,
    make_accounts,
    new_email,
    shared_database,
)
from tests.support.functions import faulty_fields, problem
from tests.support.metrics import growth
from tests.support.postgres import Database, PostgresServer


@pytest.fixture(scope="module")
def shared(postgres_server: PostgresServer) -> Iterator[Database]:
    with shared_database(postgres_server) as database:
        yield database


@pytest.fixture
def database(shared: Database) -> Database:
    return emptied(shared)


@pytest.fixture
def accounts(database: Database, tmp_path: Path) -> Accounts:
    return make_accounts(database, tmp_path)


def change(accounts: Accounts, who: Person, tag: str | None, **fields: Any) -> Any:
    headers = {} if tag is None else {"If-Match": tag}
    return accounts.send("PATCH", "/me", fields, who=who, headers=headers)


def test_a_profile_is_changed_only_from_the_version_that_was_read(accounts: Accounts) -> None:
    person = accounts.person()
    read = accounts.send("GET", "/me", who=person)
    changed = change(accounts, person, read.headers["ETag"], name="Ada King", phone="+1 514 555 0101")
    assert (changed.get_json()["name"], changed.headers["ETag"]) == ("Ada King", '"2"')
    assert problem(change(accounts, person, read.headers["ETag"], name="Eve")) == (412, "stale")
    assert problem(change(accounts, person, None, name="Eve")) == (428, "if_match_required")
    kept = change(accounts, person, "*", language="fr").get_json()
    assert (kept["name"], kept["phone"], kept["language"]) == ("Ada King", "+1 514 555 0101", "fr")
    assert change(accounts, person, '"3"', phone="").get_json()["phone"] is None


def test_a_profile_that_is_known_is_not_sent_again(accounts: Accounts) -> None:
    person = accounts.person()
    answer = accounts.send("GET", "/me", who=person, headers={"If-None-Match": '"1"'})
    assert (answer.status_code, answer.data) == (304, b"")


def add(accounts: Accounts, who: Person, **fields: Any) -> str:
    answer = accounts.send("POST", "/me/addresses", {**ADDRESS, **fields}, who=who)
    assert answer.status_code == 201, answer.get_json()
    return str(answer.get_json()["address_id"])


def listed(accounts: Accounts, who: Person) -> list[tuple[str, bool]]:
    items = accounts.send("GET", "/me/addresses", who=who).get_json()["items"]
    return [(item["address_id"], item["default"]) for item in items]


def test_there_is_one_default_address_as_long_as_there_is_any(accounts: Accounts) -> None:
    person = accounts.person()
    first = add(accounts, person)
    second = add(accounts, person, city="Québec")
    assert listed(accounts, person) == [(first, True), (second, False)]
    third = add(accounts, person, default=True, country="us")
    assert listed(accounts, person) == [(third, True), (first, False), (second, False)]
    replaced = accounts.send("PUT", f"/me/addresses/{second}", {**ADDRESS, "default": True}, who=person)
    assert (replaced.get_json()["default"], replaced.get_json()["city"]) == (True, "Laval")
    assert accounts.send("DELETE", f"/me/addresses/{second}", who=person).status_code == 204
    assert listed(accounts, person) == [(third, True), (first, False)]
    for address_id in (third, first):
        accounts.send("DELETE", f"/me/addresses/{address_id}", who=person)
    assert listed(accounts, person) == []


def test_someone_elses_address_is_as_good_as_none(accounts: Accounts) -> None:
    owner, other = accounts.person(), accounts.person()
    address_id = add(accounts, owner)
    for method, body in (("GET", None), ("PUT", ADDRESS), ("DELETE", None)):
        for wanted in (address_id, str(uuid.uuid4())):
            answer = accounts.send(method, f"/me/addresses/{wanted}", body, who=other)
            assert problem(answer) == (404, "address_not_found"), method
    assert listed(accounts, owner) == [(address_id, True)]


def test_addresses_added_at_once_keep_to_the_limit_and_to_one_default(
    database: Database, tmp_path: Path
) -> None:
    accounts = make_accounts(database, tmp_path, max_addresses="3")
    person = accounts.person()
    body = {**ADDRESS, "default": True}
    answers = at_once([lambda: accounts.send("POST", "/me/addresses", body, who=person)] * 8)
    assert sorted(answer.status_code for answer in answers) == [201] * 3 + [409] * 5
    assert [default for _, default in listed(accounts, person)] == [True, False, False]


@pytest.mark.parametrize(
    ("fields", "faulty"),
    [
        ({"city": ""}, "city"),
        ({"city": "a" * 101}, "city"),
        ({"line1": "a\nb"}, "line1"),
        ({"line1": 7}, "line1"),
        ({"country": "CAN"}, "country"),
        ({"phone": "call me"}, "phone"),
        ({"postal_code": None}, "postal_code"),
        ({"default": "yes"}, "default"),
        ({"customer_id": "x"}, "customer_id"),
    ],
)
def test_an_address_that_cannot_be_is_refused_by_field(
    accounts: Accounts, fields: dict[str, Any], faulty: str
) -> None:
    answer = accounts.send("POST", "/me/addresses", {**ADDRESS, **fields}, who=accounts.person())
    assert problem(answer) == (422, "invalid")
    assert faulty_fields(answer) == [faulty]


def found(accounts: Accounts, who: Any, **query: Any) -> list[str]:
    answer = accounts.send("GET", "/", who=who, query_string=query)
    assert answer.status_code == 200, answer.get_json()
    return [item["name"] for item in answer.get_json()["items"]]


def test_staff_find_customers_by_any_part_of_name_or_address(accounts: Accounts) -> None:
    accounts.register("zoe.miller@shop.example", name="Zoé Müller")
    accounts.register("bob@elsewhere.example", name="Bob 100%_sure")
    staff = accounts.employee()
    assert found(accounts, staff, q="zoe mull") == ["Zoé Müller"]
    assert found(accounts, staff, q="ELSEWHERE") == ["Bob 100%_sure"]
    assert found(accounts, staff, q="100%_") == ["Bob 100%_sure"]
    assert found(accounts, staff, q="1%s") == []
    assert found(accounts, staff) == ["Bob 100%_sure", "Zoé Müller"], "not the staff themselves"
    assert found(accounts, staff, role="hq") == []
    assert found(accounts, accounts.hq, role="staff", store="S1") == ["Grace"]


def test_the_list_goes_on_where_it_stopped(accounts: Accounts) -> None:
    for name in ("Eve", "Ada", "Ada", "Bob", "Cyd"):
        accounts.register(name=name)
    names: list[str] = []
    query: dict[str, Any] = {"limit": 2}
    while True:
        page = accounts.send("GET", "/", who=accounts.hq, query_string=query).get_json()
        names += [item["name"] for item in page["items"]]
        if page["next"] is None:
            break
        query["after"] = page["next"]
    assert names == ["Ada", "Ada", "Bob", "Cyd", "Eve"]
    for bad in ("x", "WyJhIiwiYiJd", "WzEsMl0"):
        answer = accounts.send("GET", "/", who=accounts.hq, query_string={"after": bad})
        assert problem(answer) == (400, "bad_cursor")


@pytest.mark.parametrize("name", ["😀" * 200, "ﷺ" * 11])
def test_the_list_goes_on_after_the_longest_names_that_there_are(accounts: Accounts, name: str) -> None:
    for _ in range(2):
        accounts.register(name=name)
    first = accounts.send("GET", "/", who=accounts.hq, query_string={"limit": 1}).get_json()
    rest = accounts.send("GET", "/", who=accounts.hq, query_string={"after": first["next"]}).get_json()
    assert [item["name"] for item in first["items"] + rest["items"]] == [name, name]


def test_hq_makes_accounts_for_staff_whose_tokens_say_where_they_work(accounts: Accounts) -> None:
    staff, hq = accounts.employee(store="S3"), accounts.employee("hq", None)
    assert accounts.send("GET", "/me", who=staff).get_json()["store"] == "S3"
    body = {"email": new_email(), "password": PASSWORD, "name": "Joan", "role": "staff", "store": "S1"}
    assert problem(accounts.send("POST", "/staff", body, who=staff)) == (403, "forbidden")
    assert accounts.send("POST", "/staff", body, who=hq).status_code == 201
    taken = accounts.send("POST", "/staff", body, who=hq)
    assert (problem(taken), faulty_fields(taken)) == ((409, "email_taken"), ["email"])
    for wrong in ({"store": None}, {"role": "hq"}):
        answer = accounts.send("POST", "/staff", {**body, **wrong}, who=hq)
        assert problem(answer) == (422, "bad_store")


def test_staff_reach_customers_only(accounts: Accounts) -> None:
    customer, colleague, staff = accounts.person(), accounts.employee(), accounts.employee()
    assert accounts.send("GET", f"/{customer.customer_id}", who=staff).status_code == 200
    for path in (f"/{colleague.customer_id}", f"/{uuid.uuid4()}"):
        assert problem(accounts.send("GET", path, who=staff)) == (404, "account_not_found")
        for verb in ("deactivate", "activate"):
            answer = accounts.send("POST", f"{path}/{verb}", who=staff)
            assert problem(answer) == (404, "account_not_found")
    assert problem(accounts.send("GET", "/", who=customer)) == (403, "forbidden")


def test_a_deactivated_account_is_refused_at_once_and_can_come_back(accounts: Accounts) -> None:
    person, staff = accounts.person(), accounts.employee()
    done = accounts.send("POST", f"/{person.customer_id}/deactivate", who=staff).get_json()
    assert done["deactivated_by"] == staff.customer_id
    assert accounts.send("POST", f"/{person.customer_id}/deactivate", who=accounts.hq).get_json() == done
    assert problem(accounts.send("GET", "/me", who=person)) == (401, "session_ended")
    assert problem(accounts.refresh(person.refresh_token)) == (401, "session_ended")
    assert problem(accounts.attempt(person.email)) == (403, "account_inactive")
    assert problem(accounts.attempt(person.email, "wrong password!")) == (401, "credentials_wrong")
    assert found(accounts, staff, active="false") == ["Ada"]
    accounts.send("POST", f"/{person.customer_id}/activate", who=staff)
    accounts.sign_in(person.email)
    assert problem(accounts.refresh(person.refresh_token)) == (401, "session_ended")


def test_one_may_deactivate_oneself(accounts: Accounts) -> None:
    person = accounts.person()
    assert accounts.send("POST", "/me/deactivate", who=person).status_code == 200
    assert problem(accounts.attempt(person.email)) == (403, "account_inactive")


def test_staff_whose_account_has_ended_can_do_nothing_though_their_token_runs(accounts: Accounts) -> None:
    staff = accounts.employee()
    accounts.send("POST", f"/{staff.customer_id}/deactivate", who=accounts.hq)
    assert problem(accounts.send("GET", "/", who=staff)) == (401, "session_ended")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("DELETE", "/sessions", None),
        ("POST", "/me/password", {"password": PASSWORD, "new_password": "eight purple herons"}),
    ],
)
def test_hq_whose_session_has_ended_can_do_nothing_though_their_token_runs(
    accounts: Accounts, method: str, path: str, body: Any
) -> None:
    hq = accounts.employee("hq", None)
    elsewhere = accounts.sign_in(hq.email)
    assert accounts.send("GET", "/", who=hq).status_code == 200
    assert accounts.send(method, path, body, who=elsewhere).status_code == 204
    new = {"email": new_email(), "password": PASSWORD, "name": "Joan", "role": "hq"}
    for refused in (
        ("GET", "/"),
        ("GET", f"/{hq.customer_id}"),
        ("POST", "/staff", new),
        ("POST", f"/{hq.customer_id}/deactivate"),
        ("POST", f"/{hq.customer_id}/activate"),
    ):
        assert problem(accounts.send(*refused, who=hq)) == (401, "session_ended"), refused


def test_what_is_exported_is_all_of_ones_own_and_no_secret(accounts: Accounts) -> None:
    person = accounts.person()
    add(accounts, person)
    add(accounts, accounts.person())
    export = accounts.send("GET", "/me/export", who=person)
    body = export.get_json()
    assert body["profile"]["email"] == person.email
    assert (len(body["addresses"]), len(body["sessions"])) == (1, 1)
    assert b"argon2" not in export.data and b"sha256" not in export.data


def open_erasures(accounts: Accounts) -> list[str]:
    page = accounts.send("GET", "/erasures", who=accounts.service).get_json()
    return [item["customer_id"] for item in page["items"]]


def test_an_erased_account_leaves_nothing_that_says_whose_it_was(accounts: Accounts) -> None:
    person = accounts.person()
    add(accounts, person)
    assert accounts.send("DELETE", "/me", who=person).status_code == 202
    for table in ("addresses", "sessions", "refresh_tokens"):
        assert accounts.execute(f"SELECT count(*) FROM customers.{table}") == [(0,)]
    (row,) = accounts.execute("SELECT to_jsonb(accounts) FROM customers.accounts")[0]
    assert {name for name, value in row.items() if value not in {None, ""}} == {
        "customer_id", "role", "version", "registrations", "created_at", "changed_at", "password_changed_at",
        "erased_at",
    }  # fmt: skip
    assert problem(accounts.send("GET", "/me", who=person)) == (401, "session_ended")
    assert problem(accounts.refresh(person.refresh_token)) == (401, "refresh_token_invalid")
    assert problem(accounts.attempt(person.email)) == (401, "credentials_wrong")
    assert found(accounts, accounts.hq) == []
    answer = accounts.send("GET", f"/{person.customer_id}", who=accounts.hq)
    assert problem(answer) == (404, "account_not_found")


def test_the_outbox_names_who_is_to_be_forgotten_until_that_is_done(accounts: Accounts) -> None:
    people = [accounts.person() for _ in range(3)]
    for person in people:
        accounts.send("DELETE", "/me", who=person)
    assert open_erasures(accounts) == [person.customer_id for person in people]
    query: dict[str, Any] = {"limit": 2}
    page = accounts.send("GET", "/erasures", who=accounts.service, query_string=query).get_json()
    query["after"] = page["next"]
    rest = accounts.send("GET", "/erasures", who=accounts.service, query_string=query).get_json()
    assert (len(page["items"]), len(rest["items"]), rest["next"]) == (2, 1, None)
    path = f"/erasures/{people[0].customer_id}/done"
    with growth("customers_erasures_total", state="finished") as finished:
        done = [accounts.send("POST", path, who=accounts.service) for _ in range(2)]
    assert finished.by == 1
    assert done[0].get_json()["done_at"] == done[1].get_json()["done_at"]
    assert open_erasures(accounts) == [person.customer_id for person in people[1:]]
    answer = accounts.send("POST", f"/erasures/{uuid.uuid4()}/done", who=accounts.service)
    assert problem(answer) == (404, "erasure_not_found")
    assert problem(accounts.send("GET", "/erasures", who=accounts.hq)) == (403, "forbidden")


def test_an_erased_address_can_be_registered_anew(accounts: Accounts) -> None:
    person = accounts.person()
    accounts.send("DELETE", "/me", who=person)
    accounts.register(person.email)
    assert accounts.sign_in(person.email).customer_id != person.customer_id


def test_nobody_is_signed_in_to_an_account_that_is_erased_meanwhile(accounts: Accounts) -> None:
    for _ in range(5):
        person = accounts.person()
        erase = partial(accounts.send, "DELETE", "/me", who=person)
        sign_in = partial(accounts.attempt, person.email)
        refresh = partial(accounts.refresh, person.refresh_token)
        add_one = partial(accounts.send, "POST", "/me/addresses", ADDRESS, who=person)
        at_once([erase, sign_in, sign_in, refresh, refresh, add_one, add_one, add_one])
    assert accounts.execute("SELECT count(*) FROM customers.sessions") == [(0,)]
    assert accounts.execute("SELECT count(*) FROM customers.addresses") == [(0,)]
    assert accounts.execute("SELECT count(*) FROM customers.erasures") == [(5,)]
