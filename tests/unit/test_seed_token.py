"""The development token: the claims and keys that functions verify."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jwt
import pytest

from db.seed import token as seed_token
from db.seed.keys import load_private_key, user_key_id
from db.seed.secrets import make_missing


@pytest.fixture
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    make_missing(tmp_path, ["cart"])
    monkeypatch.setenv("SECRETS_DIR", str(tmp_path))
    return tmp_path


def printed_claims(secrets: Path, capsys: pytest.CaptureFixture[str]) -> tuple[str, dict[str, Any]]:
    token = capsys.readouterr().out.strip()
    kid = jwt.get_unverified_header(token)["kid"]
    key_set = jwt.PyJWKSet.from_json((secrets / "token-public-keys").read_text())
    return kid, jwt.decode(token, key_set[kid].key, algorithms=["EdDSA"], issuer="magasin")


def test_a_user_token_verifies_with_the_public_set(secrets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert seed_token.main(["--role", "hq", "--role", "staff", "--store", "S1", "--lifetime", "15m"]) == 0

    kid, claims = printed_claims(secrets, capsys)
    assert kid == user_key_id(load_private_key(secrets / "token-signing-key"))
    assert claims["roles"] == ["hq", "staff"]
    assert claims["store"] == "S1"
    assert claims["exp"] - claims["iat"] == 900
    assert claims["sub"]


def test_a_service_token_is_signed_with_the_functions_own_key(
    secrets: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert seed_token.main(["--role", "service", "--subject", "cart"]) == 0

    kid, claims = printed_claims(secrets, capsys)
    assert kid == "service:cart"
    assert claims["sub"] == "cart"
    assert claims["roles"] == ["service"]
    assert "store" not in claims


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--role"),
        (["--role", "king"], "invalid choice"),
        (["--role", "staff"], "--store goes with --role staff"),
        (["--role", "hq", "--store", "S1"], "--store goes with --role staff"),
        (["--role", "service"], "needs --subject"),
        (["--role", "service", "--role", "hq", "--subject", "cart"], "stands alone"),
        (["--role", "hq", "--lifetime", "soon"], "no duration"),
        (["--role", "hq", "--lifetime", "0"], "from 1 second to 30 days"),
        (["--role", "hq", "--lifetime", "31d"], "from 1 second to 30 days"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(
    secrets: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as stopped:
        seed_token.main(arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_a_missing_key_says_which_command_makes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SECRETS_DIR", str(tmp_path))
    assert seed_token.main(["--role", "hq"]) == 1
    captured = capsys.readouterr()
    assert "`python -m db.seed.secrets` makes it" in captured.err
    assert captured.out == ""
