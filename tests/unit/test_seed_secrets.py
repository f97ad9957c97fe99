"""The secret files of the shop: made once, never changed, safe when made twice at once."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import jwt
import pytest

from db.seed import secrets as seed_secrets
from db.seed.keys import KeyFileError, load_private_key, merge_jwks, user_key_id, write_secret

PROJECT = Path(__file__).resolve().parents[2]
STACK = """
version: 1.0
provider: {name: openfaas, gateway: "${OPENFAAS_URL:-http://127.0.0.1:8080}"}
functions:
  products: {image: p, secrets: [products-db, token-public-keys, products-key]}
  cart: {image: c, secrets: [cart-db, cart-key]}
  hello: {image: h}
  spy: {image: s, secrets: [cart-key]}
"""


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    path = tmp_path / "stack.yml"
    path.write_text(STACK)
    return path


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def kids(directory: Path) -> list[str]:
    return [key["kid"] for key in json.loads((directory / "token-public-keys").read_text())["keys"]]


def user_kid(directory: Path) -> str:
    return user_key_id(load_private_key(directory / "token-signing-key"))


def test_each_function_that_lists_its_own_key_gets_one(stack: Path) -> None:
    assert seed_secrets.functions_with_keys(stack) == ["cart", "products"]


def test_missing_files_are_made_private_with_one_public_set(tmp_path: Path) -> None:
    directory = tmp_path / "secrets"
    written = seed_secrets.make_missing(directory, ["cart", "products"])

    assert sorted(written) == ["cart-key", "products-key", "token-public-keys", "token-signing-key"]
    assert kids(directory) == [user_kid(directory), "service:cart", "service:products"]
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {0o600}


def test_a_second_run_changes_nothing(tmp_path: Path) -> None:
    seed_secrets.make_missing(tmp_path, ["cart"])
    before = contents(tmp_path)

    assert seed_secrets.make_missing(tmp_path, ["cart"]) == []
    assert contents(tmp_path) == before


def test_a_function_added_later_leaves_old_keys_as_they_are(tmp_path: Path) -> None:
    seed_secrets.make_missing(tmp_path, ["cart"])
    old = contents(tmp_path)
    old_set = json.loads(old["token-public-keys"])["keys"]

    assert seed_secrets.make_missing(tmp_path, ["cart", "orders"]) == ["orders-key", "token-public-keys"]
    new_set = json.loads((tmp_path / "token-public-keys").read_text())["keys"]
    assert all(key in new_set for key in old_set)
    assert len(new_set) == len(old_set) + 1
    assert (tmp_path / "cart-key").read_bytes() == old["cart-key"]


def test_a_function_that_left_the_stack_is_no_longer_trusted(tmp_path: Path) -> None:
    seed_secrets.make_missing(tmp_path, ["cart", "orders"])
    seed_secrets.make_missing(tmp_path, ["cart"])
    assert kids(tmp_path) == [user_kid(tmp_path), "service:cart"]


def test_a_user_key_kept_from_before_a_rotation_stays_in_the_set() -> None:
    present = json.dumps({"keys": [{"kty": "OKP", "kid": "customers-0", "x": "AA"}]})
    assert "customers-0" in merge_jwks(present, {})


def test_a_lost_public_set_is_made_again_from_the_keys(tmp_path: Path) -> None:
    seed_secrets.make_missing(tmp_path, ["cart"])
    before = (tmp_path / "token-public-keys").read_text()
    (tmp_path / "token-public-keys").unlink()

    assert seed_secrets.make_missing(tmp_path, ["cart"]) == ["token-public-keys"]
    assert (tmp_path / "token-public-keys").read_text() == before


def test_the_public_set_verifies_what_the_private_key_signs(tmp_path: Path) -> None:
    seed_secrets.make_missing(tmp_path, ["cart"])
    key_set = jwt.PyJWKSet.from_json((tmp_path / "token-public-keys").read_text())
    token = jwt.encode({"sub": "x"}, load_private_key(tmp_path / "cart-key"), algorithm="EdDSA")
    assert jwt.decode(token, key_set["service:cart"].key, algorithms=["EdDSA"])["sub"] == "x"


@pytest.mark.parametrize("spoilt", [b"", b"not a key", b"\x00\xff"])
def test_a_spoilt_key_is_named_and_never_replaced(tmp_path: Path, spoilt: bytes) -> None:
    (tmp_path / "cart-key").write_bytes(spoilt)
    with pytest.raises(KeyFileError, match=r"cart-key holds no readable private key"):
        seed_secrets.make_missing(tmp_path, ["cart"])
    assert (tmp_path / "cart-key").read_bytes() == spoilt


def test_a_file_readable_by_others_is_closed_to_them(tmp_path: Path) -> None:
    seed_secrets.make_missing(tmp_path, ["cart"])
    (tmp_path / "cart-key").chmod(0o644)
    seed_secrets.make_missing(tmp_path, ["cart"])
    assert stat.S_IMODE((tmp_path / "cart-key").stat().st_mode) == 0o600


def test_a_failed_write_leaves_neither_half_a_file_nor_a_temporary_one(tmp_path: Path) -> None:
    target = tmp_path / "is-a-directory"
    target.mkdir()
    with pytest.raises(OSError):
        write_secret(target, b"secret")
    assert [path.name for path in tmp_path.iterdir()] == ["is-a-directory"]


def test_runs_at_once_end_with_one_set_of_keys(stack: Path, tmp_path: Path) -> None:
    directory = tmp_path / "secrets"
    command = [sys.executable, "-m", "db.seed.secrets", "--stack", str(stack)]
    environ = os.environ | {"SECRETS_DIR": str(directory)}
    runs = [
        subprocess.Popen(command, cwd=PROJECT, env=environ, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    outputs = [run.communicate(timeout=60)[0] for run in runs]

    assert [run.returncode for run in runs] == [0] * 4
    assert len([output for output in outputs if output]) == 1
    assert seed_secrets.make_missing(directory, ["cart", "products"]) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [("functions: [", "is not YAML"), ("- a", "has no `functions`"), ("", "has no `functions`")],
)
def test_a_stack_file_that_cannot_be_used_is_one_clear_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    message: str,
) -> None:
    stack_file = tmp_path / "stack.yml"
    stack_file.write_text(text)
    monkeypatch.setenv("SECRETS_DIR", str(tmp_path / "secrets"))

    assert seed_secrets.main(["--stack", str(stack_file)]) == 1
    assert message in capsys.readouterr().err
