"""The search for secrets finds them, wherever one is planted."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from secrets import token_hex, token_urlsafe

import pytest
from argon2 import PasswordHasher

from db.seed.keys import ensure_private_key
from tests.support.functions import Secrets
from tests.support.secret_search import (
    SHAPES,
    command_lines,
    found,
    found_in_files,
    given_away,
    left_open,
    shapes_in,
    tracked_files,
    values_in,
)

PASSWORD = "a-password-of-somebody"


def secrets(directory: Path) -> dict[str, str]:
    directory.mkdir(mode=0o700)
    (directory / "cart-db").write_text(f"postgresql://cart:{PASSWORD}@127.0.0.1/magasin\n")
    (directory / "basic-auth-password").write_text("0123456789abcdef")
    (directory / "basic-auth-user").write_text("administrator")
    (directory / "lock").write_text("")
    ensure_private_key(directory / "cart-key")
    return values_in(directory)


def test_secrets_are_passwords_and_keys_and_nothing_else(tmp_path: Path) -> None:
    values = secrets(tmp_path / "secrets")
    assert sorted(values) == ["basic-auth-password.0", "cart-db.0", "cart-key.0"]
    assert values["cart-db.0"] == PASSWORD
    assert values["cart-key.0"] in (tmp_path / "secrets" / "cart-key").read_text()


def test_a_secret_in_a_text_or_a_log_is_found(tmp_path: Path) -> None:
    values = secrets(tmp_path / "secrets")
    assert found(values, f'{{"message": "cannot connect with {PASSWORD}"}}') == ["cart-db.0"]
    assert found(values, b"cart-db") == []
    (tmp_path / "cart-1.log").write_bytes(b"\xff\n" + values["cart-key.0"].encode())
    told = found_in_files(values, [tmp_path / "cart-1.log", tmp_path / "gone.log"])
    assert told == {str(tmp_path / "cart-1.log"): ["cart-key.0"]}


def test_a_secret_that_others_can_read_is_found_unless_its_folder_is_closed(tmp_path: Path) -> None:
    values = secrets(tmp_path / "secrets")
    for folder, mode in (("open", 0o755), ("closed", 0o700)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "copy").write_text(PASSWORD)
        (tmp_path / folder / "copy").chmod(0o644)
        (tmp_path / folder / "own").write_text(PASSWORD)
        (tmp_path / folder / "own").chmod(0o600)
        (tmp_path / folder).chmod(mode)
    assert left_open(values, tmp_path) == [str(tmp_path / "open" / "copy")]
    assert left_open(values, tmp_path, without=["open"]) == []


def test_every_process_and_every_tracked_file_is_looked_at() -> None:
    assert any("pytest" in line for line in command_lines().values())
    assert (
        Path(__file__) in tracked_files(Path(__file__).parents[2])
        or not (Path(__file__).parents[2] / ".git").exists()
    )


def planted(kind: str, directory: Path) -> str:
    """A text with a secret of that kind, made as the platform and its users make theirs."""
    ensure_private_key(directory / "key")
    return {
        "private key": (directory / "key").read_text,
        "private key in JSON": lambda: json.dumps({"key": (directory / "key").read_text()}),
        "token": lambda: str(Secrets.make(directory / "secrets").bearer("hq")),
        "password hash": lambda: PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash("a password"),
        "password in an address": lambda: f"postgresql://cart:{token_hex(24)}@127.0.0.1/magasin",
        "named secret": lambda: f"API_KEY={token_urlsafe(24)}7a",
        "key of a service": lambda: "ghp_" + token_hex(18),
    }[kind]()


KINDS = (*SHAPES, "private key in JSON")


@pytest.mark.parametrize("kind", KINDS)
def test_a_secret_that_was_committed_is_found_by_its_shape(tmp_path: Path, kind: str) -> None:
    """Whoever's it is: here one that no platform of a test has made."""
    repository = tmp_path / "repository"
    subprocess.run(["git", "init", "-q", repository], check=True)
    (repository / "plain").write_text(
        "password: the one you chose\nDATABASE_URL=postgresql://user:password@host/name\n"
    )
    (repository / "notes.md").write_text(f"for later: {planted(kind, tmp_path)}\n")
    subprocess.run(["git", "-C", repository, "add", "."], check=True)
    assert shapes_in(tracked_files(repository)) == {
        str(repository / "notes.md"): [kind.removesuffix(" in JSON")]
    }


@pytest.mark.parametrize("kind", KINDS)
def test_what_looks_like_a_secret_is_found_in_a_log_though_nobody_has_named_it(
    tmp_path: Path, kind: str
) -> None:
    log, plain = tmp_path / "cart-1.log", tmp_path / "cart-2.log"
    log.write_text(json.dumps({"message": f"refused: {planted(kind, tmp_path)}"}) + "\n")
    plain.write_text(
        '{"message": "the token has expired", "request_id": "0123456789abcdef0123456789abcdef"}\n'
    )
    (tmp_path / "project").mkdir()
    assert given_away({}, [log, plain], tmp_path / "project") == {str(log): [kind.removesuffix(" in JSON")]}


def test_a_secret_in_an_answer_that_was_logged_is_found(tmp_path: Path) -> None:
    answer = json.dumps({"refresh_token": f"{token_urlsafe(24)}7a"})
    (tmp_path / "customers-1.log").write_text(json.dumps({"message": f"answered {answer}"}))
    assert shapes_in(tmp_path.iterdir()) == {str(tmp_path / "customers-1.log"): ["named secret"]}
