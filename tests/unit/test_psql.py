"""A shell of the database: the password goes where only its owner sees it."""

from __future__ import annotations

from pathlib import Path

import pytest

from localfaas import psql


def test_address_becomes_libpqs_variables() -> None:
    assert psql.environment("postgresql://cart:a%2Fb@db:5433/shop?sslmode=require&x=1\n") == {
        "PGHOST": "db", "PGPORT": "5433", "PGUSER": "cart", "PGPASSWORD": "a/b", "PGDATABASE": "shop",
        "PGSSLMODE": "require",
    }  # fmt: skip


def test_whoever_is_no_role_is_told_who_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    environ = {"STATE_DIR": str(tmp_path / "state")}
    assert "localfaas up" in str(psql.main(["cart"], environ))
    (tmp_path / "state" / "secrets").mkdir(parents=True)
    (tmp_path / "state" / "secrets" / "cart-db").write_text("postgresql://cart:hush@db/shop")
    assert psql.main([], environ) == psql.main(["postgres"], environ) == "as whom? one of cart"


def test_psql_is_given_no_password_as_an_argument(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    program = tmp_path / "bin" / "psql"
    program.parent.mkdir()
    for name in ("psql", "initdb", "postgres"):
        (program.parent / name).write_text(
            f'#!/bin/sh\necho "$@" > {tmp_path}/asked\necho "$PGPASSWORD" > {tmp_path}/hushed\nexit 3\n'
        )
        (program.parent / name).chmod(0o755)
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "cart-db").write_text("postgresql://cart:hush@db/shop")
    environ = {"STATE_DIR": str(tmp_path), "PG_BIN": str(program.parent)}
    assert psql.main(["cart", "-c", "SELECT 1"], environ) == 3
    assert (tmp_path / "asked").read_text() == "--no-psqlrc -c SELECT 1\n"
    assert (tmp_path / "hushed").read_text() == "hush\n"
