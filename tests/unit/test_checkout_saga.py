"""The order of a checkout's steps, and the way back from each."""

from __future__ import annotations

import re
from pathlib import Path

from functions.checkout import saga

PROJECT = Path(__file__).resolve().parents[2]
README = (PROJECT / "functions" / "checkout" / "README.md").read_text()


def way_back(name: str) -> list[str]:
    """What is taken back when this step is as far as a checkout got."""
    step, found = saga.to_undo_at(name), []
    while step is not None:
        found.append(step.name)
        step = saga.to_undo_before(step.name)
    return found


def test_steps_are_taken_back_in_reverse_and_the_last_one_too_as_it_may_have_been_done() -> None:
    assert way_back("freeze") == way_back("price") == ["freeze"]
    assert way_back("order") == ["order", "reserve", "freeze"]
    assert way_back("capture") == ["authorise", "order", "reserve", "freeze"]


def test_letting_go_of_the_money_comes_first_wherever_it_may_be_held() -> None:
    """So the provider's word that it is captured comes before anything else is undone."""
    held = saga.NAMES[saga.NAMES.index("authorise") : saga.PIVOT + 1]
    assert {way_back(name)[0] for name in held} == {"authorise"}


def test_there_is_no_way_back_once_the_money_is_taken() -> None:
    assert [name for name in saga.NAMES if not saga.can_turn_back(name)] == ["mark_paid", "clear"]


def test_each_effect_has_a_point_before_it_after_it_and_after_its_record() -> None:
    points = saga.points()
    assert len(points) == len(set(points))
    effects = [*saga.NAMES, *(f"undo-{step.name}" for step in saga.SAGA if step.undo)]
    for name in effects:
        assert {f"checkout.{name}.{when}" for when in ("before", "effect", "stored")} <= set(points)


def test_the_readme_shows_the_saga_as_it_is() -> None:
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| ([^|]+) \| ([^|]+) \|$", README, re.MULTILINE)
    assert [(name, again.strip(), undo.strip() != "nothing") for name, again, undo in rows] == [
        (step.name, step.again, step.undo is not None) for step in saga.SAGA
    ]


def test_the_readme_names_every_step_in_its_picture() -> None:
    picture = README.split("```mermaid")[1].split("```")[0]
    assert [name for name in saga.NAMES if name not in picture] == []
