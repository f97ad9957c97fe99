"""Schemathesis at one function: each operation of its document is asked with what fits the document and what does not,
and each answer is held to it.

`Examiner` needs the application, a request of each operation that is right (the seed), and the headers of somebody who
may ask. Besides what Schemathesis makes up, the seed itself is asked, and its path is given to half of what is made up,
so that much of it meets something that is there.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl, unquote

import schemathesis
from hypothesis import given
from hypothesis.errors import FlakyStrategyDefinition, Unsatisfiable
from schemathesis import APIOperation, Case, CheckContext, GenerationMode, Response
from schemathesis.checks import not_a_server_error
from schemathesis.core.control import SkipTest
from schemathesis.core.errors import format_transition
from schemathesis.generation.stateful.state_machine import APIStateMachine, StepInput
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    content_type_conformance,
    ensure_resource_availability,
    ignored_auth,
    missing_required_header,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    unsupported_method,
)

from tests.support.callers import Request
from tests.support.effort import LONG, examples

KEY = "Idempotency-Key"
FEW_OF_A_SCENARIO = 1
"""So many of Schemathesis' cases for each kind of fault are asked when the test is short; it has some 30 kinds."""
MOST_OF_AN_OPERATION = 8
"""And no more than so many for one operation, each with good data and with bad."""
CONFIGURATION = {
    "generation": {"with-security-parameters": False, "database": "none", "deterministic": not LONG},
    # RFC 6585, section 3: 428 is what a missing If-Match is answered.
    "checks": {"missing_required_header": {"expected-statuses": [400, 401, 403, 415, 422, 428]}},
    "phases": {"stateful": {"inference": {"algorithms": []}}},
    "analysis": {"constants": {"enabled": LONG}},
}


def documented_status(_: CheckContext, response: Response, case: Case) -> None:
    """Each status is announced by its number; `default` only says what any refusal looks like.

    An id may be made up that is another path of the document, as in GET /staff: its refusal is that path's.
    """
    if case.method.upper() != case.operation.method.upper():
        return
    path = case.formatted_path
    if response.status_code == 405 and path != case.operation.path and path in case.operation.schema:
        return
    known = set(case.operation.definition.raw["responses"]) - {"default"}
    told = f"{response.status_code} is not among {', '.join(sorted(known))}"
    assert str(response.status_code) in known, told


def allowed_methods(ctx: CheckContext, response: Response, case: Case) -> bool | None:
    """`Allow` lists what the document has, but for a path that is also an example of another: POST /recover, GET /{id}."""
    here = case.operation.path
    others = (path for path in case.operation.schema if path != here)
    return (
        None
        if any(_pattern(path).fullmatch(here) for path in others)
        else allow_header_conformance(ctx, response, case)
    )


CHECKS = [
    not_a_server_error, documented_status, content_type_conformance, response_schema_conformance,
    response_headers_conformance, negative_data_rejection, missing_required_header, unsupported_method,
    allowed_methods, ignored_auth,
]  # fmt: skip
LINKED = [
    not_a_server_error, documented_status, content_type_conformance, response_schema_conformance,
    response_headers_conformance, negative_data_rejection, ensure_resource_availability,
]  # fmt: skip
"""The checks of a chain of requests, in which who asks may change from one to the next."""


@dataclass
class Examiner:
    app: Any
    seed: Callable[[str], Request]
    """A right request of an operation, such as `POST /{sale_id}/void`."""
    headers: Callable[[APIOperation[Any, Any, Any, Any], Request], dict[str, str]]
    """Of somebody who may ask for the operation."""
    lenient: frozenset[str] = frozenset()
    """Operations that answer a success to data that does not fit."""
    asked: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """How often each operation was asked with each kind of data: seed, positive, negative, method."""
    statuses: defaultdict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    failures: dict[tuple[str, str], str] = field(default_factory=dict)
    """What was wrong, by operation and kind, with a command that shows it."""
    numbers: Iterator[int] = field(default_factory=itertools.count)

    @cached_property
    def schema(self) -> Any:
        config = schemathesis.Config.from_dict(CONFIGURATION)
        return schemathesis.openapi.from_wsgi("/openapi.json", self.app, config=config)

    @cached_property
    def operations(self) -> dict[str, APIOperation[Any, Any, Any, Any]]:
        found = [result.ok() for result in self.schema.get_all_operations()]
        return {operation.label: operation for operation in found}

    def examine(self, positive: int, negative: int) -> None:
        """Ask for every operation: the seed, Schemathesis' cases at the edges of the document, and so many at random."""
        for label, operation in self.operations.items():
            seed = self.seed(label)
            response = self.ask(self.case_of(operation, seed), seed, "seed")
            if response.status_code >= 400 and response.status_code != 409:
                self.failures[label, "seed"] = (
                    f"a right request is answered {response.status_code}: {response.text}"
                )
            for case in self._at_the_edges(operation):
                self._ask_made_up(case, seed)
            for mode, number in ((GenerationMode.POSITIVE, positive), (GenerationMode.NEGATIVE, negative)):
                self._ask_at_random(operation, seed, mode, number)

    def case_of(self, operation: APIOperation[Any, Any, Any, Any], request: Request) -> Case:
        """The request as a case of Schemathesis."""
        path, _, query = request.path.partition("?")
        content = {} if request.body is None else {"body": request.body, "media_type": "application/json"}
        case = operation.Case(
            path_parameters=parameters_of(operation.path, path),
            query=dict(parse_qsl(query)),
            headers=dict(request.headers),
            **content,
        )
        self._with_a_key_of_its_own(case)
        return case

    def ask(self, case: Case, seed: Request, kind: str) -> Response:
        """Ask, note what was answered, and what is wrong with it."""
        who = self.headers(case.operation, seed)
        label = case.operation.label
        self.asked[label][kind] += 1
        response = case.call(headers=who)
        self.statuses[label][response.status_code] += 1
        checks = [
            check for check in CHECKS if label not in self.lenient or check is not negative_data_rejection
        ]
        try:
            case.validate_response(response, checks, headers=who, transport_kwargs={"headers": who})
        except BaseExceptionGroup as found:
            self.note(label, found)
        return response

    def note(self, label: str, found: BaseExceptionGroup[Any]) -> None:
        for failure in found.exceptions:
            self.failures.setdefault((label, failure.title), found.message)

    def _at_the_edges(self, operation: APIOperation[Any, Any, Any, Any]) -> Iterator[Case]:
        config = self.schema.config.generation_for(operation=operation, phase="coverage")
        modes = [GenerationMode.POSITIVE, GenerationMode.NEGATIVE]
        cases = self.schema.iter_coverage_cases(operation, generation_modes=modes, generation_config=config)
        return iter(cases) if LONG else _some_of_each_scenario(cases)

    def _ask_at_random(
        self, operation: APIOperation[Any, Any, Any, Any], seed: Request, mode: GenerationMode, number: int
    ) -> None:
        if not number:
            return

        @examples(number, number)
        @given(operation.as_strategy(generation_mode=mode))
        def ask(case: Case) -> None:
            self._ask_made_up(case, seed)

        try:
            ask()
        except (SkipTest, Unsatisfiable):
            return  # there is no such data: the caller holds the operation to a list of these

    def _ask_made_up(self, case: Case, seed: Request) -> None:
        """Good data also with a new key each time and, every other time, with a path that leads to something."""
        if is_good(case):
            self._with_a_key_of_its_own(case)
            if case.path_parameters and next(self.numbers) % 2:
                case.path_parameters = parameters_of(case.operation.path, seed.path.partition("?")[0])
                case.headers.update(seed.headers)
        self.ask(case, seed, kind_of(case))

    def _with_a_key_of_its_own(self, case: Case) -> None:
        if any(parameter.name == KEY for parameter in case.operation.headers):
            case.headers[KEY] = f"examined-{next(self.numbers)}"

    @cached_property
    def links(self) -> frozenset[str]:
        """Every link of the document, as `POST / -> [201] read_product -> GET /{product_id}`."""
        named = {
            operation.definition.raw["operationId"]: label for label, operation in self.operations.items()
        }
        return frozenset(
            format_transition(label, status, name, named[link["operationId"]])
            for label, operation in self.operations.items()
            for status, answer in operation.definition.raw["responses"].items()
            for name, link in answer.get("links", {}).items()
        )

    @cached_property
    def links_of_new(self) -> frozenset[str]:
        """Those that chains can follow, which begin with something new each time.

        The others lead from 200, the answer to whoever makes again what is there, to where 201 leads as well.
        """
        return frozenset(
            link for link in self.links if not {link.replace("[200]", "[201]")} & (self.links - {link})
        )

    def follow_links(self, scenarios: int, steps: int, most: int = 0) -> Counter[str]:
        """How often each of the document's links was followed by chains of requests, from what was made to what can be done
        with it: so many chains, and more of them, up to `most`, until each link from what is new has been followed.
        """
        followed: Counter[str] = Counter()
        examiner, begun = self, 0

        class Chains(self.schema.as_state_machine()):  # type: ignore[misc]
            def setup(self) -> None:
                nonlocal begun
                begun += 1

            def before_call(self, case: Case) -> None:
                examiner.make_fit(case)

            def get_call_kwargs(self, case: Case) -> dict[str, Any]:
                return {"headers": examiner.headers(case.operation, examiner.seed_of(case))}

            def step(self, input: StepInput) -> Any:
                output = super().step(input)
                if input.transition is not None and input.is_applied:
                    followed[input.transition.id] += 1
                return output

            def validate_response(self, response: Response, case: Case, *_: Any, **__: Any) -> None:
                try:
                    case.validate_response(response, LINKED, recorder=self.recorder)
                except BaseExceptionGroup as found:
                    examiner.note(case.operation.label, found)

        machine: type[APIStateMachine] = Chains
        wanted = scenarios
        while begun < wanted:
            settings = examples(wanted - begun, wanted - begun)
            try:
                machine.run(settings=type(settings)(settings, stateful_step_count=steps))
            except FlakyStrategyDefinition:
                # What a chain comes to depends on what earlier ones have left, which hypothesis cannot know: begin anew.
                continue
            if self.links_of_new <= followed.keys():
                break
            wanted = min(wanted + scenarios, most)
        return followed

    def make_fit(self, case: Case) -> None:
        """What begins a chain, and every other request that goes on with it, is made of the seed: it shall succeed."""
        if not is_good(case):
            return
        self._with_a_key_of_its_own(case)
        starts = not case.path_parameters
        seed = self.seed_of(case)
        if seed.body is not None and (starts or next(self.numbers) % 2):
            case.body = self.seed(case.operation.label).body if starts else seed.body

    @cached_property
    def _seeds(self) -> dict[str, Request]:
        return {}

    def seed_of(self, case: Case) -> Request:
        """A right request of the case's operation, the same each time."""
        label = case.operation.label
        if label not in self._seeds:
            self._seeds[label] = self.seed(label)
        return self._seeds[label]

    def report(self) -> str:
        """What was wrong, one paragraph for each kind; empty when nothing was."""
        return "\n\n".join(f"{label}: {message}" for (label, _), message in sorted(self.failures.items()))


def is_good(case: Case) -> bool:
    return case.meta is None or case.meta.generation.mode.is_positive


def kind_of(case: Case) -> str:
    if case.method.upper() != case.operation.method.upper():
        return "method"
    return "positive" if is_good(case) else "negative"


def parameters_of(template: str, path: str) -> dict[str, Any]:
    """The values in `path` of the parameters of `template`: /{id}/prices and /7/prices give {id: 7}."""
    found = _pattern(template).fullmatch(path)
    assert found, f"{path} is no {template}"
    return {name: unquote(value) for name, value in found.groupdict().items()}


def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>.+)", re.escape(template)))


def _some_of_each_scenario(cases: Iterable[Case]) -> Iterator[Case]:
    scenarios: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    for case in cases:
        kind = kind_of(case)
        scenario = case.method if kind == "method" else f"{kind} {case.meta.phase.data.scenario}"
        if scenarios[scenario] < FEW_OF_A_SCENARIO and kinds[kind] < MOST_OF_AN_OPERATION:
            scenarios[scenario] += 1
            kinds[kind] += 1
            yield case


def nothing_to_get_wrong(operation: Mapping[str, Any]) -> bool:
    """Whether an operation of a document takes nothing that could be wrong: no body, no parameter but any text."""
    parameters = operation.get("parameters", [])
    return "requestBody" not in operation and all(
        parameter["schema"] == {"type": "string"} and (parameter["in"] == "path" or not parameter["required"])
        for parameter in parameters
    )
