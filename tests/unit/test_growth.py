"""What is left behind a little at a time is found, however slowly; what is left once is not held against anybody."""

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.leaks import FEWEST_CYCLES, SPARE, Growth, by_process, descriptors, grown


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def test_one_socket_more_with_each_of_ten_changes_is_found_within_what_may_come_and_go(stack: ExitStack):
    growth, own = Growth(10), {"api": os.getpid()}
    before = descriptors(own)
    for number in range(1, 11):
        stack.enter_context(socket.socket())
        growth.after(number, lambda: by_process(descriptors(own)))
    assert grown(before, descriptors(own)) == {}
    assert SPARE["socket"] > 10
    first, middle, last = growth.found["api: socket"]
    assert (middle - first, last - middle) == (4, 4)
    assert growth.found.keys() == {"api: socket"}


@pytest.mark.parametrize(("cycles", "every", "spare"), [(10, 1, 2), (200, 4, 12), (200, 25, 2)])
def test_a_file_left_in_every_so_many_cycles_is_found(tmp_path: Path, cycles: int, every: int, spare: int):
    growth = Growth(cycles, spare)
    for number in range(1, cycles + 1):
        if number % every == 0:
            (tmp_path / f"left-{number}").touch()
        growth.after(number, lambda: Counter({"files": len(list(tmp_path.iterdir()))}))
    assert list(growth.found) == ["files"]


@pytest.mark.parametrize("once", [1, 3, 5, 6, 8, 10])
def test_what_is_left_once_is_no_growth_whenever_that_is(once: int):
    growth = Growth(10)
    for number in range(1, 11):
        growth.after(number, lambda number=number: Counter({"files": 50 if number >= once else 0}))
    assert growth.found == {}


def test_what_comes_and_goes_is_no_growth():
    growth = Growth(200)
    for number in range(1, 201):
        growth.after(number, lambda number=number: Counter({"socket": (number * 7) % 18}))
    assert growth.found == {}


@pytest.mark.parametrize("cycles", [1, 2, 3, 7])
def test_a_few_cycles_tell_nothing(cycles: int):
    growth = Growth(cycles)
    for number in range(1, cycles + 1):
        growth.after(number, lambda number=number: Counter({"files": 100 * number}))
    assert growth.found == {}


def test_the_fewest_cycles_find_one_more_in_each():
    growth = Growth(FEWEST_CYCLES)
    for number in range(1, FEWEST_CYCLES + 1):
        growth.after(number, lambda number=number: Counter({"files": number}))
    assert growth.found == {"files": [2, 5, 8]}
