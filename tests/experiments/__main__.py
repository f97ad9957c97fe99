"""The laboratory's command: `python -m tests.experiments NAME | all | compare A B | index | list`.

`make experiment name=NAME`, `make experiments` and `make experiment-compare a=FOLDER b=FOLDER` call it.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.table import Table

from benchmarks.report import BenchmarkError, load_settings, table_console
from tests.experiments.common import index
from tests.experiments.common.compare import by_chance, compare
from tests.experiments.common.experiment import (
    NOT_MADE,
    STOPPED,
    UNPROVEN,
    Experiment,
    main,
    seconds_of,
    still_good,
    unfinished,
)
from tests.experiments.common.folder import Folder

ORDER = (
    "harness", "ladder", "first_request", "balance", "autoscale", "failover", "trust", "capacity", "overload", "soak", "servers",
)  # fmt: skip
"""In which `all` makes them: the harness proves itself before anything else is measured. Others come last."""


def names(folder: Path = Path(__file__).parent) -> list[str]:
    """Every experiment: each has a folder here with an experiment.py."""
    found = sorted(path.parent.name for path in folder.glob("*/experiment.py"))
    return [*ORDER, *(name for name in found if name not in (*ORDER, "common"))]


def experiment(name: str) -> Experiment:
    """The experiment of that name; tests/experiments/<name>/experiment.py holds it as EXPERIMENT."""
    module = importlib.import_module(f"tests.experiments.{name}.experiment")
    found: Experiment = module.EXPERIMENT
    return found


def run_all(arguments: Sequence[str]) -> int:
    """Every experiment in turn; the exit code is that of the worst.

    What could not be made is tried once more at the end, when the machine may be quieter.
    One whose last result is still good is not made again, and one that was begun is gone on with, so that what was stopped goes on where it was. One that is stopped stops the rest, as does a harness that has not proved itself: it would fail each of them in turn.
    """
    parser = argparse.ArgumentParser(
        prog="make experiments", description="Every experiment, in its short form."
    )
    parser.add_argument("--full", action="store_true", help="in its long form")
    parser.add_argument(
        "--anew", action="store_true", help="make those again whose last result is still good"
    )
    options = parser.parse_args(arguments)
    console, every = table_console(), names()
    codes, queue = dict[str, int](), deque(every)
    form, state = ["--full"] if options.full else [], load_settings().state
    good = {} if options.anew else {name: still_good(experiment(name), state, form) for name in every}
    left = {name: seconds_of(experiment(name), form) for name in every if not good.get(name)}
    console.print(f"{len(left)} of {len(every)} are to be made, in up to {_minutes(left.values())}.")
    while queue:
        name = queue.popleft()
        again = name in codes
        place = "once more" if again else f"{every.index(name) + 1} of {len(every)}"
        console.print(
            f"[bold]{name}[/bold] ({place}, up to {_minutes(left.values())} left): {experiment(name).question}",
            soft_wrap=True,
        )
        if made := good.get(name):
            console.print(
                f"made at {made.settings['at']} of commit {made.settings['commit']}: {made.path / 'report.html'}",
                soft_wrap=True,
            )
            codes[name] = 0
            continue
        begun = None if options.anew and not again else unfinished(experiment(name), state, form)
        codes[name] = main(experiment(name), ["--resume", str(begun.path)] if begun else form)
        if codes[name] in (UNPROVEN, STOPPED):
            break
        if codes[name] == NOT_MADE and not again:
            queue.append(name)
        else:
            del left[name]
    console.print(f"{state / 'experiments' / 'index.html'}", soft_wrap=True)
    return max(codes.values())


def _minutes(seconds: Iterable[float]) -> str:
    return f"{sum(seconds) / 60:.0f} minutes"


def tell_apart(arguments: Sequence[str]) -> int:
    """Print what differs between two folders."""
    parser = argparse.ArgumentParser(
        prog="make experiment-compare",
        description="Whether run b is better or worse than run a, figure by figure.",
    )
    parser.add_argument("a", type=Path, help="the folder of one run")
    parser.add_argument("b", type=Path, help="the folder of another run of the same experiment")
    options = parser.parse_args(arguments)
    console = table_console()
    try:
        differences, remarks = compare(Folder(options.a), Folder(options.b))
    except BenchmarkError as error:
        print(f"experiment-compare: {error}", file=sys.stderr)
        return 1
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("figure", "a", "b", "b / a (95 %)", "b is"):
        table.add_column(title)
    for one in differences:
        name = ", ".join(filter(None, (one.name, one.unit)))
        table.add_row(name, f"{one.a:.4g}", f"{one.b:.4g}", one.ratio.said(), one.word)
    console.print(table)
    console.print(by_chance(differences), markup=False, soft_wrap=True)
    for remark in remarks:
        console.print(f"Beware: {remark}.", markup=False, soft_wrap=True)
    return 0


def show_all() -> int:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("name", "question"):
        table.add_column(title)
    for name in names():
        table.add_row(name, experiment(name).question)
    table_console().print(table)
    return 0


def command(arguments: Sequence[str]) -> int:
    verb, *rest = arguments or ["list"]
    if verb in names():
        return main(experiment(verb), rest)
    if verb == "all":
        return run_all(rest)
    if verb == "compare":
        return tell_apart(rest)
    if verb == "index":
        print(index.write(load_settings().state / "experiments"))
        return 0
    if verb in {"list", "-h", "--help"}:
        print(__doc__)
        return show_all()
    print(f"there is no experiment {verb}; there are {', '.join(names())}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(command(sys.argv[1:]))
