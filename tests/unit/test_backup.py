"""A backup says whether it is whole; what is not, or does not fit, is refused with the reason."""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from localfaas import cli
from localfaas.backup import backup
from localfaas.manifest import (
    DUMP_FILE,
    MANIFEST_FILE,
    BackupError,
    Manifest,
    read_backup,
    render,
    write_synced,
)
from localfaas.progress import Steps
from localfaas.restore import RestoreError, check_migration, database_name
from localfaas.settings import Settings

DUMP = b"PGDMP, or so it says"
MANIFEST = Manifest(
    made_at="2026-01-02T03:04:05+00:00",
    migration="0002",
    versions={"localfaas": "0.1.0", "postgresql": "18.0"},
    privileges=[["", "CONNECT"]],
    tables={"sales.sales": ["2", "-7"], "sales.lines": ["3", "99"]},
    dump_bytes=len(DUMP),
    dump_sha256=hashlib.sha256(DUMP).hexdigest(),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A whole backup."""
    folder = tmp_path / "backups" / "monday"
    folder.mkdir(parents=True)
    (folder / DUMP_FILE).write_bytes(DUMP)
    write_synced(folder / MANIFEST_FILE, render(MANIFEST))
    return folder


def test_whole_backup_is_read_as_it_was_written(folder: Path) -> None:
    assert read_backup(folder) == MANIFEST
    assert MANIFEST.rows == 5
    assert (folder / MANIFEST_FILE).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("name", [DUMP_FILE, MANIFEST_FILE])
def test_no_altered_byte_gets_through(folder: Path, name: str) -> None:
    path = folder / name
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        try:
            found = read_backup(folder)
        except BackupError:
            continue
        assert found == MANIFEST, f"byte {place}"  # such as another kind of white space
        assert name == MANIFEST_FILE
    path.write_bytes(whole)
    assert read_backup(folder) == MANIFEST


@pytest.mark.parametrize("name", [DUMP_FILE, MANIFEST_FILE])
def test_no_torn_file_gets_through(folder: Path, name: str) -> None:
    path = folder / name
    whole = path.read_bytes()
    for size in range(len(whole.rstrip())):
        path.write_bytes(whole[:size])
        with pytest.raises(BackupError, match="torn"):
            read_backup(folder)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda folder: (folder / DUMP_FILE).unlink(), "only a part of a backup"),
        (lambda folder: (folder / MANIFEST_FILE).unlink(), "is no backup"),
        (lambda folder: (folder / DUMP_FILE).write_bytes(DUMP.upper()), "altered"),
        (lambda folder: (folder / MANIFEST_FILE).write_text("[]"), "altered"),
        (lambda folder: (folder / MANIFEST_FILE).write_bytes(b"\xff\x00"), "altered"),
    ],
)
def test_spoilt_backup_is_refused(folder: Path, spoil: Callable[[Path], object], reason: str) -> None:
    spoil(folder)
    with pytest.raises(BackupError, match=reason):
        read_backup(folder)


def test_backup_of_a_later_format_is_not_guessed_at(folder: Path) -> None:
    content = json.loads((folder / MANIFEST_FILE).read_text())
    content["format"] = 2
    del content["sha256"]
    checksum = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    (folder / MANIFEST_FILE).write_text(json.dumps({**content, "sha256": checksum}))
    with pytest.raises(BackupError, match=r"another version of localfaas.*18\.0"):
        read_backup(folder)


def test_whoever_names_no_backup_is_told_which_there_are(folder: Path) -> None:
    (folder.parent / ".tuesday.partial").mkdir()
    for asked in (folder.with_name("sunday"), folder.parent):
        with pytest.raises(BackupError) as refused:
            read_backup(asked)
        assert str(refused.value).endswith(f"there are:\n  {folder}")


def project_with(path: Path, *migrations: str) -> Settings:
    (path / "db" / "migrations").mkdir(parents=True)
    for name in migrations:
        (path / "db" / "migrations" / name).touch()
    return Settings(project=path, state=path / "state")


def test_backup_of_a_newer_migration_is_refused_and_of_an_older_one_is_not(tmp_path: Path) -> None:
    settings = project_with(tmp_path, "0001_one.sql", "0002_two.sql", "0003_three.sql", "README.md")
    for migration in ("0001", "0003", ""):
        check_migration(settings, replace(MANIFEST, migration=migration))
    with pytest.raises(RestoreError, match=r"migration 0004, and the last of this project is 0003"):
        check_migration(settings, replace(MANIFEST, migration="0004"))


@pytest.mark.parametrize("name", ["", "a" * 51, "a%20b", "größe"])
def test_database_whose_other_names_might_be_its_own_is_not_restored(name: str) -> None:
    assert database_name("postgresql://postgres:x@h:1/magasin-2_test?sslmode=require") == "magasin-2_test"
    with pytest.raises(RestoreError, match="up to 50 letters"):
        database_name(f"postgresql://postgres:x@h:1/{name}")


def steps() -> Steps:
    return Steps(Console(quiet=True))


def test_backup_replaces_nothing(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="replaces nothing"):
        backup(Settings(project=tmp_path, state=tmp_path / "state"), folder, steps())
    assert read_backup(folder) == MANIFEST


def test_home_that_was_never_up_has_nothing_to_back_up(tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="no database yet; `localfaas up`"):
        backup(Settings(project=tmp_path, state=tmp_path / "state"), None, steps())


def test_database_that_is_down_is_not_backed_up_and_nothing_is_left_behind(tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    settings = Settings(
        project=tmp_path,
        state=tmp_path / "state",
        database_url=f"postgresql://postgres:x@127.0.0.1:{port}/shop",
    )
    with pytest.raises(BackupError, match="does not answer; `localfaas up` starts it"):
        backup(settings, tmp_path / "copies" / "monday", steps())
    assert not (tmp_path / "copies").exists()


def test_commands_explain_themselves_and_fail_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STATE_DIR", str(tmp_path / "state"))
    monkeypatch.delenv("DATABASE_URL", raising=False)
    for verb in ("backup", "restore"):
        with pytest.raises(SystemExit) as shown:
            cli.main([verb, "--help"])
        assert shown.value.code == 0
        assert "folder" in capsys.readouterr().out
    with pytest.raises(SystemExit) as refused:
        cli.main(["restore", str(tmp_path)])
    assert refused.value.code == 2
    assert "--yes" in capsys.readouterr().err
    assert cli.main(["--project", str(tmp_path), "restore", "--yes", str(tmp_path / "none")]) == 1
    assert capsys.readouterr().err == f"localfaas restore: there is no {tmp_path}/none\n"
    assert cli.main(["--project", str(tmp_path), "backup"]) == 1
    assert "no database yet" in capsys.readouterr().err
    assert not (tmp_path / "state" / "backups").exists()
