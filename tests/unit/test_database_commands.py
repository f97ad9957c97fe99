"""What PostgreSQL's tools are told on their command lines, which everybody on the machine can read."""

from __future__ import annotations

from pathlib import Path

from localfaas.database import migrate

URL = "postgresql://postgres:not-for-everybody@127.0.0.1:1/magasin"


def test_no_password_is_on_a_command_line(tmp_path: Path) -> None:
    dbmate = tmp_path / "dbmate"
    dbmate.write_text('#!/bin/sh\necho "told: $*"\necho "knows: $DATABASE_URL"\n')
    dbmate.chmod(0o700)
    told, knows = migrate(URL, tmp_path / "migrations", dbmate).splitlines()
    assert told == f"told: --migrations-dir {tmp_path}/migrations --no-dump-schema up"
    assert knows == f"knows: {URL}?sslmode=disable"
