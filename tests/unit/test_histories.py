"""The checker of the race tests finds what it is there to find."""

from dataclasses import replace

import pytest

from tests.support.histories import Answered, faults

GOOD = [
    Answered("add", "c", 1, {"A": 2}, "A", 2),
    Answered("add", "c", 2, {"A": 2, "B": 1}, "B", 1, key="k"),
    Answered("add", "c", 2, {"A": 2, "B": 1}, "B", 1, key="k"),
    Answered("set", "c", 3, {"A": 5, "B": 1}, "A", 5),
    Answered("merge", "c", 4, {"A": 6, "B": 1, "D": 1}, brought={"A": 1, "D": 1}),
    Answered("remove", "c", 5, {"B": 1, "D": 1}, "A"),
    Answered("read", "c", 3, {"A": 5, "B": 1}),
    Answered("clear", "c", 6, {}),
    Answered("touch", "c", 7, {}),
    Answered("touch", "c", 7, {}),
    Answered("add", "other", 1, {"A": 1}, "A", 1),
]


def test_history_of_one_after_the_other_has_no_fault():
    assert faults(reversed(GOOD)) == []


@pytest.mark.parametrize(
    ("place", "change", "sign"),
    [
        (3, {"version": 2}, "two changes made version 2"),
        (7, {"version": 8}, "version 6 is nobody's change"),
        (9, {"after": {"A": 1}}, "version 7"),
        (3, {"after": {"A": 7, "B": 1}}, "set made {'A': 7, 'B': 1}, not {'A': 5, 'B': 1}"),
        (1, {"after": {"B": 1}}, "key k got two answers"),
        (4, {"after": {"A": 7, "B": 1, "D": 2}}, "merge made"),
        (6, {"after": {"A": 4}}, "was read as"),
        (2, {"version": 8, "after": {"B": 1}}, "key k got two answers"),
    ],
)
def test_lost_doubled_and_invented_changes_are_found(place, change, sign):
    answers = list(GOOD)
    answers[place] = replace(answers[place], **change)
    assert any(sign in fault for fault in faults(answers)), faults(answers)
