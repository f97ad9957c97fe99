"""Signing in and out: what opens a session, what ends it, and who is told what."""

from __future__ import annotations

from pathlib import Path

import jwt
import pytest

from tests.support.accounts import PASSWORD, Accounts, make_accounts
from tests.support.functions import problem
from tests.support.postgres import Database


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
    wrong = accounts.attempt(email, "eight purple herons")
    unknown = accounts.attempt("nobody@shop.example", PASSWORD)
    assert problem(wrong) == problem(unknown) == (401, "credentials_wrong")
    bodies = [{**answer.get_json(), "request_id": ""} for answer in (wrong, unknown)]
    assert bodies[0] == bodies[1]
