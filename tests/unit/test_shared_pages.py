"""Pages and entity tags."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st

from functions.shared import (
    BadRequest,
    PreconditionFailed,
    PreconditionRequired,
    decode_cursor,
    decode_moment_cursor,
    encode_cursor,
    etag,
    is_fresh,
    moment_filters,
    page,
    required_version,
)


@given(
    st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\x00")),
    st.integers(0, 2**63 - 1),
)
def test_a_cursor_gives_back_what_it_was_made_of(name: str, number: int) -> None:
    assert decode_cursor(encode_cursor(name, number), str, int) == (name, number)


def test_a_cursor_of_another_list_or_function_is_a_bad_request() -> None:
    app = Flask("shop")
    for path in ("/sales", "/returns"):
        app.add_url_rule(path, path, lambda: "")
    with app.test_request_context("/sales"):
        cursor = encode_cursor("S1", 7)
        assert decode_cursor(cursor, str, int) == ("S1", 7)
    others = [app.test_request_context("/returns"), Flask("other").test_request_context("/sales")]
    for other in others:
        with other, pytest.raises(BadRequest):
            decode_cursor(cursor, str, int)


@pytest.mark.parametrize(
    "key",
    [
        ("2026-01-05T12:00:00", "00000000-0000-4000-8000-000000000000"),
        ("2026-01-05T12:00:00+00:00", "x"),
        ("0001-01-01T00:00:00+23:00", "00000000-0000-4000-8000-000000000000"),
        ("9999-12-31T23:59:59-23:00", "00000000-0000-4000-8000-000000000000"),
        ("soon", "00000000-0000-4000-8000-000000000000"),
    ],
)
def test_a_cursor_in_time_needs_a_moment_with_its_offset_and_a_uuid(key: tuple[str, str]) -> None:
    with pytest.raises(BadRequest) as caught:
        decode_moment_cursor(encode_cursor(*key))
    assert [fault["field"] for fault in caught.value.errors] == ["after"]


def test_a_cursor_in_time_gives_back_moment_and_uuid() -> None:
    moment, identifier = datetime(2026, 1, 5, 12, tzinfo=UTC), "00000000-0000-4000-8000-000000000000"
    cursor = encode_cursor(moment.isoformat(), identifier)
    assert decode_moment_cursor(cursor) == (moment, identifier)
    assert moment_filters(cursor) == {"after_time": moment, "after_id": identifier}
    assert moment_filters(None) == {"after_time": None, "after_id": None}


def packed(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode()


@pytest.mark.parametrize(
    "cursor",
    ["", "x", "é", "////", packed([]), packed({}), packed(["", 1, 1]), packed(["", "a", True]),
     packed(["", "a", 1.5]), packed(["", "a", 2**63]), packed(["", "\x00", 1]), packed(["", "\ud800", 1]),
     packed("a"), packed(["list", "a", 1]), packed([7, "a", 1]), packed(["a", 1]), "A" * 5000],
)  # fmt: skip
def test_what_is_no_cursor_is_a_bad_request(cursor: str) -> None:
    with pytest.raises(BadRequest) as caught:
        decode_cursor(cursor, str, int)
    assert caught.value.code == "bad_cursor"


def test_the_last_page_has_no_next() -> None:
    assert page([1, 2, 3], 2, str) == {"items": [1, 2], "next": "2"}
    assert page([1, 2], 2, str) == {"items": [1, 2], "next": None}
    assert page([], 2, str) == {"items": [], "next": None}


def if_match(header: str | None) -> int | None:
    with Flask("x").test_request_context(headers={"If-Match": header} if header is not None else {}):
        return required_version()


def test_if_match_is_the_tag_that_was_read() -> None:
    assert if_match(etag(7)) == 7
    assert if_match("*") is None


def test_a_tag_that_an_edge_weakened_while_compressing_is_still_the_same_version() -> None:
    assert if_match("W/" + etag(7)) == 7


@pytest.mark.parametrize("header", [None, "", "  "])
def test_a_change_without_if_match_is_refused(header: str | None) -> None:
    with pytest.raises(PreconditionRequired):
        if_match(header)


@pytest.mark.parametrize(
    "header", ["7", "W/7", 'w/"7"', '"x"', '"-1"', '""', '"7', '"٣"', '"99999999999999999999"', '"1", "2"']
)
def test_a_tag_that_is_not_ours_is_stale(header: str) -> None:
    with pytest.raises(PreconditionFailed):
        if_match(header)


@pytest.mark.parametrize(
    ("header", "fresh"), [('"7"', True), ('"6", W/"7"', True), ("*", True), ('"8"', False), ("", False)]
)
def test_if_none_match_spares_the_body(header: str, fresh: bool) -> None:
    with Flask("x").test_request_context(headers={"If-None-Match": header}):
        assert is_fresh(7) is fresh
