"""Keys change while functions run: two are valid at once, and the old one is let go of once its tokens are past."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest

from db.seed import keys, rotate_keys
from db.seed.secrets import make_missing
from functions.cart.handler import create_app as create_cart
from functions.customers.handler import create_app
from functions.shared import Unauthorized, auth
from functions.shared.auth import TokenVerifier
from tests.support.accounts import CHEAP, Accounts, Person, emptied, make_accounts, shared_database
from tests.support.functions import Secrets, problem
from tests.support.postgres import Database, PostgresServer


@pytest.fixture(scope="module")
def shared(postgres_server: PostgresServer) -> Iterator[Database]:
    with shared_database(postgres_server) as database:
        yield database


@pytest.fixture
def accounts(shared: Database, tmp_path: Path) -> Accounts:
    return make_accounts(emptied(shared), tmp_path)


class Clock:
    """The clock that intervals are measured with and the calendar, each of which can be put forward."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._waited = self._ahead = 0.0
        monotonic, calendar = time.monotonic, time.time
        monkeypatch.setattr(time, "monotonic", lambda: monotonic() + self._waited)
        monkeypatch.setattr(time, "time", lambda: calendar() + self._ahead)

    def wait(self, seconds: float) -> None:
        """As if so long had passed for whoever looks at files now and then."""
        self._waited += seconds

    def put_forward(self, seconds: float) -> None:
        """As if it were so much later."""
        self._ahead += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def rotate(
    directory: Path, settle: Callable[[], None] = lambda: None, keep: int = 1200
) -> rotate_keys.Rotation:
    return rotate_keys.rotate(directory, keep, settle)


def kid(person: Person) -> str:
    return str(jwt.get_unverified_header(person.access_token)["kid"])


def published(accounts: Accounts) -> list[str]:
    answer = accounts.send("GET", "/.well-known/jwks.json")
    assert answer.headers["Cache-Control"] == "public, max-age=60"
    return [key["kid"] for key in answer.get_json()["keys"]]


def is_believed(app: Any, person: Person) -> bool:
    """Whether another function takes the token."""
    with app.test_client() as client:
        answer = client.post("/expire", headers=person.headers)
    assert answer.status_code in {401, 403}
    return answer.status_code == 403


def test_a_rotation_is_seen_by_running_functions_from_both_sides(
    accounts: Accounts, clock: Clock, tmp_path: Path
) -> None:
    secrets = accounts.secrets.directory
    (secrets / "cart-db").write_text(accounts.database.url("cart"))
    keys.ensure_private_key(secrets / "cart-key")
    cart = create_cart({**accounts.secrets.environ, "gateway_url": "http://127.0.0.1:1"})
    before = accounts.person()
    assert published(accounts) == [kid(before)]

    def settle() -> None:
        """Between the steps the old key still signs, and both are published."""
        clock.wait(rotate_keys.SETTLE_SECONDS)
        assert kid(accounts.sign_in(before.email)) == kid(before)
        assert len(published(accounts)) == 2

    rotation = rotate(secrets, settle, keep=60)
    clock.wait(2)
    after = accounts.sign_in(before.email)
    assert kid(after) == rotation.kid != kid(before)
    assert set(published(accounts)) == {kid(before), kid(after)}
    for person in (before, after):
        assert accounts.send("GET", "/me", who=person).status_code == 200
        assert is_believed(cart, person)

    clock.wait(auth.LOOK_SECONDS)
    clock.put_forward(61)
    assert published(accounts) == [rotation.kid]
    assert accounts.send("GET", "/me", who=after).status_code == 200
    assert problem(accounts.send("GET", "/me", who=before)) == (401, "token_invalid")
    assert (is_believed(cart, before), is_believed(cart, after)) == (False, True)


def test_the_old_key_is_refused_after_its_end_though_its_token_would_run(
    accounts: Accounts, clock: Clock
) -> None:
    old = accounts.secrets.bearer("hq")  # eight hours
    assert accounts.send("GET", "/", who=old).status_code == 200
    rotate(accounts.secrets.directory)
    clock.wait(10)
    clock.put_forward(10)
    assert accounts.send("GET", "/", who=old).status_code == 200
    clock.put_forward(rotate_keys.KEEP_SECONDS)
    assert problem(accounts.send("GET", "/", who=old)) == (401, "token_invalid")


def test_a_key_that_has_leaked_is_let_go_of_within_seconds(accounts: Accounts, clock: Clock) -> None:
    old = accounts.secrets.bearer("hq")
    assert accounts.send("GET", "/", who=old).status_code == 200
    rotate(accounts.secrets.directory, keep=0)
    clock.wait(auth.LOOK_SECONDS)
    assert problem(accounts.send("GET", "/", who=old)) == (401, "token_invalid")
    assert accounts.send("GET", "/", who=accounts.secrets.bearer("hq")).status_code == 200


def test_a_token_of_a_key_not_seen_yet_is_looked_up_at_once_but_not_at_every_flood(
    accounts: Accounts, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = accounts.secrets.directory
    verifier = TokenVerifier((directory / "token-public-keys").read_text(), directory / "token-public-keys")
    reads: list[Path] = []
    real = Path.stat
    monkeypatch.setattr(Path, "stat", lambda path, **how: (reads.append(path), real(path, **how))[1])
    rotate(directory)
    clock.wait(1.1)
    token = accounts.secrets.bearer("hq")["Authorization"].partition(" ")[2]
    assert verifier.verify(token).roles == {"hq"}
    reads.clear()
    foreign = jwt.encode({"sub": "x"}, keys.Ed25519PrivateKey.generate(), "EdDSA", headers={"kid": "foreign"})
    for _ in range(50):
        with pytest.raises(Unauthorized):
            verifier.verify(foreign)
    assert len(reads) <= 1


@pytest.mark.parametrize("spoilt", ["", "{", '{"keys": []}', '{"keys": [{"kid": "x", "exp": "soon"}]}', None])
def test_a_spoilt_file_of_keys_leaves_those_that_were(
    accounts: Accounts, clock: Clock, spoilt: str | None
) -> None:
    person, path = accounts.person(), accounts.secrets.directory / "token-public-keys"
    sound = path.read_text()
    if spoilt is None:
        path.unlink()
    else:
        keys.write_secret(path, spoilt.encode())
    clock.wait(10)
    assert accounts.send("GET", "/me", who=person).status_code == 200
    keys.write_secret(path, sound.encode())


def test_a_spoilt_signing_key_leaves_the_one_that_was(accounts: Accounts, clock: Clock) -> None:
    person = accounts.person()
    keys.write_secret(accounts.secrets.directory / "token-signing-key", b"not a key")
    clock.wait(10)
    assert kid(accounts.sign_in(person.email)) == kid(person)


class KilledError(Exception):
    """As a kill -9 between two steps."""


def steps_of_a_rotation() -> list[tuple[str, str]]:
    """Each effect on the disk, and whether the kill comes before or after it."""
    files = (
        "token-signing-key-keep",
        "token-signing-key-next",
        "token-public-keys",
        "token-signing-key",
        "token-public-keys#2",
        "unlink",
    )
    return [(name, moment) for name in files for moment in ("before", "after")]


BEFORE_IT_BEGINS = {
    ("token-signing-key-keep", "before"),
    ("token-signing-key-keep", "after"),
    ("token-signing-key-next", "before"),
}


@pytest.mark.parametrize("keep", [1200, 0])
@pytest.mark.parametrize(("step", "moment"), steps_of_a_rotation(), ids=lambda value: value)
def test_a_rotation_that_is_killed_anywhere_locks_nobody_out_and_is_finished_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, moment: str, keep: int
) -> None:
    """Old keys are kept as long as it said, so one that leaked is let go of by whoever finishes it."""
    secrets = Secrets.make(tmp_path, services=("cart",))
    old = secrets.bearer("hq")["Authorization"].partition(" ")[2]
    with monkeypatch.context() as patched:
        _kill_at(patched, step, moment)
        with pytest.raises(KilledError):
            rotate(tmp_path, keep=keep)
    service = secrets.bearer("service", subject="cart")["Authorization"].partition(" ")[2]
    ended = keep == 0 and (step, moment) in {
        ("token-public-keys#2", "after"),
        ("unlink", "before"),
        ("unlink", "after"),
    }
    for token in (
        *([] if ended else [old]),
        secrets.bearer("hq")["Authorization"].partition(" ")[2],
        service,
    ):
        assert _verifier(tmp_path).verify(token)
    assert "exp" not in _published_in(tmp_path)[secrets.user_kid], "what signs has no end"

    make_missing(tmp_path, ["cart"])
    assert not (tmp_path / "token-signing-key-next").exists()
    jwks = json.loads((tmp_path / "token-public-keys").read_text())["keys"]
    users = [key for key in jwks if not key["kid"].startswith("service:")]
    assert users[0]["kid"] == secrets.user_kid and "exp" not in users[0]
    begun = (step, moment) not in BEFORE_IT_BEGINS
    if begun:
        assert [key["exp"] > time.time() for key in users[1:]] == ([True] if keep else [])
        assert (tmp_path / "token-signing-key-keep").exists() == ((step, moment) == ("unlink", "after"))
    for token in (secrets.bearer("hq")["Authorization"].partition(" ")[2], service):
        assert _verifier(tmp_path).verify(token)
    if begun and not keep:
        with pytest.raises(Unauthorized):
            _verifier(tmp_path).verify(old)
    else:
        assert _verifier(tmp_path).verify(old)


@pytest.mark.parametrize("name", ["token-signing-key", "token-signing-key-next", "token-signing-key-keep"])
def test_a_rotation_that_finds_a_spoilt_file_names_it_and_changes_nothing(tmp_path: Path, name: str) -> None:
    Secrets.make(tmp_path)
    next_key = keys.Ed25519PrivateKey.generate()
    keys.write_private_key(tmp_path / "token-signing-key-next", next_key)
    keys.write_secret(tmp_path / "token-signing-key-keep", b"0")
    keys.write_secret(tmp_path / name, b"nonsense")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(keys.KeyFileError, match=name):
        rotate(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def _published_in(directory: Path) -> dict[str, dict[str, Any]]:
    return {key["kid"]: key for key in json.loads((directory / "token-public-keys").read_text())["keys"]}


def _verifier(directory: Path) -> TokenVerifier:
    return TokenVerifier((directory / "token-public-keys").read_text())


def _kill_at(patched: pytest.MonkeyPatch, step: str, moment: str) -> None:
    seen: list[str] = []

    def around(effect: Callable[..., None], name_of: Callable[[Path], str]) -> Callable[..., None]:
        def watched(path: Path, *content: bytes) -> None:
            seen.append(name_of(path))
            name = seen[-1] + ("#2" if seen.count(seen[-1]) > 1 else "")
            if (name, moment) == (step, "before"):
                raise KilledError
            effect(path, *content)
            if name == step:
                raise KilledError

        return watched

    write = around(keys.write_secret, lambda path: path.name)
    patched.setattr(keys, "write_secret", write)
    patched.setattr(rotate_keys, "write_secret", write)
    real_unlink = Path.unlink
    unlink = around(real_unlink, lambda path: "unlink")
    patched.setattr(
        Path,
        "unlink",
        lambda path, **how: unlink(path) if path.name.endswith("-next") else real_unlink(path, **how),
    )


def test_a_second_rotation_keeps_the_first_ones_end(tmp_path: Path) -> None:
    secrets = Secrets.make(tmp_path)
    first = secrets.user_kid
    soon = rotate(tmp_path, keep=100).others_until
    second = secrets.user_kid
    later = rotate(tmp_path, keep=1000).others_until
    ends = {
        key["kid"]: key.get("exp") for key in json.loads((tmp_path / "token-public-keys").read_text())["keys"]
    }
    assert ends == {secrets.user_kid: None, second: later, first: soon}


def test_the_command_says_what_it_did_and_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SECRETS_DIR", str(tmp_path))
    assert rotate_keys.main(["--settle", "0"]) == 1
    assert "token-signing-key is missing" in capsys.readouterr().err
    secrets = Secrets.make(tmp_path)
    assert rotate_keys.main(["--settle", "0", "--keep", "1h"]) == 0
    assert secrets.user_kid in capsys.readouterr().out


def test_customers_does_not_start_without_a_key_to_sign_with(accounts: Accounts) -> None:
    (accounts.secrets.directory / "token-signing-key").write_text("not a key")
    with pytest.raises(ValueError, match="token-signing-key holds no readable private key"):
        create_app({**accounts.secrets.environ, **CHEAP})


@pytest.mark.parametrize(
    "setting",
    [
        {"access_token_seconds": "901"},
        {"password_nice": "20"},
        {"guesses_per_pair": "0"},
        {"guess_seconds": "0"},
    ],
)
def test_settings_that_would_break_a_promise_are_refused(accounts: Accounts, setting: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"must be"):
        create_app({**accounts.secrets.environ, **CHEAP, **setting})
