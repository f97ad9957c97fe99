"""Guessing passwords: slowed down from wherever it comes, and nobody is kept out by others for good."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

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
from tests.support.waiting import wait_for

ATTACKER, OWNER, ELSEWHERE = "198.51.100.7", "192.0.2.1", "203.0.113.9"
WRONG = "guess after guess"
THROTTLED = (429, "too_many_attempts")


@pytest.fixture(scope="module")
def shared(postgres_server: PostgresServer) -> Iterator[Database]:
    with shared_database(postgres_server) as database:
        yield database


@pytest.fixture
def database(shared: Database) -> Database:
    return emptied(shared)


@pytest.fixture
def accounts(database: Database, tmp_path: Path) -> Accounts:
    """Three guesses for one account, six from one address, eight for one account from wherever."""
    return make_accounts(
        database, tmp_path, guesses_per_pair="3", guesses_per_address="6", guesses_per_account="8"
    )


def guess(accounts: Accounts, email: str, address: str, times: int = 1) -> list[int]:
    return [accounts.attempt(email, WRONG, address).status_code for _ in range(times)]


def test_guesses_at_one_account_from_one_address_run_out_and_the_right_one_is_not_looked_at(
    accounts: Accounts,
) -> None:
    email = accounts.register()
    assert guess(accounts, email, ATTACKER, 4) == [401, 401, 401, 429]
    refused = accounts.attempt(email, PASSWORD, ATTACKER)
    assert problem(refused) == THROTTLED
    assert 1 <= int(refused.headers["Retry-After"]) <= 61


def test_an_attacker_keeps_the_owner_out_neither_here_nor_elsewhere(accounts: Accounts) -> None:
    email = accounts.register()
    guess(accounts, email, ATTACKER, 20)
    for address in (OWNER, ELSEWHERE):
        assert accounts.attempt(email, PASSWORD, address).status_code == 201


def test_what_an_attacker_has_used_up_comes_back(accounts: Accounts) -> None:
    email = accounts.register()
    guess(accounts, email, ATTACKER, 4)
    accounts.execute("UPDATE customers.guesses SET full_at = full_at - interval '60 seconds'")
    assert guess(accounts, email, ATTACKER, 2) == [401, 429]


def test_one_password_tried_on_many_accounts_runs_out(accounts: Accounts) -> None:
    tried = [guess(accounts, new_email(), ATTACKER)[0] for _ in range(7)]
    assert tried == [401] * 6 + [429]


def test_addresses_of_one_network_count_as_one(accounts: Accounts) -> None:
    email = accounts.register()
    tried = [guess(accounts, email, f"2001:db8:1:2::{index}")[0] for index in range(1, 5)]
    assert tried == [401, 401, 401, 429]
    assert guess(accounts, email, "2001:db8:1:3::1") == [401]


def test_many_addresses_together_run_out_but_where_one_signed_in_before_is_let_in(accounts: Accounts) -> None:
    email = accounts.register()
    assert accounts.attempt(email, PASSWORD, OWNER).status_code == 201
    tried = [guess(accounts, email, f"198.51.100.{index}")[0] for index in range(1, 11)]
    assert tried == [401] * 8 + [429] * 2
    assert problem(accounts.attempt(email, PASSWORD, ELSEWHERE)) == THROTTLED
    assert accounts.attempt(email, PASSWORD, OWNER).status_code == 201


def test_an_unknown_address_is_throttled_like_a_known_one(accounts: Accounts) -> None:
    known, unknown = accounts.register(), new_email()
    assert guess(accounts, known, ATTACKER, 4) == guess(accounts, unknown, ELSEWHERE, 4)


def test_who_types_wrong_now_and_then_is_never_slowed(accounts: Accounts) -> None:
    email = accounts.register()
    for _ in range(2):
        assert guess(accounts, email, OWNER, 2) == [401, 401]
        accounts.sign_in(email)


def test_guesses_made_at_once_are_counted_one_by_one(accounts: Accounts) -> None:
    email = accounts.register()
    attempts = at_once([partial(accounts.attempt, email, WRONG, ATTACKER)] * 8)
    assert sorted(answer.status_code for answer in attempts) == [401] * 3 + [429] * 5


def test_a_password_is_not_guessed_by_changing_it(accounts: Accounts) -> None:
    person = accounts.person()
    body = {"password": WRONG, "new_password": "eight purple herons"}
    tried = [accounts.send("POST", "/me/password", body, who=person).status_code for _ in range(4)]
    assert tried == [403, 403, 403, 429]


def test_the_table_of_guesses_cannot_grow_beyond_its_slots(accounts: Accounts) -> None:
    (check,) = accounts.execute(
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'guesses_slot_check'"
    )[0]
    assert "slot >= 0" in check and "slot <= 65535" in check
    for _ in range(3):
        guess(accounts, new_email(), ATTACKER)
    assert accounts.execute("SELECT kind, count(*) FROM customers.guesses GROUP BY kind ORDER BY kind") == [
        ("account", 3), ("address", 1), ("pair", 3),
    ]  # fmt: skip


def test_while_passwords_wait_further_ones_are_told_to_come_back_and_reads_are_answered(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = make_accounts(database, tmp_path, threads="4", password_queue="2")
    person = accounts.person()
    entered, go_on = threading.Semaphore(0), threading.Event()
    verify = Turn._verify

    def slow(self: Turn, stored: str | None, password: str):
        entered.release()
        assert go_on.wait(20)
        return verify(self, stored, password)

    monkeypatch.setattr(Turn, "_verify", slow)
    sign_in = partial(accounts.attempt, person.email)
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(sign_in) for _ in range(3)]
        assert entered.acquire(timeout=20)
        wait_for(lambda: accounts.app.extensions["desk"].hashing._turns._value == 0)
        busy = sign_in()
        assert (problem(busy), busy.headers["Retry-After"]) == ((503, "busy"), "2")
        assert accounts.send("GET", "/me", who=person).status_code == 200
        assert accounts.refresh(person.refresh_token).status_code == 200
        assert not entered.acquire(blocking=False), "one at a time"
        go_on.set()
    assert {future.result().status_code for future in waiting} == {201}
    assert accounts.attempt(person.email).status_code == 201


def test_passwords_are_hashed_in_what_others_leave(accounts: Accounts) -> None:
    """The thread that hashes has a lower priority than those that answer (Linux: each thread has its own)."""
    accounts.person()
    priorities = {}
    for task in Path("/proc/self/task").iterdir():
        fields = (task / "stat").read_text().rpartition(")")[2].split()
        priorities.setdefault(int(fields[16]), []).append(task)
    assert priorities[10] and priorities[0]
