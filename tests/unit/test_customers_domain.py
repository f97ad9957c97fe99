"""What customers decides without a database: addresses, passwords, tokens, who gets a turn."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.seed.keys import ensure_private_key, user_key_id
from functions.customers import emails, passwords, tokens
from functions.customers.guesses import SLOTS, Guess, _network
from functions.customers.hashing import Cost, Hashing, Turn
from functions.shared import Invalid, Unavailable

CHEAP = Cost(memory_kib=8, iterations=1, lanes=1)


@given(st.text(max_size=80))
def test_any_text_is_an_address_or_is_refused_by_field(text: str) -> None:
    try:
        email = emails.parse(text)
    except Invalid as refused:
        assert [error["field"] for error in refused.errors] == ["email"]
    else:
        assert emails.parse(email.shown).key == email.key
        assert emails.parse(email.key).key == email.key, "a key is its own key"


@given(st.from_regex(r"[a-zA-Z0-9.é]{1,20}@[a-z0-9]{1,10}\.example", fullmatch=True))
def test_case_makes_no_difference(text: str) -> None:
    try:
        key = emails.parse(text).key
    except Invalid:
        return
    assert emails.parse(text.upper()).key == key


@pytest.mark.parametrize(
    ("one", "other"),
    [("a@x.example", "b@x.example"), ("a@x.example", "a@y.example"), ("a.b@x.example", "ab@x.example")],
)
def test_other_addresses_have_other_keys(one: str, other: str) -> None:
    assert emails.parse(one).key != emails.parse(other).key


@given(st.text(max_size=300))
def test_any_text_is_a_password_or_is_refused_by_field(text: str) -> None:
    try:
        accepted = passwords.check(text, ("Ada", "ada@shop.example"))
    except Invalid as refused:
        assert [error["field"] for error in refused.errors] == ["password"]
    else:
        assert 10 <= len(accepted) <= 200


@pytest.mark.parametrize(
    "password", ["password123", "PASSWORD123", "Password123!!", "1q2w3e4r5t", "qwertyuiop", "1234567890", "magasin-2026"]
)  # fmt: skip
def test_what_attackers_try_first_is_refused(password: str) -> None:
    with pytest.raises(Invalid, match="cannot be used") as refused:
        passwords.check(password, ())
    assert refused.value.code == "password_common"


def test_short_names_do_not_forbid_passwords() -> None:
    assert passwords.check("banana and orange", ("Ann", "a@b.example")) == "banana and orange"


def test_a_successor_needs_both_token_and_salt() -> None:
    token, salt = tokens.new_refresh_token(), tokens.new_salt()
    assert tokens.successor(token, salt) == tokens.successor(token, salt)
    others = {
        tokens.successor(token, tokens.new_salt()),
        tokens.successor(tokens.new_refresh_token(), salt),
    }
    assert tokens.successor(token, salt) not in others
    assert len(tokens.new_refresh_token()) == len(tokens.successor(token, salt)) == 43


def test_a_key_has_the_same_name_for_who_makes_it_and_for_who_signs_with_it(tmp_path: Path) -> None:
    key, _ = ensure_private_key(tmp_path / "key")
    assert tokens.key_id((tmp_path / "key").read_text()) == user_key_id(key)


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1:4711", "192.0.2.1"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("[2001:db8::1]:80", "2001:db8::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("", None),
        ("somewhere", None),
    ],
)
def test_an_address_is_that_of_its_network(text: str, network: str | None) -> None:
    assert _network(text) == network


@given(st.text(max_size=50), st.text(max_size=50))
def test_every_guess_has_its_place_in_the_table(account: str, address: str) -> None:
    assert all(0 <= Guess(account, address).slot(kind) < SLOTS for kind in ("account", "address", "pair"))


def test_a_turn_that_is_over_leaves_room_for_the_next() -> None:
    hashing = Hashing(CHEAP, waiting=0, nice=0)
    for _ in range(3):
        with hashing.turn(lambda: 5.0) as turn:
            stored = turn.hash("x")
            assert turn.verify(stored, "x").matches
            assert not turn.verify(stored, "y").matches
            assert not turn.verify(None, "x").matches


def test_whose_time_is_up_while_waiting_is_told_so_and_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    hashing, go_on, started = Hashing(CHEAP, waiting=1, nice=0), threading.Event(), threading.Event()
    done: list[str] = []

    def slow(self: Turn, stored: str | None, password: str) -> None:
        done.append(password)
        started.set()
        go_on.wait(20)

    monkeypatch.setattr(Turn, "_verify", slow)

    def ask(password: str, seconds: float) -> None:
        with hashing.turn(lambda: seconds) as turn:
            turn.verify(None, password)

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(ask, "first", 20.0)
        assert started.wait(20)
        began = time.monotonic()
        with pytest.raises(Unavailable):
            ask("second", 0.05)
        assert time.monotonic() - began < 10
        go_on.set()
        first.result()
    ask("third", 5.0)
    assert done == ["first", "third"]
