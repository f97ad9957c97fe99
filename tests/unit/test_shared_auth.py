"""Tokens: only what a known key may sign is believed."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from functions.shared import Unauthorized
from functions.shared.auth import ServiceTokens, TokenVerifier, bearer_token
from tests.support.functions import Secrets


@pytest.fixture
def secrets(tmp_path: Path) -> Secrets:
    return Secrets.make(tmp_path, services=("cart",))


@pytest.fixture
def verifier(secrets: Secrets) -> TokenVerifier:
    return TokenVerifier((secrets.directory / "token-public-keys").read_text())


def claims(**changed: Any) -> dict[str, Any]:
    now = int(time.time())
    return {"iss": "magasin", "sub": "u1", "roles": ["hq"], "iat": now, "exp": now + 60, **changed}


def signed(secrets: Secrets, kid: str | None = None, key: str = "token-signing-key", **changed: Any) -> str:
    kid = secrets.user_kid if kid is None else kid
    content = {name: value for name, value in claims(**changed).items() if value is not ...}
    return jwt.encode(content, (secrets.directory / key).read_text(), algorithm="EdDSA", headers={"kid": kid})


def test_a_token_proves_subject_roles_and_store(secrets: Secrets, verifier: TokenVerifier) -> None:
    identity = verifier.verify(signed(secrets, roles=["staff", "hq"], store="S1"))
    assert (identity.subject, identity.roles, identity.store) == ("u1", {"staff", "hq"}, "S1")


def test_a_service_token_of_our_own_making_is_believed_by_others(
    secrets: Secrets, verifier: TokenVerifier
) -> None:
    tokens = ServiceTokens("cart", (secrets.directory / "cart-key").read_text())
    identity = verifier.verify(tokens.token())
    assert (identity.subject, identity.roles) == ("cart", {"service"})
    assert tokens.token() == tokens.token()


def test_a_service_is_believed_after_its_clock_has_stepped_back(
    secrets: Secrets, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens, now = ServiceTokens("cart", (secrets.directory / "cart-key").read_text()), time.time()
    with monkeypatch.context() as ahead:
        ahead.setattr(time, "time", lambda: now + 3600)
        tokens.token()
    # By one that has not seen the earlier token, as a replica that has just started.
    stranger = TokenVerifier((secrets.directory / "token-public-keys").read_text())
    assert stranger.verify(tokens.token()).subject == "cart"


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"exp": int(time.time()) - 60}, "token_expired"),
        ({"exp": ...}, "token_invalid"),
        ({"sub": ...}, "token_invalid"),
        ({"iat": int(time.time()) + 3600}, "token_invalid"),
        ({"iss": "someone-else"}, "token_invalid"),
        ({"roles": ...}, "token_invalid"),
        ({"roles": "hq"}, "token_invalid"),
        ({"roles": [1]}, "token_invalid"),
        ({"roles": ["service"]}, "token_invalid"),
        ({"roles": ["hq", "service"]}, "token_invalid"),
        ({"store": 7}, "token_invalid"),
        ({"exp": 10**400}, "token_invalid"),
        ({"exp": "9999999999"}, "token_invalid"),
        ({"sub": ""}, "token_invalid"),
        ({"sub": "a\x00b"}, "token_invalid"),
        ({"sub": "a" * 300}, "token_invalid"),
    ],
)
def test_claims_that_do_not_hold_are_refused(
    secrets: Secrets, verifier: TokenVerifier, changed: dict[str, Any], code: str
) -> None:
    with pytest.raises(Unauthorized) as caught:
        verifier.verify(signed(secrets, **changed))
    assert caught.value.code == code


@pytest.mark.parametrize(
    "changed", [{"roles": ["hq"]}, {"roles": ["service", "hq"]}, {"roles": ["service"], "sub": "checkout"}]
)
def test_a_service_key_signs_for_its_own_service_alone(
    secrets: Secrets, verifier: TokenVerifier, changed: dict[str, Any]
) -> None:
    with pytest.raises(Unauthorized):
        verifier.verify(signed(secrets, kid="service:cart", key="cart-key", **{"sub": "cart", **changed}))


def test_a_key_is_chosen_by_kid_and_never_tried_in_turn(secrets: Secrets, verifier: TokenVerifier) -> None:
    for kid in ("service:cart", "unknown", ""):
        with pytest.raises(Unauthorized):
            verifier.verify(signed(secrets, kid=kid))


def test_a_foreign_key_under_a_known_kid_is_refused(secrets: Secrets, verifier: TokenVerifier) -> None:
    pem = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (secrets.directory / "foreign").write_bytes(pem)
    with pytest.raises(Unauthorized):
        verifier.verify(signed(secrets, key="foreign"))


def test_the_algorithm_is_pinned(secrets: Secrets, verifier: TokenVerifier) -> None:
    public = json.loads((secrets.directory / "token-public-keys").read_text())["keys"][0]["x"]
    with_public_key_as_secret = jwt.encode(
        claims(), base64.urlsafe_b64decode(public + "="), algorithm="HS256", headers={"kid": secrets.user_kid}
    )
    without_signature = jwt.encode(claims(), None, algorithm="none", headers={"kid": secrets.user_kid})
    for token in (with_public_key_as_secret, without_signature):
        with pytest.raises(Unauthorized):
            verifier.verify(token)


@pytest.mark.parametrize("token", ["", "a.b.c", "a" * 10_000, "é.é.é", "..", "eyJhbGciOiJub25lIn0.e30."])
def test_what_is_no_token_is_refused(verifier: TokenVerifier, token: str) -> None:
    with pytest.raises(Unauthorized):
        verifier.verify(token)


def test_a_remembered_token_expires_all_the_same(
    secrets: Secrets, verifier: TokenVerifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = signed(secrets)
    verifier.verify(token)
    later = time.time() + 120
    monkeypatch.setattr(time, "time", lambda: later)
    with pytest.raises(Unauthorized) as caught:
        verifier.verify(token)
    assert caught.value.code == "token_expired"


@pytest.mark.parametrize("header", ["Basic YTpi", "Bearer", "Bearer ", "token"])
def test_only_the_bearer_scheme_is_taken(header: str) -> None:
    with pytest.raises(Unauthorized):
        bearer_token(header)


def test_no_header_is_no_token() -> None:
    assert bearer_token(None) is None
    assert bearer_token("bearer abc") == "abc"


@pytest.mark.parametrize("jwks", ["", "{}", '{"keys": []}', '{"keys": [{"kid": "a", "kty": "RSA"}]}', "[]"])
def test_a_useless_key_set_is_said_at_the_start(jwks: str) -> None:
    with pytest.raises(ValueError, match="token-public-keys"):
        TokenVerifier(jwks)
