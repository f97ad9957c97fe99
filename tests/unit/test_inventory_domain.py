"""What requests do to stock, as data: nothing is gained or lost, whatever the lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.inventory.domain import (
    Change,
    Lack,
    Line,
    approved_quantities,
    brought,
    combined,
    fulfilled,
    insufficient,
    lacks_of,
    moved,
    promised,
    released,
    repeated_rows,
    taken,
)
from functions.shared import Invalid

LINES = st.lists(
    st.builds(Line, st.sampled_from(["S1", "W1"]), st.sampled_from("ABCé"), st.integers(1, 1_000_000)),
    min_size=1,
    max_size=20,
)
AT_W1 = st.lists(
    st.builds(Line, st.just("W1"), st.sampled_from("ABC"), st.integers(1, 1_000_000)), min_size=1
)


def totals(lines: list[Line]) -> Counter[tuple[str, str]]:
    return Counter[tuple[str, str]]() + Counter(
        {key: sum(line.quantity for line in lines if (line.location, line.sku) == key) for key in keys(lines)}
    )


def keys(lines: list[Line]) -> set[tuple[str, str]]:
    return {(line.location, line.sku) for line in lines}


@given(LINES)
def test_lines_are_combined_in_the_order_of_their_locks(lines: list[Line]) -> None:
    done = combined(lines)
    order = [(line.location, line.sku) for line in done]
    assert order == sorted(set(order))
    assert totals(done) == totals(lines)


@given(LINES)
def test_what_is_brought_and_taken_adds_up_to_nothing(lines: list[Line]) -> None:
    coming, going = brought(lines, "receipt"), taken(lines, "sale")
    assert [one.on_hand for one in coming] == [-one.on_hand for one in going]
    assert {one.reserved for one in coming + going} == {0}


@given(LINES)
def test_what_is_promised_is_released_or_fulfilled_to_the_unit(lines: list[Line]) -> None:
    for settled in (released(lines), fulfilled(lines)):
        assert [a.reserved + b.reserved for a, b in zip(promised(lines), settled, strict=True)] == [0] * len(
            settled
        )
    assert all(change.on_hand == change.reserved < 0 for change in fulfilled(lines))
    assert all(change.on_hand == 0 for change in released(lines))


@given(AT_W1)
def test_a_transfer_neither_gains_nor_loses(lines: list[Line]) -> None:
    changes = moved(lines, "S1")
    assert sum(change.on_hand for change in changes) == 0
    order = [(change.location, change.sku) for change in changes]
    assert order == sorted(set(order))
    assert {(change.location, change.kind) for change in changes} == {
        ("W1", "transfer_out"), ("S1", "transfer_in"),
    }  # fmt: skip


@given(LINES, st.data())
def test_a_refusal_names_every_line_of_what_is_lacking(lines: list[Line], data: st.DataObject) -> None:
    changes = taken(lines, "sale")
    changed = data.draw(st.sets(st.sampled_from([(one.location, one.sku) for one in changes])))
    lacks = lacks_of(changes, changed, {})
    refusal = insufficient(lines, lacks, "insufficient_stock")
    places = [number for number, line in enumerate(lines) if (line.location, line.sku) not in changed]
    assert [error["field"] for error in refusal.errors] == [f"lines.{number}.sku" for number in places]
    assert {lack["available"] for lack in refusal.members["lacking"]} <= {0}
    wanted = totals(lines)
    for lack in refusal.members["lacking"]:
        assert lack["requested"] == wanted[lack["location"], lack["sku"]]


def test_a_lack_counts_what_is_asked_for_and_what_is_there() -> None:
    changes = [Change("W1", "A", 0, 3), Change("W1", "B", -2, 0)]
    assert lacks_of(changes, [], {("W1", "A"): 1}) == [Lack("W1", "A", 3, 1), Lack("W1", "B", 2, 0)]
    assert lacks_of(changes, [("W1", "A")], {}) == [Lack("W1", "B", 2, 0)]


def test_an_approval_is_the_request_unless_it_says_less() -> None:
    assert approved_quantities({"A": 3, "B": 2}, None) == {"A": 3, "B": 2}
    assert approved_quantities({"A": 3, "B": 2}, {"A": 1}) == {"A": 1, "B": 0}


@pytest.mark.parametrize(
    ("given_", "field"), [({"A": 4}, "lines.0"), ({"A": 1, "C": 1}, "lines.1"), ({"A": 0}, "lines")]
)
def test_an_approval_keeps_to_the_request(given_: dict[str, int], field: str) -> None:
    with pytest.raises(Invalid) as refused:
        approved_quantities({"A": 3}, given_)
    assert [error["field"] for error in refused.value.errors] == [field]


def test_a_repeated_row_is_named_where_it_is_repeated() -> None:
    line, elsewhere = Line("W1", "A", 1), Line("S1", "A", 1)
    assert repeated_rows([line, elsewhere]) == []
    assert [fault["field"] for fault in repeated_rows([line, elsewhere, line])] == ["lines.2.sku"]


@pytest.mark.parametrize("make", [promised, released, fulfilled])
def test_nothing_comes_of_nothing(make: Callable[[list[Line]], list[Change]]) -> None:
    assert make([]) == []
