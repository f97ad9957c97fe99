"""From bytes to values that can be stored: strict JSON, then a pydantic model; every fault names its field."""

from __future__ import annotations

import json
import re
import unicodedata
from datetime import date
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from werkzeug.datastructures import MultiDict

from .errors import BadRequest, Invalid

M = TypeVar("M", bound=BaseModel)


class Body(BaseModel):
    """Base of request bodies: unknown fields are refused, text is trimmed, numbers are not guessed from text."""

    model_config = ConfigDict(extra="forbid", strict=True, str_strip_whitespace=True, frozen=True)


class Query(BaseModel):
    """Base of query parameters: an unknown one is refused, since a misspelt filter would show the wrong list.

    A field typed as a list takes a parameter that is given several times.
    """

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True, frozen=True)


def _written_as_a_date(value: Any) -> Any:
    """Only `2026-11-22`: a number would be read as a timestamp."""
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", str(value)):
        raise ValueError("must be a date such as 2026-11-22")
    return value


Day = Annotated[date, BeforeValidator(_written_as_a_date)]
"""A day in a query."""


def _one_line(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must be one line of printable characters")
    return text


ONE_LINE = AfterValidator(_one_line)
"""Holds a field of text to one line without control characters."""

LONGEST_NAME = 200


def _short_in_full(text: str) -> str:
    if len(unicodedata.normalize("NFKC", text)) > LONGEST_NAME:
        raise ValueError(f"must have at most {LONGEST_NAME} characters with its ligatures written out (NFKC)")
    return text


Name = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME), ONE_LINE, AfterValidator(_short_in_full)]
"""One line of up to 200 characters, in its NFKC form too: lists are sorted by that, and a cursor holds all of it.

One character may become 18 there (U+FDFA).
"""


def parse_json(raw: bytes) -> Any:
    """The value of a JSON text (RFC 8259); raises BadRequest for anything PostgreSQL or a client could trip over.

    Refused: NaN and Infinity, numbers of thousands of digits, repeated keys, NUL and lone surrogates in text.
    """
    try:
        value = json.loads(raw, parse_constant=_refuse_constant, object_pairs_hook=_unique_keys)
    except RecursionError as error:
        raise BadRequest("The JSON is nested too deeply.", code="malformed_json") from error
    except ValueError as error:
        raise BadRequest(f"The body is not valid JSON: {_reason(error)}.", code="malformed_json") from error
    # ED begins the bytes of a surrogate, which json reads.
    doubtful = b"\\u" in raw or b"\x00" in raw or b"\xed" in raw
    if doubtful and not _storable(value):
        raise BadRequest("Text must not hold NUL or half a surrogate pair.", code="malformed_json")
    return value


def validate_body(model: type[M], raw: bytes) -> M:
    """`raw` as a `model`; raises BadRequest (400) or Invalid (422) with each field at fault."""
    parse_json(raw)
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        raise invalid(error) from error


def validate_query(model: type[M], arguments: MultiDict[str, str]) -> M:
    """Query parameters as a `model`; raises Invalid (422) with each parameter at fault."""
    values: dict[str, Any] = {}
    for name, given in arguments.lists():
        field = model.model_fields.get(name)
        if field is not None and "list" in str(field.annotation):
            values[name] = given
        elif len(given) > 1:
            raise Invalid(errors=[{"field": name, "message": "must be given once"}])
        else:
            values[name] = given[0]
    if not _storable(values):
        raise BadRequest("Parameters must not hold NUL.", code="bad_parameter")
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise invalid(error) from error


def invalid(error: ValidationError, prefix: str = "") -> Invalid:
    """The faults pydantic found, as `field` (dotted, `items.3.sku`) and `message`."""
    faults = []
    for fault in error.errors(include_url=False, include_context=False, include_input=False):
        field = prefix + ".".join(str(part) for part in fault["loc"])
        faults.append({"field": field, "message": fault["msg"]})
    return Invalid(errors=faults)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key is repeated in an object")
    return value


def _reason(error: ValueError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at line {error.lineno} column {error.colno}"
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8"
    if "digits" in str(error):
        return "a number has too many digits"
    return str(error)


def _storable(value: Any) -> bool:
    if isinstance(value, str):
        return "\x00" not in value and (value.isascii() or _is_unicode(value))
    if isinstance(value, dict):
        return all(_storable(key) and _storable(item) for key, item in value.items())
    if isinstance(value, list):
        return all(map(_storable, value))
    return True


def _is_unicode(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
