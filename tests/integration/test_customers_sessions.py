"""Signing in and out: what opens a session, what ends it, and who is told what."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import jwt
import pytest
from argon2 import PasswordHasher

from functions.customers import tokens
from functions.customers.hashing import Turn
from tests.support.accounts import (
    PASSWORD,
    Accounts,
    at_once,
    emptied,
    make_accounts,
    new_email,
    shared_database,
)
from tests.support.functions import problem
from tests.support.postgres import Database, PostgresServer

OTHER_PASSWORD = "eight purple herons"
ERASED = """
UPDATE customers.accounts
SET erased_at = now(), email = NULL, email_key = NULL, name = NULL, language = NULL, password_hash = NULL
"""


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


def test_who_registers_can_sign_in_and_is_believed(accounts: Accounts) -> None:
    person = accounts.person()
    claims = jwt.decode(person.access_token, options={"verify_signature": False})
    assert (claims["sub"], claims["roles"], claims["exp"] - claims["iat"]) == (
        person.customer_id, ["customer"], 900,
    )  # fmt: skip
    profile = accounts.send("GET", "/me", who=person)
    assert profile.get_json()["email"] == person.email
    assert profile.headers["Cache-Control"] == "private, no-store"


def test_wrong_password_and_wrong_address_are_one_answer(accounts: Accounts) -> None:
    email = accounts.register()
    wrong = accounts.attempt(email, OTHER_PASSWORD)
    unknown = accounts.attempt(new_email(), PASSWORD)
    assert problem(wrong) == problem(unknown) == (401, "credentials_wrong")
    bodies = [{**answer.get_json(), "request_id": ""} for answer in (wrong, unknown)]
    assert bodies[0] == bodies[1]


def test_unknown_and_known_addresses_cost_the_same_work(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted in hashes and their parameters, since time would depend on the neighbours."""
    email, work = accounts.register(), []
    hash_password, verify = PasswordHasher.hash, PasswordHasher.verify

    def counted_hash(self: PasswordHasher, password: str) -> str:
        work.append(["hash"])
        return hash_password(self, password)

    def counted_verify(self: PasswordHasher, stored: str, password: str) -> bool:
        work.append(["verify", *stored.split("$")[1:4]])
        return verify(self, stored, password)

    monkeypatch.setattr(PasswordHasher, "hash", counted_hash)
    monkeypatch.setattr(PasswordHasher, "verify", counted_verify)
    done = []
    for request in (
        lambda: accounts.attempt(email, OTHER_PASSWORD),
        lambda: accounts.attempt(new_email(), OTHER_PASSWORD),
        lambda: accounts.register(email),
        accounts.register,
    ):
        request()
        done.append(list(work))
        work.clear()
    assert done[0] == done[1] == [["verify", "argon2id", "v=19", "m=8,t=1,p=1"]]
    assert done[2] == done[3] == [["hash"]]


@pytest.mark.parametrize(
    ("meanwhile", "refused"),
    [
        ("UPDATE customers.accounts SET password_hash = 'another'", (401, "credentials_wrong")),
        (ERASED, (401, "credentials_wrong")),
        (
            "UPDATE customers.accounts SET deactivated_at = now(), deactivated_by = 'hq'",
            (403, "account_inactive"),
        ),
    ],
)
def test_what_changes_while_a_password_is_looked_at_counts(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch, meanwhile: str, refused: tuple[int, str]
) -> None:
    email, verify = accounts.register(), Turn._verify

    def change_first(self: Turn, stored: str, password: str) -> bool:
        accounts.execute(meanwhile)
        return verify(self, stored, password)

    monkeypatch.setattr(Turn, "_verify", change_first)
    assert problem(accounts.attempt(email)) == refused
    assert accounts.execute("SELECT count(*) FROM customers.sessions") == [(0,)]


def test_registering_a_taken_address_says_the_same_and_changes_nothing(accounts: Accounts) -> None:
    email = accounts.register()
    again = accounts.send("POST", "/", {"email": email, "password": OTHER_PASSWORD, "name": "Mallory"})
    fresh = accounts.send("POST", "/", {"email": new_email(), "password": PASSWORD, "name": "Ada"})
    assert (again.status_code, again.data) == (fresh.status_code, fresh.data)
    assert problem(accounts.attempt(email, OTHER_PASSWORD)) == (401, "credentials_wrong")
    assert accounts.send("GET", "/me", who=accounts.sign_in(email)).get_json()["name"] == "Ada"


def test_two_registrations_of_one_address_at_once_make_one_account(accounts: Accounts) -> None:
    email = new_email()
    spellings = [email, email.upper(), email.replace("@", "\uff20"), email]
    bodies = [
        {"email": spelling, "password": f"seven purple herons {index}", "name": "Ada"}
        for index, spelling in enumerate(spellings)
    ]
    answers = at_once([lambda body=body: accounts.send("POST", "/", body) for body in bodies])
    assert {answer.status_code for answer in answers} == {202}
    assert accounts.execute("SELECT count(*), max(registrations) FROM customers.accounts") == [(1, 4)]
    opened = [accounts.attempt(email, body["password"]).status_code for body in bodies]
    assert sorted(opened) == [201, 401, 401, 401]


def test_a_refresh_token_is_good_once_and_followed_by_the_next(accounts: Accounts) -> None:
    person = accounts.person()
    second = accounts.refresh(person.refresh_token).get_json()
    third = accounts.refresh(second["refresh_token"]).get_json()
    assert len({person.refresh_token, second["refresh_token"], third["refresh_token"]}) == 3
    bearer = {"Authorization": f"Bearer {third['access_token']}"}
    assert accounts.send("GET", "/me", who=bearer).status_code == 200


def test_no_token_is_stored_as_it_is(accounts: Accounts) -> None:
    person = accounts.person()
    following = accounts.refresh(person.refresh_token).get_json()["refresh_token"]
    stored = str(accounts.execute("SELECT * FROM customers.refresh_tokens, customers.sessions"))
    for token in (person.refresh_token, following, PASSWORD):
        assert token not in stored
    assert accounts.execute("SELECT count(*) FROM customers.refresh_tokens") == [(2,)]


def test_a_lost_answer_is_given_again(accounts: Accounts) -> None:
    person = accounts.person()
    first = accounts.refresh(person.refresh_token).get_json()
    again = accounts.refresh(person.refresh_token).get_json()
    assert first["refresh_token"] == again["refresh_token"]
    assert accounts.refresh(again["refresh_token"]).status_code == 200


def test_two_refreshes_at_once_leave_an_honest_client_signed_in(accounts: Accounts) -> None:
    token = accounts.person().refresh_token
    answers = at_once([lambda: accounts.refresh(token)] * 8)
    assert {answer.status_code for answer in answers} == {200}
    (following,) = {answer.get_json()["refresh_token"] for answer in answers}
    assert accounts.refresh(following).status_code == 200
    assert accounts.execute("SELECT count(*) FROM customers.refresh_tokens WHERE used_at IS NULL") == [(1,)]


def test_a_replaced_token_that_comes_back_ends_the_session_of_thief_and_owner(accounts: Accounts) -> None:
    stolen = accounts.person().refresh_token
    thiefs = accounts.refresh(accounts.refresh(stolen).get_json()["refresh_token"]).get_json()
    assert problem(accounts.refresh(stolen)) == (401, "refresh_token_reused")
    assert problem(accounts.refresh(thiefs["refresh_token"])) == (401, "session_ended")
    bearer = {"Authorization": f"Bearer {thiefs['access_token']}"}
    assert problem(accounts.send("GET", "/me", who=bearer)) == (401, "session_ended")


def test_after_the_grace_a_replaced_token_ends_the_session_though_its_successor_is_unused(
    accounts: Accounts,
) -> None:
    stolen = accounts.person().refresh_token
    thiefs = accounts.refresh(stolen).get_json()["refresh_token"]
    accounts.execute("UPDATE customers.refresh_tokens SET used_at = used_at - interval '31 seconds'")
    assert problem(accounts.refresh(stolen)) == (401, "refresh_token_reused")
    assert problem(accounts.refresh(thiefs)) == (401, "session_ended")


def test_thief_and_owner_at_once_cannot_both_go_on_for_long(accounts: Accounts) -> None:
    """Within the grace both get the same next token, so whoever uses it first is found out by the other."""
    token = accounts.person().refresh_token
    owner, thief = (answer.get_json() for answer in at_once([lambda: accounts.refresh(token)] * 2))
    owners = accounts.refresh(owner["refresh_token"]).get_json()["refresh_token"]
    accounts.execute("UPDATE customers.refresh_tokens SET used_at = used_at - interval '31 seconds'")
    assert problem(accounts.refresh(thief["refresh_token"])) == (401, "refresh_token_reused")
    assert problem(accounts.refresh(owners)) == (401, "session_ended")


def test_expired_tokens_and_sessions_open_nothing(accounts: Accounts) -> None:
    person, other = accounts.person(), accounts.person()
    accounts.execute(
        "UPDATE customers.refresh_tokens SET expires_at = now() WHERE token_sha256 = %s",
        tokens.digest(person.refresh_token),
    )
    accounts.execute(
        "UPDATE customers.sessions SET expires_at = now() WHERE customer_id = %s", other.customer_id
    )
    for token in (person.refresh_token, other.refresh_token, "made-up", "\u00e9" * 50):
        assert problem(accounts.refresh(token)) == (401, "refresh_token_invalid")


def test_signing_out_ends_this_session_and_no_other(accounts: Accounts) -> None:
    person = accounts.person()
    elsewhere = accounts.sign_in(person.email)
    assert accounts.send("DELETE", "/sessions/current", who=person).status_code == 204
    assert problem(accounts.send("GET", "/me", who=person)) == (401, "session_ended")
    assert problem(accounts.refresh(person.refresh_token)) == (401, "session_ended")
    assert accounts.refresh(elsewhere.refresh_token).status_code == 200


def test_a_refresh_token_signs_out_as_well_and_nothing_is_told_of_others(accounts: Accounts) -> None:
    person = accounts.person()
    for token in (person.refresh_token, person.refresh_token, "made-up"):
        answer = accounts.send("POST", "/sessions/end", {"refresh_token": token})
        assert (answer.status_code, answer.data) == (204, b"")
    assert problem(accounts.send("GET", "/me", who=person)) == (401, "session_ended")


def test_signing_out_everywhere_ends_all_of_ones_own(accounts: Accounts) -> None:
    person, other = accounts.person(), accounts.person()
    elsewhere = accounts.sign_in(person.email)
    assert accounts.send("DELETE", "/sessions", who=person).status_code == 204
    for ended in (person, elsewhere):
        assert problem(accounts.refresh(ended.refresh_token)) == (401, "session_ended")
    assert accounts.refresh(other.refresh_token).status_code == 200


def test_a_changed_password_ends_the_other_sessions(accounts: Accounts) -> None:
    person = accounts.person()
    elsewhere = accounts.sign_in(person.email)
    change = {"password": PASSWORD, "new_password": OTHER_PASSWORD}
    assert accounts.send("POST", "/me/password", change, who=person).status_code == 204
    assert problem(accounts.refresh(elsewhere.refresh_token)) == (401, "session_ended")
    assert accounts.refresh(person.refresh_token).status_code == 200
    assert problem(accounts.attempt(person.email, PASSWORD)) == (401, "credentials_wrong")
    accounts.sign_in(person.email, OTHER_PASSWORD)


def test_a_password_is_changed_only_by_who_knows_it(accounts: Accounts) -> None:
    person = accounts.person()
    change = {"password": "not the password", "new_password": OTHER_PASSWORD}
    assert problem(accounts.send("POST", "/me/password", change, who=person)) == (403, "password_wrong")
    accounts.sign_in(person.email)


def test_sessions_beyond_the_limit_end_the_oldest(database: Database, tmp_path: Path) -> None:
    accounts = make_accounts(database, tmp_path, max_sessions="2")
    first = accounts.person()
    second, third = accounts.sign_in(first.email), accounts.sign_in(first.email)
    assert problem(accounts.refresh(first.refresh_token)) == (401, "session_ended")
    listed = accounts.send("GET", "/sessions", who=third).get_json()["items"]
    assert [(item["current"], item["ended_by"]) for item in listed] == [
        (True, None), (False, None), (False, "limit"),
    ]  # fmt: skip
    assert accounts.refresh(second.refresh_token).status_code == 200


def test_sessions_past_their_time_are_taken_away(accounts: Accounts) -> None:
    person = accounts.person()
    accounts.execute("UPDATE customers.sessions SET expires_at = now() - interval '1 second'")
    accounts.sign_in(person.email)
    assert accounts.execute("SELECT count(*) FROM customers.sessions") == [(1,)]


def test_used_tokens_are_forgotten_after_a_week(accounts: Accounts) -> None:
    token = accounts.person().refresh_token
    following = accounts.refresh(token).get_json()["refresh_token"]
    accounts.execute("UPDATE customers.refresh_tokens SET used_at = used_at - interval '8 days'")
    accounts.refresh(following)
    assert problem(accounts.refresh(token)) == (401, "refresh_token_invalid")
    assert accounts.execute("SELECT count(*) FROM customers.refresh_tokens") == [(2,)]


def test_a_hash_of_other_parameters_is_replaced_at_sign_in(database: Database, tmp_path: Path) -> None:
    cheap = make_accounts(database, tmp_path)
    person = cheap.person()
    dearer = make_accounts(database, tmp_path, password_iterations="2")
    dearer.sign_in(person.email)
    (hashed,) = cheap.execute("SELECT password_hash FROM customers.accounts")[0]
    assert hashed.startswith("$argon2id$v=19$m=8,t=2,p=1$")
    dearer.sign_in(person.email)
    assert cheap.execute("SELECT password_hash FROM customers.accounts") == [(hashed,)]


def test_passwords_cost_what_owasp_asks_for_unless_settings_say_otherwise(
    database: Database, tmp_path: Path
) -> None:
    accounts = make_accounts(
        database, tmp_path, password_memory_kib="19456", password_iterations="2", password_lanes="1"
    )
    person = accounts.person()
    (hashed,) = accounts.execute("SELECT password_hash FROM customers.accounts")[0]
    assert hashed.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert accounts.attempt(person.email, OTHER_PASSWORD).status_code == 401


def test_a_hash_that_is_spoilt_opens_nothing(accounts: Accounts) -> None:
    email = accounts.register()
    for spoilt in ("", "$argon2id$v=19$m=8,t=1,p=1$x$y", "plain"):
        accounts.execute("UPDATE customers.accounts SET password_hash = %s", spoilt)
        assert problem(accounts.attempt(email)) == (401, "credentials_wrong")
