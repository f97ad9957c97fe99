"""Read JSON as OpenFaaS' own programs do (Go's encoding/json).

Keys are matched in any case, unknown keys are ignored, `null` is the same as absent, and a value of the wrong
type is an error. Strings that are not valid Unicode become U+FFFD, so that nothing read here fails to be written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import NoReturn

_INTEGER = re.compile(r"[+-]?[0-9]+", re.ASCII)
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


class BadJson(ValueError):
    """The text is not JSON, or a value has the wrong type; the message says which."""


def loads(raw: bytes) -> object:
    """Parse one JSON text; raises BadJson, and nothing else, whatever the bytes are."""
    if not raw.strip():
        raise BadJson("unexpected end of JSON input")
    try:
        value: object = json.loads(raw.decode("utf-8", "replace"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as exc:
        raise BadJson(str(exc)) from exc
    return value


class Fields:
    """One JSON object, read by key; `None` (JSON null) reads as an empty one.

    Raises BadJson for anything else, and from each reader when its value has another type.
    """

    def __init__(self, value: object) -> None:
        if not isinstance(value, Mapping | None):
            raise BadJson(f"cannot unmarshal {_kind(value)} into an object")
        self._values = {str(key).lower(): item for key, item in (value or {}).items()}

    def text(self, key: str) -> str:
        return _text(self._values.get(key.lower()), key)

    def texts(self, key: str) -> tuple[str, ...]:
        value = self._values.get(key.lower())
        if not isinstance(value, list | None):
            raise BadJson(f"cannot unmarshal {_kind(value)} into field {key} of type []string")
        return tuple(_text(item, key) for item in value or ())

    def text_map(self, key: str) -> dict[str, str]:
        value = self._values.get(key.lower())
        if not isinstance(value, Mapping | None):
            raise BadJson(f"cannot unmarshal {_kind(value)} into field {key} of type map[string]string")
        return {_valid(str(name)): _text(item, key) for name, item in (value or {}).items()}

    def object(self, key: str) -> Fields:
        """An object in this one; empty when it is absent."""
        return Fields(self._values.get(key.lower()))

    def objects(self, key: str) -> list[Fields]:
        value = self._values.get(key.lower())
        if not isinstance(value, list | None):
            raise BadJson(f"cannot unmarshal {_kind(value)} into field {key} of type []object")
        return [Fields(item) for item in value or ()]

    def flag(self, key: str) -> bool:
        value = self._values.get(key.lower())
        if not isinstance(value, bool | None):
            raise BadJson(f"cannot unmarshal {_kind(value)} into field {key} of type bool")
        return bool(value)

    def count(self, key: str) -> int:
        """A whole number that is not negative (Go's uint64)."""
        value = self._values.get(key.lower())
        if value is None:
            return 0
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**64:
            raise BadJson(f"cannot unmarshal {_kind(value)} into field {key} of type uint64")
        return value


def whole_number(text: str | None) -> int | None:
    """What Go's strconv.Atoi makes of `text`: a number with an optional sign, or None."""
    if text is None or not _INTEGER.fullmatch(text) or len(text) > 18:
        return None
    return int(text)


def _text(value: object, key: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise BadJson(f"cannot unmarshal {_kind(value)} into field {key} of type string")
    return _valid(value)


def _valid(text: str) -> str:
    return _LONE_SURROGATE.sub("\ufffd", text)


def _kind(value: object) -> str:
    """Go's word for the JSON type of `value`; a bool counts before it would count as a number."""
    words = ((bool, "bool"), ((int, float), "number"), (str, "string"), (list, "array"))
    return next((word for types, word in words if isinstance(value, types)), "object")


def _refuse_constant(name: str) -> NoReturn:
    raise BadJson(f"invalid value {name}")
