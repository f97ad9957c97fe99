"""What visits do and ask for, from the load tests' scenario (tests/load/scenario.json), which says it once for all."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from tests.experiments.common.driving import Request
from tests.load.scenario import Ask, fill, load

MOST_STEPS = 2
"""What is kept and insisted on is a block's last request, so a purchase ends with its checkout, without the look at its order."""


def actions_of_a_visit(journey: str = "shop") -> dict[str, float]:
    """By action, how many times a visit of that journey does it on average."""
    found: Counter[str] = Counter()
    for visit in load().journeys[journey].values():
        for action in visit.actions:
            found[action] += visit.of_100
    return {action: count / 100 for action, count in found.items()}


def steps_of(action: str) -> list[Ask]:
    """The requests of an action, as far as a request of a block can hold them.

    A header of the second that repeats what the first was told is left out, as load.js fills in a body alone: the cart's
    token comes in a cookie as well, which k6 sends back as browsers do.
    """
    first, *others = load().actions[action][:MOST_STEPS]
    told = {f"${{{name}}}" for name in first.take}
    return [first, *(_without(told, other) for other in others)]


def _without(told: set[str], ask: Ask) -> Ask:
    headers = {name: text for name, text in ask.headers.items() if text not in told}
    return ask.model_copy(update={"headers": headers})


def step_named(name: str) -> Ask:
    """One request of an action by its name in the scenario, such as `GET /api/cart`. Raises KeyError."""
    return {ask.name: ask for asks in load().actions.values() for ask in asks}[name]


def request_of(ask: Ask, base: str, authorization: str, known: Mapping[str, Any]) -> Request:
    """A step as a block sends it, with `base` in place of `/api`.

    Values that are not `known` stay open as `$name`, for the request's turns or the answer to the one before it.
    """
    values = {**{name: f"${name}" for name in ask.places()}, **known}
    headers = {name: fill(text, values) for name, text in ask.headers.items()}
    headers |= {"Authorization": authorization} if authorization else {}
    headers |= {"Content-Type": "application/json"} if ask.body is not None else {}
    return Request(
        base + fill(ask.path, values).removeprefix("/api"),
        ask.method,
        headers,
        None if ask.body is None else json.dumps(fill(ask.body, values)),
        statuses=ask.status,
        contains=_sign(ask),
        key=ask.method == "POST",
    )


def _sign(ask: Ask) -> str:
    """The one text by which an answer is known: a word that it has to have, or else the name of its first field."""
    words = [text for text in ask.answer.values() if text.isalpha() and text not in ("true", "false")]
    field = next(iter(ask.answer)).rpartition(".")[2]
    return f'"{words[0] if words else field}"'
