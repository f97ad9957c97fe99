"""The examples of the API documentation, run by a shell as they stand, in the order in which the page says what needs what.

`RECORD_EXAMPLES=1` with the tests that use this writes what was answered into functions/*/examples.json.
"""

from __future__ import annotations

import html
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker

from functions.shared.openapi import EXAMPLES_FILE
from functions.site.domain import operations

PROJECT = Path(__file__).resolve().parents[2]
LONGEST_RUN_SECONDS = 120
LISTED = 2
"""So many of a list's entries are recorded."""
SECRETS = {"access_token": "eyJhbGciOiJFZERTQSJ9.e30.c2lnbmVk", "refresh_token": "a-refresh-token"}
_SETS = re.compile(r"^([a-z_]+)=(?!\$\(curl)", re.MULTILINE)
_BEGIN = re.compile(r'<h2 id="begin">.*?<pre[^>]*><code>(.*?)</code>', re.DOTALL)
_STATUS = re.compile(r"^HTTP/\S+ (\d+)", re.MULTILINE)
_NOW = re.compile(r"\d{19}")


@dataclass(frozen=True)
class Sample:
    """An operation's commands, and what the page says of their variables."""

    operation: str
    commands: str
    needs: Mapping[str, str | None]
    """Variable to the operation that sets it; None: that is said under how to begin."""
    ends: frozenset[str]

    @property
    def sets(self) -> frozenset[str]:
        return frozenset(_SETS.findall(self.commands))


@dataclass(frozen=True)
class Answered:
    """What became of one run of a sample."""

    operation: str
    status: int
    text: str
    said: str

    @property
    def body(self) -> Any:
        return json.loads(self.text) if self.text.strip() else None

    def __str__(self) -> str:
        return f"{self.operation}: {self.status} {self.text[:300]} {self.said[:300]}"


def begin_of(page: str) -> str:
    """The commands that the page says to begin with."""
    found = _BEGIN.search(page)
    assert found, "the page does not say how to begin"
    return html.unescape(found[1])


def samples_of(document: Mapping[str, Any]) -> dict[str, Sample]:
    """By operation, in the document's order."""
    return {
        operation["operationId"]: Sample(
            operation["operationId"],
            sample["source"],
            {need["variable"]: need.get("operationId") for need in operation["x-needs"]},
            frozenset(operation["x-ends"]),
        )
        for _, _, operation in operations(document)
        for sample in operation.get("x-codeSamples", ())
    }


def plan(samples: Mapping[str, Sample], begun: Iterable[str]) -> list[str]:
    """Every operation, each after those that the page says to run for what is missing at that moment.

    Raises AssertionError for a variable that nothing sets.
    """
    have, steps = set(begun), []

    def run(operation: str, asked: tuple[str, ...] = ()) -> None:
        sample = samples[operation]
        for variable, source in sample.needs.items():
            if variable not in have:
                assert source is not None, f"{operation}: nothing sets ${variable}"
                assert source not in asked, f"{operation}: ${variable} needs itself"
                run(source, (*asked, operation))
        missing = sample.needs.keys() - have
        assert not missing, f"{operation}: {', '.join(sorted(missing))} is not there any more"
        steps.append(operation)
        have.update(sample.sets)
        have.difference_update(sample.ends)

    for operation in samples:
        run(operation)
    return steps


def run_all(
    begin: str, samples: Mapping[str, Sample], environ: Mapping[str, str], folder: Path
) -> list[Answered]:
    """Run all samples in one shell, in the project's folder. Around curl there is only a look at its status."""
    steps = plan(samples, _SETS.findall(begin))
    script = folder / "examples.sh"
    said = [_WATCH.format(python=sys.executable), begin, *_steps(steps, samples, folder), "exit 0\n"]
    script.write_text("".join(said))
    subprocess.run(
        ["bash", str(script)], cwd=PROJECT, env=dict(environ), timeout=LONGEST_RUN_SECONDS, check=True
    )
    return [_read(operation, folder / str(place)) for place, operation in enumerate(steps)]


_WATCH = """
make() {{ [ "$*" = "-s token" ] && "{python}" -m db.seed.token --role hq; }}
curl() {{ command curl --max-time 20 -D "$STEP.headers" "$@"; }}
"""
"""`make` would look whether its environment is up to date, and perhaps install it."""


def _steps(steps: Sequence[str], samples: Mapping[str, Sample], folder: Path) -> Iterator[str]:
    for place, operation in enumerate(steps):
        step = folder / str(place)
        yield f"STEP={step}\n{{\n{samples[operation].commands}\n}} >{step}.body 2>{step}.said </dev/null\n"


def _read(operation: str, step: Path) -> Answered:
    headers = step.with_suffix(".headers")
    found = _STATUS.findall(headers.read_text()) if headers.is_file() else []
    text, said = (step.with_suffix(suffix).read_text() for suffix in (".body", ".said"))
    return Answered(operation, int(found[-1]) if found else 0, text, said)


def documented_status(operation: Mapping[str, Any]) -> str:
    """The status that the document shows an example of, or its only success without a body."""
    shown = [
        status
        for status, response in operation["responses"].items()
        for content in response.get("content", {}).values()
        if "example" in content
    ]
    empty = [
        status
        for status, response in operation["responses"].items()
        if status.startswith("2") and "content" not in response
    ]
    return (shown or empty or ["none"])[0]


def schema_faults(document: Mapping[str, Any], schema: Mapping[str, Any], value: Any) -> list[str]:
    """What of `value` is not as `schema`, a part of the document, says."""
    whole = {**schema, "components": document["components"]}
    found = Draft202012Validator(whole, format_checker=FormatChecker()).iter_errors(value)
    return [": ".join(["/".join(map(str, fault.absolute_path)) or "all", fault.message]) for fault in found]


def example_faults(document: Mapping[str, Any]) -> list[str]:
    """Every example in the document that is not as its schema says, or not there."""
    return [
        f"{operation['operationId']}: {fault}"
        for _, _, operation in operations(document)
        for fault in _faults_of(document, operation)
    ]


def _faults_of(document: Mapping[str, Any], operation: Mapping[str, Any]) -> Iterator[str]:
    if len(operation.get("x-codeSamples", ())) != 1:
        yield "there is no example"
    if documented_status(operation) == "none":
        yield "no answer has an example"
    for response in operation["responses"].values():
        for kind, content in response.get("content", {}).items():
            if "example" in content:
                faults = schema_faults(document, content["schema"], content["example"])
                yield from (f"answer, {kind}: {fault}" for fault in faults)
    for content in operation.get("requestBody", {}).get("content", {}).values():
        if "example" not in content:
            yield "the body has no example"
        else:
            faults = schema_faults(document, content["schema"], content["example"])
            yield from (f"body: {fault}" for fault in faults)
    for parameter in operation.get("parameters", ()):
        if "example" in parameter:
            faults = schema_faults(document, parameter["schema"], parameter["example"])
            yield from (f"{parameter['name']}: {fault}" for fault in faults)


def record(answers: Sequence[Answered]) -> None:
    """Write what was answered into the functions' files: lists cut short, secrets made up."""
    last = {answered.operation: answered for answered in answers}
    for file in sorted(PROJECT.glob(f"functions/*/{EXAMPLES_FILE}")):
        known = json.loads(file.read_text())
        for name, example in known.items():
            answered = last[f"{file.parent.name}.{name}"]
            body = answered.body
            example["answer"] = {"status": answered.status}
            if body is not None:
                example["answer"]["body"] = json.loads(_NOW.sub("1", json.dumps(_short(body))))
        file.write_text(written(known))


def written(examples: Mapping[str, Any]) -> str:
    """The file of some examples: what fits into a line stays in one."""
    return _laid_out(examples, 0) + "\n"


def _laid_out(value: Any, depth: int) -> str:
    line = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list) or not value or (len(line) + 2 * depth < 110 and depth):
        return line
    inside, edge = "  " * (depth + 1), "  " * depth
    if isinstance(value, list):
        parts = [f"{inside}{_laid_out(one, depth + 1)}" for one in value]
        return "[\n" + ",\n".join(parts) + f"\n{edge}]"
    parts = [f"{inside}{json.dumps(name)}: {_laid_out(one, depth + 1)}" for name, one in value.items()]
    return "{\n" + ",\n".join(parts) + f"\n{edge}}}"


def _short(value: Any) -> Any:
    if isinstance(value, list):
        return [_short(one) for one in value[:LISTED]]
    if isinstance(value, dict):
        return {name: SECRETS.get(name, _short(one)) for name, one in value.items()}
    return value
