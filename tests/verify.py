"""Everything that is to be trusted, put to the test: `python -m tests.verify`, or `make verify`.

Runs the experiments about faults, overload and time in their short form, the long forms of the tests that repeat a race, a
crash or a way up and down many times, or ask at random, those tests of data and doctor that have one form alone, all files
by which docs/security.md proves its rows, and bandit. Each goal becomes a row of one table, which is printed and written to
<STATE_DIR>/verify/ as Markdown. An experiment whose last result is still good is not made again.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

from rich.table import Table

from benchmarks.report import PROJECT, load_settings, machine, table_console
from tests.experiments.__main__ import experiment
from tests.experiments.common.experiment import still_good, unfinished
from tests.experiments.common.folder import Folder, commit
from tests.support.security_page import PAGE, named_tests

EXPERIMENTS = ("failover", "trust", "overload", "soak")
TESTS = "tests"
"""The name of the long forms of tests among the parts."""
LONG_FORMS: Mapping[str, str] = {
    "VERIFY": "1",
    "VERIFY_RUNS": "30",
    "VERIFY_EXAMPLES": "500",
    "RACE_ROUNDS": "204",
    "CRASH_RUNS": "3",
    "LEAK_CYCLES": "10",
}
"""Variables that turn a test into its long form, and bound it to minutes; one that is set already stays as it is."""
_READS_ONE = re.compile(
    rf"""environ(?:\.get\(|\[)\s*["'](?:{"|".join(LONG_FORMS)})["']|^from tests\.support\.(?:effort|machines) import""",
    re.MULTILINE,
)
DATA_AND_DOCTOR = (
    "integration/test_migrations.py", "integration/test_migrations_with_data.py", "integration/test_backup_restore.py",
    "e2e/test_data_care.py", "integration/test_doctor_database.py", "e2e/test_doctor.py",
)  # fmt: skip
"""Files of tests that have no long form: data of every age, backups, and what finds faults."""
ONLY_FORM = tuple(
    PROJECT / "tests" / file
    for file in dict.fromkeys((*DATA_AND_DOCTOR, *(file for file, _ in named_tests(PAGE))))
)
"""What else must hold: these, and whole, as what tests a checker stands beside it, each file of which docs/security.md names a
test. Some minutes."""
BANDIT = (
    "bandit", "-q", "-c", "pyproject.toml", "-r",
    "functions", "localfaas", "db", "deploy", "benchmarks", "monitoring", "template",
)  # fmt: skip
"""As `make check` asks it."""
TEST_SECONDS = 1800
UNKNOWN, MISSED, ACCEPTED = "cannot tell", "missed", "accepted"
COLOURS: Mapping[str, str] = {
    "met": "green", "passed": "green", ACCEPTED: "yellow", UNKNOWN: "yellow", MISSED: "red", "failed": "red", "not made": "red",
}  # fmt: skip
"""Every word that a row may have; the red ones are bad."""


@dataclass(frozen=True)
class Row:
    """A goal of one part, what was found, and a word out of COLOURS."""

    part: str
    goal: str
    found: str
    word: str

    @property
    def bad(self) -> bool:
        return COLOURS[self.word] == "red"


@dataclass(frozen=True)
class Miss:
    """A goal that is missed on purpose: how bad it may be, and the decision that says why."""

    part: str
    goal: str
    """What its sentence holds."""
    figure: str
    """How the names of the figures end that were held to it."""
    worst: float
    """What the worst of these may come to."""
    decision: int
    why: str
    subject: str = ""
    """Whose goal it is, where others have the same and the decision is not about them."""
    better: str = "lower"
    """As a Figure has it."""

    def is_about(self, row: Row) -> bool:
        return self.part == row.part and self.goal in row.goal and row.goal.startswith(self.subject)

    def held_to(self, row: Row, figures: Mapping[str, float]) -> list[float]:
        """The row's own figure where its goal begins as the figure does, otherwise those of all."""
        own = f"{row.goal.partition(': ')[0]}: {self.figure}"
        if own in figures:
            return [figures[own]]
        return [value for name, value in figures.items() if name.endswith(self.figure)]

    def accepts(self, values: Sequence[float]) -> bool:
        if not values:
            return False
        return max(values) <= self.worst if self.better == "lower" else min(values) >= self.worst


ON_PURPOSE = (
    Miss("trust", "repeats on the way", "requests for each sent", 1.5, 103, "reads are asked again as Kong asks them"),
    Miss(
        "trust", "nor does the p99 of such requests become more", "p99 of others, times", 15.0, 105,
        "they share two processors with what recovers",
    ),
    Miss(
        "overload", "times the knee at least", "useful, share of the knee", 0.2, 104, "carts are filled for what is then refused",
        subject="checkout", better="higher",
    ),
    Miss(
        "overload", "who is refused knows it within", "refusals, p99", 5.0, 104, "a queue is left after 5 s, and once it stands after 1 s and a purchase",
        subject="checkout",
    ),
    Miss("overload", "who is refused knows it within", "refusals, p99", 1.3, 102, "a standing queue is left after 1 s"),
)  # fmt: skip
"""No more than there are decisions for, the first that is about a goal counts; what becomes worse than this is missed, and what
is met again is to be struck off."""


def of_experiment(name: str, state: Path, *, draft: bool, anew: bool) -> list[Row]:
    """Run it, or go on with it, unless its last result is still good, and read its verdicts."""
    form = ["--draft"] if draft else []
    if not anew and (standing := still_good(experiment(name), state, form)):
        print(
            f"made at {standing.settings['at']} of commit {standing.settings['commit']}: {standing.path / 'report.html'}",
            flush=True,
        )
        return verdicts(name, standing)
    begun = None if anew else unfinished(experiment(name), state, form)
    command = [sys.executable, "-m", "tests.experiments", name]
    command += ["--resume", str(begun.path)] if begun else form
    before = set(_folders(state, name))
    code = subprocess.run(command, cwd=PROJECT, check=False).returncode
    made = [begun.path] if begun else sorted(set(_folders(state, name)) - before)
    if code or not made or not (made[-1] / "result.json").is_file():
        return [Row(name, "the experiment is made", f"it ended with {code}; see above", "not made")]
    return verdicts(name, Folder(made[-1]))


def verdicts(name: str, folder: Folder) -> list[Row]:
    result = folder.read("result.json")
    figures = {one["name"]: one["value"] for one in result["figures"]}
    return [weighed(Row(name, one["goal"], one["found"], one["word"]), figures) for one in result["verdicts"]]


def weighed(row: Row, figures: Mapping[str, float]) -> Row:
    """The row, with what the decision about its goal says, where there is one; `figures` are values by name."""
    miss = next((one for one in ON_PURPOSE if one.is_about(row)), None)
    if miss is None or row.word == UNKNOWN:
        return row
    by = f"decision {miss.decision}"
    if row.word != MISSED:
        return replace(row, found=f"{row.found} (no longer missed: {by} need not accept it)")
    if not miss.accepts(miss.held_to(row, figures)):
        return replace(row, found=f"{row.found} (worse than the {miss.worst:g} that {by} accepts)")
    word = "up" if miss.better == "lower" else "down"
    return replace(row, word=ACCEPTED, found=f"{row.found} ({word} to {miss.worst:g} by {by}: {miss.why})")


def _folders(state: Path, name: str) -> list[Path]:
    return list((state / "experiments").glob(f"{name}-2*"))


def long_forms(root: Path = PROJECT / "tests") -> list[Path]:
    """The files of tests that have one: they read one of LONG_FORMS, or import what does."""
    return [path for path in sorted(root.glob("*/test_*.py")) if _READS_ONE.search(path.read_text())]


def of_tests(files: Sequence[Path], report: Path, dist: str) -> list[Row]:
    """Run them in their long form, if they have one, and read what came of each; `dist` is xdist's."""
    command = [
        sys.executable, "-m", "pytest", "-n", "2", "--dist", dist, f"--timeout={TEST_SECONDS}", f"--junitxml={report}",
        *(str(path.relative_to(PROJECT)) for path in files),
    ]  # fmt: skip
    code = subprocess.run(command, cwd=PROJECT, env={**LONG_FORMS, **os.environ}, check=False).returncode
    if not report.is_file():
        return [Row(TESTS, "the tests are run", f"pytest ended with {code}; see above", "not made")]
    found = outcomes(report)
    if code and all(one.word != "failed" for one in found):
        found.append(Row(TESTS, "the tests are run", f"pytest ended with {code}; see above", "not made"))
    return found


def of_source() -> list[Row]:
    """What bandit says of it."""
    code = subprocess.run([sys.executable, "-m", *BANDIT], cwd=PROJECT, check=False).returncode
    found = f"bandit ended with {code}; see above" if code else "nothing"
    return [Row(TESTS, "bandit finds nothing in the source", found, "failed" if code else "passed")]


def outcomes(report: Path) -> list[Row]:
    """A row for each module of a report in JUnit's format, with what its tests say that they found (property `found`).

    Of a module whose tests were all skipped nothing can be told.
    """
    counts: dict[str, Counter[str]] = {}
    said: dict[str, list[str]] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        module = case.get("classname", "")
        counts.setdefault(module, Counter())[_outcome(case)] += 1
        told = [one.get("value", "") for one in case.iterfind("properties/property[@name='found']")]
        said.setdefault(module, []).extend(told)
    return [
        Row(
            TESTS,
            module,
            "; ".join([", ".join(f"{number} {word}" for word, number in sorted(its.items())), *said[module]]),
            "failed" if its["failed"] else "passed" if its["passed"] else UNKNOWN,
        )
        for module, its in sorted(counts.items())
    ]


def _outcome(case: ElementTree.Element) -> str:
    if case.find("failure") is not None or case.find("error") is not None:
        return "failed"
    return "skipped" if case.find("skipped") is not None else "passed"


def markdown(rows: Sequence[Row], at: datetime, seconds: float) -> str:
    """The table with what it is about, as docs/reliability.md takes it."""
    about = machine()
    head = [
        f"`make verify`, {at:%Y-%m-%d %H:%M} UTC, {seconds / 60:.0f} minutes, commit {commit() or 'unknown'}: {counted(rows)}.",
        f"{about['processors']} processors ({about['processor']}), {about['system']}, Python {about['python']}.",
        "",
        "| part | goal | found | |",
        "|---|---|---|---|",
    ]
    lines = [
        f"| {' | '.join(_cell(text) for text in (row.part, row.goal, row.found, row.word))} |" for row in rows
    ]
    return "\n".join([*head, *lines, ""])


def counted(rows: Sequence[Row]) -> str:
    """How many rows there are of each word, in the order of COLOURS."""
    words = Counter(row.word for row in rows)
    return ", ".join(f"{words[word]} {word}" for word in COLOURS if words[word])


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def main(arguments: Sequence[str]) -> int:
    """0 when every part was made and no goal was missed, but those that are on purpose; what cannot be told is counted."""
    options = _parser().parse_args(arguments)
    parts = [name for name in (*EXPERIMENTS, TESTS) if not options.only or name in options.only]
    state, console = load_settings().state, table_console()
    folder = state / "verify"
    folder.mkdir(parents=True, exist_ok=True)
    at, started, rows = datetime.now(UTC), time.monotonic(), list[Row]()
    path = folder / f"{at:%Y%m%dT%H%M%SZ}.md"
    for part in parts:
        console.print(f"[bold]{part}[/bold] ({parts.index(part) + 1} of {len(parts)})")
        rows += _made(part, state, path, draft=options.draft, anew=options.anew)
        # After each part, so that what is stopped has left what it found.
        path.write_text(markdown(rows, at, time.monotonic() - started))
    console.print(_shown(rows))
    print(counted(rows))
    print(path)
    return int(any(row.bad for row in rows))


def _made(part: str, state: Path, path: Path, *, draft: bool, anew: bool) -> list[Row]:
    if part == TESTS:
        # A long form may be one file's and is spread; what has one form shares what a file sets up.
        long = long_forms()
        return [
            *of_tests(long, path.with_suffix(".long.xml"), "load"),
            *of_tests([one for one in ONLY_FORM if one not in long], path.with_suffix(".xml"), "loadfile"),
            *of_source(),
        ]
    return of_experiment(part, state, draft=draft, anew=anew)


def _shown(rows: Sequence[Row]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("part", "goal", "found", ""):
        table.add_column(title)
    for row in rows:
        table.add_row(row.part, row.goal, row.found, f"[{COLOURS[row.word]}]{row.word}")
    return table


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="make verify",
        description="Faults, overload, time, races, crashes, leaks, data, roles and secrets, each against its goals; takes some one and a half hours.",
    )
    parser.add_argument(
        "--only",
        action="append",
        choices=[*EXPERIMENTS, TESTS],
        help="this part alone; give it again for more",
    )
    parser.add_argument(
        "--draft",
        action="store_true",
        help="experiments without the harness' proof; no verdict of theirs counts then",
    )
    parser.add_argument(
        "--anew", action="store_true", help="make experiments again whose last result is still good"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
