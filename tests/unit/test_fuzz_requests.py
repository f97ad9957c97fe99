"""What a client can make up: cursors and tokens. A cursor that is not the list's own is 400 and names its field;
a token that proves nothing is 401; nothing is ever 500."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from flask.testing import FlaskClient
from hypothesis import assume, example, given
from hypothesis import strategies as st

from functions.shared import (
    Api,
    Query,
    TokenSettings,
    create_app,
    decode_cursor,
    decode_moment_cursor,
)
from tests.support.effort import examples
from tests.support.functions import Secrets, faulty_fields, problem

MOMENT, IDENTIFIER = "2026-01-05T12:00:00.5+00:00", "00000000-0000-4000-8000-000000000000"
DECODERS: dict[str, Callable[[str], Any]] = {
    "names": lambda cursor: decode_cursor(cursor, str, int),
    "numbers": lambda cursor: decode_cursor(cursor, int),
    "moments": decode_moment_cursor,
}
KEYS: dict[str, tuple[str | int, ...]] = {"names": ("a", 1), "numbers": (7,), "moments": (MOMENT, IDENTIFIER)}

api = Api("fuzzed", title="Lists, and something for hq")


class After(Query):
    after: str


def _declare_list(name: str) -> None:
    def read(query: After) -> dict[str, Any]:
        return {"key": [str(part) for part in DECODERS[name](query.after)]}

    read.__name__ = f"read_{name}"
    api.get(f"/{name}", query=After, answers={200: None})(read)


for each in DECODERS:
    _declare_list(each)


@api.get("/secret", answers={200: None}, roles=["hq"])
def read_secret() -> dict[str, Any]:
    return {"told": True}


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Secrets:
    return Secrets.make(tmp_path_factory.mktemp("secrets"), services=("cart",))


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Secrets:
    return Secrets.make(tmp_path_factory.mktemp("others"), services=("cart",))


@pytest.fixture(scope="module")
def client(secrets: Secrets) -> FlaskClient:
    return create_app(api, TokenSettings, secrets.environ).test_client(use_cookies=False)


def own_cursor(name: str) -> str:
    """As the list `name` gives it out; its route's name is part of it."""
    text = json.dumps([f"fuzzed.read_{name}", *KEYS[name]], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def packed(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from([MOMENT, IDENTIFIER])
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4), max_leaves=6)
LISTS = st.sampled_from(sorted(DECODERS))


@st.composite
def forged(draw: st.DrawFn) -> str:
    """Any text; Base64 of any JSON; a list's own cursor, cut, changed in one place, or with its values exchanged."""
    own = own_cursor(draw(LISTS))
    kind = draw(st.sampled_from(["text", "json", "cut", "changed", "exchanged", "deep"]))
    if kind == "text":
        return draw(st.text(max_size=40))
    if kind == "json":
        return packed(draw(VALUES))
    if kind == "cut":
        return own[: draw(st.integers(0, len(own) - 1))]
    if kind == "changed":
        place = draw(st.integers(0, len(own) - 1))
        return own[:place] + draw(st.characters()) + own[place + 1 :]
    if kind == "exchanged":
        return packed([f"fuzzed.read_{draw(LISTS)}", *draw(st.lists(SCALARS, max_size=3))])
    return base64.urlsafe_b64encode(b"[" * draw(st.integers(100, 100_000))).decode()


def check_cursor(client: FlaskClient, name: str, cursor: str) -> int:
    """The status; what is refused is 400 (422 for none at all) and names `after`."""
    response = client.get(f"/{name}", query_string={"after": cursor})
    if response.status_code != 200:
        assert problem(response)[0] == 400, response.get_json()
        if response.get_json()["code"] != "bad_parameter":
            assert (response.get_json()["code"], faulty_fields(response)) == ("bad_cursor", ["after"])
    return response.status_code


@pytest.mark.parametrize("name", sorted(DECODERS))
def test_a_list_takes_its_own_cursor_and_no_other_lists(client: FlaskClient, name: str) -> None:
    assert {other: check_cursor(client, name, own_cursor(other)) for other in DECODERS} == {
        other: 200 if other == name else 400 for other in DECODERS
    }


@pytest.mark.parametrize("name", sorted(DECODERS))
def test_no_piece_of_a_cursor_is_one(client: FlaskClient, name: str) -> None:
    own = own_cursor(name)
    assert {check_cursor(client, name, own[:length]) for length in range(len(own))} == {400}


@examples(150, 5_000)
@given(LISTS, forged())
def test_a_cursor_that_is_made_up_is_refused_by_name(client: FlaskClient, name: str, cursor: str) -> None:
    check_cursor(client, name, cursor)


CLAIMS = {"iss": "magasin", "sub": "u1", "roles": ["hq"], "store": "S1", "sid": IDENTIFIER}
NASTY = (
    SCALARS
    | st.lists(SCALARS, max_size=2)
    | st.sampled_from([10**400, -(10**400), "9" * 5000, "\x00", "\ud800"])
)


def ask(client: FlaskClient, token: str, scheme: str = "Bearer") -> int:
    """The status; anything but a success has the shape of a problem."""
    header = f"{scheme} {token}".encode("utf-8", "surrogatepass").decode("latin-1")
    response = client.get("/secret", headers={"Authorization": header})
    if response.status_code != 200:
        problem(response)
    return response.status_code


def signed(secrets: Secrets, claims: dict[str, Any], *, key: str = "token-signing-key", kid: str = "") -> str:
    pem = (secrets.directory / key).read_text()
    payload = json.dumps(claims).encode()
    return jwt.api_jws.encode(payload, pem, algorithm="EdDSA", headers={"kid": kid or secrets.user_kid})


def fresh(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    return {**CLAIMS, "iat": now, "exp": now + 600, **changes}


HEADER_TEXT = st.text(
    st.characters(exclude_categories=["Cc"], exclude_characters="\u2028\u2029"), max_size=60
)


@examples(120, 5_000)
@given(HEADER_TEXT, st.sampled_from(["Bearer", "bearer", "Basic", "", "Bearer Bearer"]))
@example("é.é.é", "Bearer")
@example("A" * 200_000, "Bearer")
@example("." * 10_000, "Bearer")
def test_garbage_is_no_token(client: FlaskClient, text: str, scheme: str) -> None:
    assert ask(client, text, scheme) == 401


@examples(120, 5_000)
@given(
    st.dictionaries(st.sampled_from(["alg", "typ", "kid", "crit", "b64", "jwk", "jku", "x5u", "zip"]), NASTY)
    | VALUES,
    st.dictionaries(st.sampled_from([*CLAIMS, "exp", "iat", "nbf", "aud", "jti"]), NASTY) | VALUES,
    st.binary(max_size=70),
)
def test_parts_of_a_token_that_nobody_signed_are_refused(
    client: FlaskClient, secrets: Secrets, header: Any, payload: Any, signature: bytes
) -> None:
    if isinstance(header, dict):
        header = {"alg": "EdDSA", "kid": secrets.user_kid, **header}
    if isinstance(payload, dict):
        payload = fresh(**payload)
    seal = base64.urlsafe_b64encode(signature).decode().rstrip("=")
    assert ask(client, f"{packed(header)}.{packed(payload)}.{seal}") == 401


@examples(150, 5_000)
@given(
    st.dictionaries(
        st.sampled_from([*CLAIMS, "exp", "iat", "nbf", "aud", "jti", "x"]), NASTY, min_size=1, max_size=3
    )
)
@example({"exp": "9999999999"})
@example({"aud": "another shop"})
@example({"roles": ["hq", 7]})
def test_claims_that_our_own_key_signed_are_checked_without_failing(
    client: FlaskClient, secrets: Secrets, changes: dict[str, Any]
) -> None:
    told = ask(client, signed(secrets, fresh(**changes)))
    assert told in ({401, 403} if "roles" in changes else {200, 401})
    if "iss" in changes or changes.get("aud"):
        assert told == 401


@examples(40, 2_000)
@given(st.text(max_size=20), st.integers(0, 600))
def test_a_token_with_one_byte_changed_is_refused(
    client: FlaskClient, secrets: Secrets, subject: str, place: int
) -> None:
    assume(subject and subject.isprintable())
    token = signed(secrets, fresh(sub=subject))
    assert ask(client, token) == 200
    place %= len(token)
    # The last character of a part carries bits that Base64 drops; the one before it does not.
    assume(token[place] != "." and token[place + 1 : place + 2] not in {".", ""})
    assert ask(client, token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]) == 401


def _unsigned(secrets: Secrets, _: Secrets) -> str:
    return jwt.encode(fresh(), None, algorithm="none", headers={"kid": secrets.user_kid})


def _with_the_public_key_as_a_password(secrets: Secrets, _: Secrets) -> str:
    public = json.loads((secrets.directory / "token-public-keys").read_text())["keys"][0]["x"]
    password = base64.urlsafe_b64decode(public + "=")
    return jwt.encode(fresh(), password, algorithm="HS256", headers={"kid": secrets.user_kid})


FORGERIES: dict[str, Callable[[Secrets, Secrets], str]] = {
    "unsigned": _unsigned,
    "the public key as a password": _with_the_public_key_as_a_password,
    "another's key": lambda secrets, others: signed(others, fresh(), kid=secrets.user_kid),
    "another's key and name": lambda _, others: signed(others, fresh()),
    "another audience": lambda secrets, _: signed(secrets, fresh(aud="another shop")),
    "another issuer": lambda secrets, _: signed(secrets, fresh(iss="another shop")),
    "a service's key for a person": lambda secrets, _: signed(
        secrets, fresh(), key="cart-key", kid="service:cart"
    ),
    "a person's key for a service": lambda secrets, _: signed(secrets, fresh(roles=["service"], sub="cart")),
    "expired": lambda secrets, _: signed(secrets, fresh(exp=1)),
    "very long": lambda secrets, _: signed(secrets, fresh(x="x" * 300_000, sub="y" * 5_000)),
    "not even an object": lambda secrets, _: signed(secrets, ["hq"]),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("forgery", sorted(FORGERIES))
def test_a_token_that_proves_nothing_is_refused(
    client: FlaskClient, secrets: Secrets, others: Secrets, forgery: str
) -> None:
    assert ask(client, FORGERIES[forgery](secrets, others)) == 401


def test_a_good_token_is_believed_and_nothing_else_than_its_signature_makes_it_so(
    client: FlaskClient, secrets: Secrets
) -> None:
    assert ask(client, signed(secrets, fresh())) == 200
    assert client.get("/secret").status_code == 401
