"""The scenario of all load tests, read from scenario.json: what people do in the shop, how often, how fast they come.

k6 reads the same file (lib/scenario.js), and the JMeter plan (jmeter/plan.py) and the requests of the experiments
(../experiments/common/journey.py) are made from it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

FILE = Path(__file__).with_name("scenario.json")
GIVEN = frozenset({"sku", "product_id", "word", "query", "store", "register"})
"""Values that every visit begins with: a product, a word that finds something (`query`: the same as it is in an
address), and the till of the run."""
PLACE = re.compile(r"\$\{([a-z_]+)(:json)?\}")
Who = Literal["visitor", "customer", "staff"]


class UnusableScenarioError(ValueError):
    """The file is not a scenario; the message says where and why."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Ask(_Part):
    """One request. `${value}` stands for a value of the visit; `"${value:json}"` for it as it is, without quotes.

    `answer` says by path (`items.0.sku`) what must be in the JSON that comes back: this text, or anything (`*`).
    `take` keeps values of the answer (a path, or `header Name`) for the requests after it.
    Each POST bears an Idempotency-Key of its own.
    """

    name: Annotated[str, Field(pattern=r"^[A-Z]+ /api/[^$]*$")]
    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: Annotated[str, Field(pattern=r"^/api/")]
    who: Who
    status: Annotated[tuple[int, ...], Field(min_length=1)]
    answer: Annotated[dict[str, str], Field(min_length=1)]
    contains: str | None = None
    headers: dict[str, str] = {}
    body: dict[str, Any] | None = None
    take: dict[str, str] = {}

    @property
    def function(self) -> str:
        return re.split(r"[/?]", self.path)[2]

    def places(self) -> set[str]:
        """The values that it needs."""
        parts = [self.path, self.contains or "", *self.answer.values(), *self.headers.values()]
        return {found[1] for found in PLACE.finditer("\n".join([*parts, json.dumps(self.body)]))}


class Visit(_Part):
    of_100: Annotated[int, Field(ge=1, le=100)]
    actions: Annotated[tuple[str, ...], Field(min_length=1)]


class Stage(_Part):
    """Visits a second, which change evenly from one rate to the other."""

    seconds: Annotated[int, Field(ge=1)]
    begin: Annotated[int, Field(alias="from", ge=0)]
    end: Annotated[int, Field(alias="to", ge=0)]


class Scenario(_Part):
    """Actions are requests one after the other; journeys are visits, of which each is some actions; shapes are rates."""

    actions: dict[str, Annotated[tuple[Ask, ...], Field(min_length=1)]]
    journeys: dict[str, dict[str, Visit]]
    shapes: dict[str, Annotated[tuple[Stage, ...], Field(min_length=1)]]
    ports: dict[str, int]
    """Where each function that load_test.js asks listens itself."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        for problem in self._problems():
            raise ValueError(problem)
        return self

    def _problems(self) -> Iterator[str]:
        for name, visits in self.journeys.items():
            if (total := sum(visit.of_100 for visit in visits.values())) != 100:
                yield f"the visits of {name} are {total} of 100"
            for kind, visit in visits.items():
                if unknown := set(visit.actions) - self.actions.keys():
                    yield f"{name}.{kind} has no such action: {', '.join(sorted(unknown))}"
        asked: dict[str, str] = {}
        for name, asks in self.actions.items():
            known = set(GIVEN)
            for ask in asks:
                if missing := ask.places() - known:
                    yield f"{name}: {ask.name} needs {', '.join(sorted(missing))}, which nothing gives"
                if asked.setdefault(ask.name, ask.path) != ask.path:
                    yield f"{ask.name} names two addresses"
                if not ask.name.startswith(f"{ask.method} "):
                    yield f"{ask.name} is sent as {ask.method}"
                known |= ask.take.keys()

    def asks(self, visit: Visit) -> list[Ask]:
        return [ask for action in visit.actions for ask in self.actions[action]]

    def requests_per_visit(self, journey: str) -> float:
        """How many requests a visit makes, on average over the kinds of visits."""
        visits = self.journeys[journey].values()
        return sum(visit.of_100 * len(self.asks(visit)) for visit in visits) / 100

    def visits(self, shape: str) -> float:
        """How many visits a shape has."""
        return sum(stage.seconds * (stage.begin + stage.end) / 2 for stage in self.shapes[shape])

    def seconds(self, shape: str) -> int:
        return sum(stage.seconds for stage in self.shapes[shape])


def load(path: Path = FILE) -> Scenario:
    """Raises UnusableScenarioError."""
    try:
        return Scenario.model_validate_json(path.read_bytes())
    except ValidationError as exc:
        faults = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in exc.errors())
        raise UnusableScenarioError(f"{path}: {faults}") from exc


def fill(what: Any, values: Mapping[str, Any]) -> Any:
    """`what` (text, or JSON with texts in it) with the values in their places. Raises KeyError for one that is missing."""
    if isinstance(what, dict):
        return {name: fill(one, values) for name, one in what.items()}
    if isinstance(what, list):
        return [fill(one, values) for one in what]
    if not isinstance(what, str):
        return what
    whole = PLACE.fullmatch(what)
    if whole and whole[2]:
        return values[whole[1]]
    return PLACE.sub(lambda found: str(values[found[1]]), what)
