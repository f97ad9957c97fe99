"""Settings of a function: one dataclass is the table of names, types, defaults and sentences.

    @dataclass(frozen=True, kw_only=True)
    class CartSettings(DatabaseSettings, TokenSettings):
        cart_ttl_seconds: int = setting("A cart nobody touches for this long is emptied.", default=1_209_600)

Names are those of the environment (stack.yml `environment:`); secrets are files in `secret_mount_path`.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field
from pathlib import Path
from typing import Any, TypeVar, get_type_hints


class Duration(float):
    """Seconds, written as a Go duration (`750ms`, `10s`, `1m30s`) or as a bare number of seconds."""

    def __new__(cls, value: str | float) -> Duration:
        if isinstance(value, str):
            value = _seconds(value)
        return super().__new__(cls, value)


class Share(float):
    """A number from 0 to 1."""

    def __new__(cls, value: str | float) -> Share:
        share = super().__new__(cls, value)
        if not 0 <= share <= 1:
            raise ValueError(f"not from 0 to 1: {value}")
        return share


def _seconds(text: str) -> float:
    if not re.fullmatch(r"([0-9]{1,9}(\.[0-9]{1,9})?(ms|s|m|h))+|[0-9]{1,9}", text):
        raise ValueError(f"not a duration: {text}")
    parts = re.findall(r"([0-9.]+)([a-z]*)", text)
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


_UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


class SettingsError(ValueError):
    """Settings cannot be used; the message has one line for each that is missing or wrong."""


def setting(sentence: str, default: Any = MISSING, name: str | None = None) -> Any:
    """A field read from the environment under its own name, or under `name`; required without a default."""
    return field(default=default, metadata={"sentence": sentence, "name": name})


def secret(name: str, sentence: str) -> Any:
    """A field read from the secret file `name`, in which `{function}` stands for the function's name."""
    return field(metadata={"sentence": sentence, "secret": name})


@dataclass(frozen=True, kw_only=True)
class FunctionSettings:
    """What every function reads."""

    replica: str = setting("Name of this replica, shown in X-Served-By.", default="local", name="HOSTNAME")
    gateway_url: str = setting(
        "Address of the function gateway, for calls to other functions.",
        default="http://gateway.openfaas:8080",
    )
    secret_mount_path: str = setting(
        "Directory that holds this function's secrets, one file each.", default="/var/openfaas/secrets"
    )
    threads: int = setting("Requests worked on at once by one replica.", default=1)
    warm_up: bool = setting(
        "A new replica asks itself before it takes requests, so that the first one is as fast as the rest.",
        default=True,
    )
    exec_timeout: Duration = setting(  # noqa: RUF009 - it makes a field, as dataclasses.field does
        "A request is given up after this long.", default="10s"
    )
    traces_url: str = setting(
        "Spans are sent by OTLP over HTTP to /v1/traces below this address; without one none are recorded.",
        default="",
    )
    traces_ratio: Share = setting(  # noqa: RUF009 - it makes a field, as dataclasses.field does
        "The share of traces begun here that is recorded; where a caller began it, the caller says.",
        default=1.0,
    )
    log_level: str = setting("Least level of log lines: DEBUG, INFO, WARNING or ERROR.", default="INFO")


@dataclass(frozen=True, kw_only=True)
class DatabaseSettings(FunctionSettings):
    """For a function that owns tables."""

    database_url: str = secret("{function}-db", "libpq address of the database, with this function's role.")
    statement_timeout_ms: int = setting("PostgreSQL gives up on a statement after this long.", default=5000)
    lock_timeout_ms: int = setting("PostgreSQL gives up waiting for a lock after this long.", default=2000)


@dataclass(frozen=True, kw_only=True)
class TokenSettings(FunctionSettings):
    """For a function that verifies tokens."""

    token_public_keys: str = secret("token-public-keys", "JWKS with the public keys of users and services.")


@dataclass(frozen=True, kw_only=True)
class ServiceKeySettings(FunctionSettings):
    """For a function that calls other functions."""

    service_key: str = secret(
        "{function}-key", "Ed25519 private key (PEM) that signs this function's tokens."
    )


S = TypeVar("S", bound=FunctionSettings)


def load(kind: type[S], function: str, environ: Mapping[str, str]) -> S:
    """Read every setting of `kind` from `environ` and its secret files.

    Raises SettingsError naming all that are missing or malformed, with the sentence that explains each.
    """
    hints = get_type_hints(kind)
    values: dict[str, Any] = {}
    faults: list[str] = []
    for item in dataclasses.fields(kind):
        try:
            values[item.name] = _read(item, hints[item.name], function, environ)
        except ValueError as error:
            faults.append(f"{error}: {item.metadata['sentence']}")
    if faults:
        raise SettingsError(f"{function} cannot start:\n  " + "\n  ".join(faults))
    return kind(**values)


def environment_name(item: dataclasses.Field[Any]) -> str:
    """The environment variable that a field is read from."""
    return str(item.metadata.get("name") or item.name)


def _read(item: dataclasses.Field[Any], kind: Any, function: str, environ: Mapping[str, str]) -> Any:
    if "secret" in item.metadata:
        return _read_secret(item, function, environ)
    name = environment_name(item)
    text = environ.get(name)
    if text is not None:
        return _parse(text, kind, name)
    if item.default is MISSING:
        raise ValueError(f"{name} is not set")
    return kind(item.default)


def _read_secret(item: dataclasses.Field[Any], function: str, environ: Mapping[str, str]) -> str:
    directory = environ.get("secret_mount_path") or "/var/openfaas/secrets"
    path = Path(directory) / str(item.metadata["secret"]).format(function=function)
    try:
        return path.read_text().strip()
    except OSError as error:
        raise ValueError(f"secret file {path} cannot be read ({error.strerror})") from error


def _parse(text: str, kind: Any, name: str) -> Any:
    if kind is bool:
        if text.lower() not in {"true", "false"}:
            raise ValueError(f"{name} must be true or false, not {text!r}")
        return text.lower() == "true"
    try:
        return kind(text)
    except ValueError as error:
        raise ValueError(f"{name} must be of type {kind.__name__}, not {text!r}") from error
