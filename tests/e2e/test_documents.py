"""Every command of README and of the tutorials does what they say, in a copy of the project with a platform of its own.

What takes minutes is not run here: that each such command exists and takes its parameters is.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import dropwhile, takewhile
from pathlib import Path

import pytest

from localfaas import monitoring
from localfaas.settings import Settings
from localfaas.tools import ToolMissingError
from tests.support import documents
from tests.support.documents import Command, Shell, parse
from tests.support.platform import PROJECT, Deployed
from tests.support.reader import Reader

pytestmark = pytest.mark.e2e

README = "README.md"
TUTORIALS = sorted(str(path.relative_to(PROJECT)) for path in (PROJECT / "docs/tutorials").glob("*.md"))

RUN = (
    "curl", "kill", "python3", "make up", "make import", "make status", "make doctor", "make scale", "make logs",
    "make psql", "make new", "make deploy",
)  # fmt: skip
"""How the README's commands begin that are run as they stand."""

TAKES_MINUTES: Mapping[str, str] = {
    "make demo": "a minute of load; tests/load/demo has tests of its own",
    "TRACES=on make up": "replaces every replica; tests/e2e/test_telemetry.py has a platform with traces",
    "make experiments": "an hour",
    "make experiment": "minutes each",
    "make load": "minutes; k6 is fetched first",
    "make load-compare": "minutes; k6 is fetched first",
    "make replay": "a day at 600 times its speed; k6 is fetched first",
    "make bench-memory": "measures",
    "make bench-checkout": "measures on a platform of its own",
    "make bench-telemetry": "measures on a platform of its own",
    "make bench-traces": "measures on a platform of its own",
    "make edge-hostile": "measures on an edge of its own",
    "make crash-test": "minutes",
    "make race-test": "minutes",
    "make verify": "the better part of an hour",
    "make test": "is what this is a part of",
    "make check": "is what this is a part of",
    "make docs": "tests/contract/test_documentation.py builds the site",
    "make reference": "tests/contract/test_documentation.py makes the pages",
    "make diagrams": "tests/contract/test_documentation.py draws them",
    "make rules": "tests/contract/test_prometheus_rules.py is what it runs",
    "make dashboards": "tests/contract/test_dashboards.py makes them",
}
"""How the README's commands begin that are only shown to exist, and why."""

READ_AS: Mapping[str, str] = {
    "request=ID": """request="$(grep -o '"request_id": "[^"]*' .local/logs/products-1.log | tail -n 1 | cut -d '"' -f 4)\"""",
    # Whether this machine is short of memory is not the README's to say.
    "make doctor": "make doctor || [ $? -eq 2 ]",
}
"""What in the README's commands stands for something else."""

RETAIL = "online-retail.csv"
RETAIL_LINES = """\
InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country
536365,85123A,WHITE HANGING HEART T-LIGHT HOLDER,6,2010-12-01 08:26,2.55,17850,United Kingdom
536365,71053,WHITE METAL LANTERN,6,2010-12-01 08:26,3.39,17850,United Kingdom
536366,22633,HAND WARMER UNION JACK,6,2010-12-01 08:28,1.85,17850,United Kingdom
C536391,22633,HAND WARMER UNION JACK,-2,2010-12-01 10:24,1.85,17850,United Kingdom
"""
"""A few lines in the format of the file that the README imports."""

_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    if Deployed.named_in(os.environ):
        pytest.skip("starts a platform of its own; a shop that runs already was named")
    reader = Reader.arrive()
    try:
        if not (reader.project / ".venv" / ".ready").exists():
            pytest.skip("this environment was not made by `make`, which would make it anew")
        yield reader
    finally:
        reader.leave()


# What is run


def test_readme_does_what_it_says_and_what_it_leaves_is_found_and_put_back(
    reader: Reader, tmp_path: Path
) -> None:
    fetched = monitoring.fetch_tools(reader.settings).values()
    if missing := [str(one) for one in fetched if isinstance(one, ToolMissingError)]:
        pytest.skip(f"the README shows a platform that is watched: {', '.join(missing)}")
    blocks = parse(README, (PROJECT / README).read_text(), may_be_bare=True)
    (reader.project / RETAIL).write_text(RETAIL_LINES)
    shell = Shell(reader.project, reader.environment(), tmp_path)
    try:
        documents.run(README, blocks, shell, offset=reader.offset, is_run=is_run, read_as=READ_AS)
        (reader.project / "Makefile").unlink()
        left = reader.differences(within_seconds=0)
    finally:
        reader.put_back()
    # The README does not undo what it does, which shows that what a tutorial leaves behind is found.
    assert {"Makefile is gone", "functions/hello/handler.py is new", "stack.yml has changed"} <= set(left)
    assert {"edge: + route hello"} <= set(left)
    assert any(one.startswith("hello has ") for one in left)
    assert reader.differences() == []


@pytest.mark.parametrize("name", TUTORIALS)
def test_tutorial_does_what_it_says_and_is_undone_at_its_end(
    reader: Reader, tmp_path: Path, name: str
) -> None:
    blocks = parse(name, (PROJECT / name).read_text())
    for block in documents.left_out(blocks):
        print(f"{name}:{block.line}: not run: {block.not_run}")
    if not any(block.kind == "commands" for block in blocks):
        return
    reader.up()
    shell = Shell(reader.project, reader.environment(), tmp_path)
    try:
        documents.run(name, blocks, shell, offset=reader.offset)
        left = reader.differences()
    except BaseException:
        reader.put_back()
        raise
    if left:
        reader.put_back()
    assert left == [], f"{name} leaves something behind"


# What is shown to exist


def test_commands_of_readme_that_take_minutes_exist_and_take_their_parameters(reader: Reader) -> None:
    (reader.project / RETAIL).write_text(RETAIL_LINES)
    try:
        faults = [
            fault for command in readme_commands() if not is_run(command) for fault in wrong(reader, command)
        ]
    finally:
        (reader.project / RETAIL).unlink()
    assert faults == []


def readme_commands() -> list[Command]:
    blocks = parse(README, (PROJECT / README).read_text(), may_be_bare=True)
    return [
        command
        for block in blocks
        if block.kind == "commands" and not block.not_run
        for command in documents.commands(block)
    ]


def is_run(command: Command) -> bool:
    """Whether a command of the README is run. One that is in neither table is a fault."""
    words = shlex.split(command.text, comments=True)
    if begins(words, TAKES_MINUTES):
        return False
    assert begins(words, RUN) or (words and _ASSIGNMENT.match(words[0]) and "make" not in words), (
        f"{README}:{command.line}: {command.text}\nis neither run nor named among what takes minutes"
    )
    return True


def begins(words: Sequence[str], those: Sequence[str] | Mapping[str, str]) -> bool:
    return any(words[: len(one.split())] == one.split() for one in those)


def wrong(reader: Reader, command: Command) -> Iterator[str]:
    """What of a command is not there: its target, its setting, a program, a file, a value of a parameter."""
    words = shlex.split(command.text, comments=True)
    settings = [word.partition("=")[::2] for word in takewhile(_ASSIGNMENT.match, words)]
    for name, value in settings:
        if Settings.load({name: value}, PROJECT) == Settings.load({}, PROJECT):
            yield f"{command.text}: {name}={value} sets nothing"
    asked = subprocess.run(
        [*words[len(settings) :], "--dry-run"],
        cwd=reader.project, env=reader.environment(), capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    if asked.returncode != 0:
        yield f"{command.text}: {asked.stderr}"
    for line in asked.stdout.replace("\\\n", " ").splitlines():
        for fault in faults_of(reader.project, shlex.split(line)):
            yield f"{command.text}: {fault}"


def faults_of(project: Path, words: Sequence[str]) -> Iterator[str]:
    """What is wrong with a line that make would run."""
    program, *arguments = list(dropwhile(_ASSIGNMENT.match, words)) or [":"]
    if program != ":" and not (project / program).exists() and shutil.which(program) is None:
        yield f"there is no {program}"
    if arguments[:1] != ["-m"]:
        return
    module, *rest = arguments[1:]
    if importlib.util.find_spec(module) is None:
        yield f"there is no module {module}"
    elif module in PARAMETERS:
        try:
            yield from PARAMETERS[module](project, rest)
        except SystemExit:
            yield f"{module} does not take {shlex.join(rest)}"
    elif rest:
        yield f"whether {module} takes {shlex.join(rest)} is not known here"


def _of_experiments(project: Path, arguments: Sequence[str]) -> Iterator[str]:
    name, *rest = arguments
    if name not in ("all", "list") and not (project / "tests/experiments" / name / "experiment.py").is_file():
        yield f"there is no experiment {name}"
    if set(rest) - {"--full", "--draft"}:
        yield f"whether it takes {shlex.join(rest)} is not known here"


def _of_load(_: Path, arguments: Sequence[str]) -> Iterator[str]:
    from tests.load import scenario
    from tests.load.__main__ import build_parser

    build_parser(scenario.load()).parse_args(arguments)
    yield from ()


def _of_replay(project: Path, arguments: Sequence[str]) -> Iterator[str]:
    from tests.load.replay import build_parser

    if not (project / build_parser().parse_args(arguments).file).is_file():
        yield f"there is no file {arguments[0]}"


def _of_localfaas(_: Path, arguments: Sequence[str]) -> Iterator[str]:
    from localfaas.cli import parser

    parser().parse_args(arguments)
    yield from ()


def _of_the_documentation(_: Path, arguments: Sequence[str]) -> Iterator[str]:
    from docs.source.__main__ import VERBS

    parser = argparse.ArgumentParser()
    parser.add_argument("verb", choices=VERBS)
    parser.parse_args(arguments)
    yield from ()


def _of_pytest(project: Path, arguments: Sequence[str]) -> Iterator[str]:
    for path in [word for word in arguments if "/" in word and not word.startswith("-")]:
        if not list(project.glob(path)):
            yield f"there is no {path}"


PARAMETERS: Mapping[str, Callable[[Path, Sequence[str]], Iterator[str]]] = {
    "docs.source": _of_the_documentation,
    "localfaas": _of_localfaas,
    "pytest": _of_pytest,
    "tests.experiments": _of_experiments,
    "tests.load": _of_load,
    "tests.load.replay": _of_replay,
}


# These tests can fail


@pytest.mark.parametrize("text", ["make coffee", "TRACES=off make up", "jq . cart.json", "x=1 make coffee"])
def test_a_command_in_neither_table_is_found(text: str) -> None:
    with pytest.raises(AssertionError, match="neither run nor named"):
        is_run(Command(1, text))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("make coffee", "No rule to make target"),
        ("TRACES=off make up", "TRACES=off sets nothing"),
        ("make experiment name=stairs", "there is no experiment stairs"),
        ("make load journey=walk", "tests.load does not take --journey walk"),
        ("make replay", "which file"),
        ("make replay file=nowhere.csv", "there is no file nowhere.csv"),
    ],
)
def test_a_command_that_does_not_exist_is_found(reader: Reader, text: str, fault: str) -> None:
    assert fault in "\n".join(wrong(reader, Command(1, text)))
