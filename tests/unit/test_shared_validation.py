"""Whatever arrives as a body or a query is either a value that can be stored or a 4xx."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field
from werkzeug.datastructures import MultiDict

from functions.shared import BadRequest, Body, Day, Invalid, Problem, Query
from functions.shared.validation import parse_json, validate_body, validate_query


class Line(Body):
    sku: str
    quantity: int = Field(ge=1, le=99)


class Filter(Query):
    sku: list[str] = Field(default_factory=list)
    limit: int = Field(default=20, ge=1, le=100)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"{'a': 1}",
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": 1, "a": 2}',
        b'{"a": "\\u0000"}',
        b'{"\\u0000": 1}',
        b'{"a": "\\ud800"}',
        b'{"a": ["\\udfff x"]}',
        b'{"a": "\x00"}',
        b'"\xed\xa0\x80"',
        b'{"\xed\xbf\xbf": 1}',
        b'{"a": ' + b"9" * 5000 + b"}",
        b"[" * 100_000,
        b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
        b"\xff\xfe\xfa",
        b'"\xc3"',
    ],
)
def test_json_that_would_do_harm_is_a_bad_request(raw: bytes) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_json(raw)
    assert caught.value.code == "malformed_json"


@pytest.mark.parametrize("text", ["☕", "👍", "한국", "\\u0000 written out", "é", ""])
def test_every_storable_text_passes(text: str) -> None:
    for ascii_only in (True, False):
        assert parse_json(json.dumps({"a": text}, ensure_ascii=ascii_only).encode()) == {"a": text}


@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_no_bytes_at_all_cause_anything_but_a_value_or_a_problem(raw: bytes) -> None:
    try:
        validate_body(Line, raw)
    except Problem as problem:
        assert problem.status in {400, 422}


def test_each_bad_field_is_named() -> None:
    with pytest.raises(Invalid) as caught:
        validate_body(Line, b'{"quantity": 0, "colour": "red"}')
    assert {fault["field"] for fault in caught.value.errors} == {"sku", "quantity", "colour"}


@pytest.mark.parametrize("quantity", ["1.5", '"1"', "true", "null", "1e2", "10" * 30])
def test_numbers_are_never_guessed(quantity: str) -> None:
    with pytest.raises(Invalid) as caught:
        validate_body(Line, f'{{"sku": "a", "quantity": {quantity}}}'.encode())
    assert [fault["field"] for fault in caught.value.errors] == ["quantity"]


def test_text_is_trimmed() -> None:
    assert validate_body(Line, b'{"sku": "  a ", "quantity": 1}').sku == "a"


def test_a_list_parameter_may_be_given_several_times_and_others_once() -> None:
    assert validate_query(Filter, MultiDict([("sku", "a"), ("sku", "b")])).sku == ["a", "b"]
    with pytest.raises(Invalid):
        validate_query(Filter, MultiDict([("limit", "1"), ("limit", "2")]))


@pytest.mark.parametrize("limit", ["0", "101", "x", "", "1.5", "9" * 5000, "٣x"])
def test_a_parameter_out_of_range_is_named(limit: str) -> None:
    with pytest.raises(Invalid) as caught:
        validate_query(Filter, MultiDict([("limit", limit)]))
    assert [fault["field"] for fault in caught.value.errors] == ["limit"]


def test_an_unknown_parameter_is_refused_because_the_list_would_be_wrong() -> None:
    with pytest.raises(Invalid) as caught:
        validate_query(Filter, MultiDict([("colour", "red")]))
    assert [fault["field"] for fault in caught.value.errors] == ["colour"]


def test_nul_in_a_parameter_is_a_bad_request() -> None:
    with pytest.raises(BadRequest):
        validate_query(Filter, MultiDict([("sku", "a\x00")]))


class OfADay(Query):
    day: Day


@pytest.mark.parametrize(
    "day", ["0", "86400", "2026-01-05T00:00:00", "20260105", "2026-02-30", "2026-1-5", "٢٠٢٦-٠١-٠٥"]
)
def test_a_day_is_a_date_and_never_a_number_of_seconds(day: str) -> None:
    with pytest.raises(Invalid) as caught:
        validate_query(OfADay, MultiDict([("day", day)]))
    assert [fault["field"] for fault in caught.value.errors] == ["day"]
    assert str(validate_query(OfADay, MultiDict([("day", "2026-01-05")])).day) == "2026-01-05"
