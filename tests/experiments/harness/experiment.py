"""Does the harness measure truly? All other experiments refuse to run where it does not."""

from __future__ import annotations

import argparse
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import psutil

from benchmarks.floor import fixed_answer
from benchmarks.quantiles import Ratio, block_quantile, quantile, quantile_interval, ratio_of_quantiles
from localfaas.settings import Settings
from tests.experiments.common.answers import Floats
from tests.experiments.common.driving import (
    Block,
    Driven,
    Request,
    drive,
    drive_only,
    interleaved,
    load,
)
from tests.experiments.common.experiment import Conclusion, Experiment, Step
from tests.experiments.common.folder import Folder
from tests.experiments.common.report import Figure, Table, Verdict
from tests.experiments.common.validity import Limits
from tests.experiments.harness import others
from tests.experiments.harness.server import asked, known_server, recorded, stall

SHARES = (0.5, 0.9, 0.99)
MOST_OFF_SECONDS = 0.002
"""How far a quantile may be from the truth: two turns of a timer that counts milliseconds."""
AGAINST_ITSELF = "a-a"
AA_WITHIN = 0.03
AA_KNOWN_TO, AA_KNOWN_TO_FULL = 0.025, 0.015
"""Runs are added until half the interval of that ratio is no wider: on a quiet machine four do, on a noisy one more.

The number of runs depends on the width alone, not on the ratio, so the interval keeps its level: Chow and Robbins, On the
asymptotic theory of fixed-width sequential confidence intervals for the mean, 1965.
"""
WARM_SECONDS = 0.1
STALL_SECONDS = 1.0
STALL_RATE = 100.0
STALL_OFF_SECONDS = 0.05
STALL_SHARE = 0.95
"""Of the requests that were due in the stall, how many must be measured to within STALL_OFF_SECONDS."""
FROZEN_SECONDS = 0.5
POLL_SECONDS = 0.02
PAIRS = 25
"""Of blocks in one run; a run that may not be believed is made again by itself."""
FEWEST_RUNS, MOST_RUNS, MOST_RUNS_FULL = 4, 12, 24
AA_RATE = 1_000.0
"""High enough that processors do not fall asleep between requests, which makes blocks differ by a tenth."""
DELAYS = {0.002: 0.10, 0.005: 0.20, 0.010: 0.30, 0.020: 0.20, 0.050: 0.15, 0.100: 0.05}
"""What is asked for, in seconds, and its share: p50 10 ms, p90 50 ms, p99 100 ms, none of them near a step."""
ALL_DELAYS_RATE = 100.0
ALONE_REQUESTS = 200
"""One after the other, four seconds of them."""


@dataclass(frozen=True)
class Stage:
    known: int
    fixed: int


class Harness(Experiment):
    """Does the harness measure truly? A server of known answers, an arm against itself, and runs that must reject themselves.

    Where one of them fails, no other experiment is made.
    """

    name = "harness"
    title = "Does the harness measure truly?"
    question = "Does the harness see what a server really did, no difference where there is none, and its own failures?"
    method = (
        f"A server answers after delays that are asked for in turn, so their distribution is known; it also writes down what it did. The quantiles that k6's answers give are held to that record; so are those of the clients that two experiments have of their own: first_request's, {ALONE_REQUESTS} requests one after the other, and autoscale's script, at a rate that jumps.",
        f"The same server stops for {STALL_SECONDS:g} s under an open load of {STALL_RATE:g} requests a second. A request that was due in the stall must be seen to take until its end, counted from when it was due; one closed user beside it shows what is missed otherwise.",
        f"A/A: one address, two arms, short blocks in random order, until half the interval of the ratio of the p50 is at most {AA_KNOWN_TO:g} (in the long form {AA_KNOWN_TO_FULL:g}); the ratio itself must be within 1 ± {AA_WITHIN:g}. That verdict is by the value and not by the whole interval, for which it would take more than twice as many pairs.",
        f"Runs are spoilt on purpose and must reject themselves: k6 is stopped for {FROZEN_SECONDS:g} s (requests leave late), with autoscale's script as well, the server answers 500 once in a while, and it stalls while there are few connections (requests are never sent).",
    )
    proven = False

    def chosen(self, options: argparse.Namespace) -> dict[str, Any]:
        return {"aa_runs": MOST_RUNS_FULL} if options.full else self.briefly()

    def briefly(self) -> dict[str, Any]:
        """The short form, which the others ask for."""
        return {"aa_runs": MOST_RUNS}

    def steps(self, chosen: Mapping[str, Any]) -> list[Step]:
        return [
            Step("delays", 26),
            Step("stall", 11),
            Step("late", 17),
            Step("unexpected", 9),
            Step("dropped", 9),
            *(Step(f"{AGAINST_ITSELF}-{number}", 4 + 2.7 * PAIRS) for number in range(chosen["aa_runs"])),
        ]

    def needless(self, step: Step, folder: Folder) -> bool:
        runs = _runs_against_itself(folder)
        return (
            step.name.startswith(AGAINST_ITSELF)
            and len(runs) >= FEWEST_RUNS
            and _is_known(_ratio_to_itself(runs, 0.5), folder)
        )

    @contextmanager
    def stage(self, settings: Settings, chosen: Mapping[str, Any]) -> Iterator[Stage]:
        with known_server() as known, fixed_answer(b'{"sku":"MAG-00007"}') as fixed:
            yield Stage(known, fixed)

    def run(self, stage: Stage, step: Step, folder: Folder) -> Sequence[str]:
        make: Mapping[str, Callable[[Stage, Folder], Sequence[str]]] = {
            "delays": _delays,
            "stall": _stall,
            "late": _late,
            "unexpected": _unexpected,
            "dropped": _dropped,
        }
        return make.get(step.name, _against_itself)(stage, folder)

    def conclude(self, folder: Folder) -> Conclusion:
        done = folder.done_runs()
        verdicts: list[Verdict] = []
        figures: list[Figure] = []
        tables: list[Table] = []
        pictures: list[tuple[str, Path]] = []
        if "delays" in done:
            told, shown, figures_of = _about_delays(folder.run("delays"))
            verdicts += told
            tables += shown
            figures += figures_of
        if "stall" in done:
            verdict, table, picture = _about_stall(folder.run("stall"), folder.path / "stall.png")
            verdicts.append(verdict)
            tables.append(table)
            pictures.append(picture)
        if runs := _runs_against_itself(folder):
            verdict, table, figures_of = _about_itself(runs, folder)
            verdicts.append(verdict)
            tables.append(table)
            figures += figures_of
        for name in SPOILT:
            if name in done:
                verdicts += _about_spoilt(folder.run(name), name)
        return Conclusion(
            verdicts,
            figures,
            tables,
            pictures,
            threats=[
                "The server's timer counts milliseconds; it is held to what it wrote down, not to what it was asked for.",
                "Time taken by the hypervisor cannot be brought about here; the rule that rejects it is tested with planted readings.",
                "k6 shares the processors with what it measures, so every figure holds its work as well.",
            ],
        )


def _delays(stage: Stage, folder: Folder) -> Sequence[str]:
    """Each delay has its block beside the others, all at once, so that short and long answers mix; then the other clients ask."""
    recorded(stage.known)
    blocks = [
        Block(f"{seconds:g} s", Request(f"http://127.0.0.1:{stage.known}/delay/{seconds:g}"), 8.0, rate=ALL_DELAYS_RATE * share, start=0.5, connections=40)
        for seconds, share in DELAYS.items()
    ]  # fmt: skip
    driven = drive(folder, blocks)
    folder.write("record.json", recorded(stage.known))
    alone = np.repeat(list(DELAYS), [round(ALONE_REQUESTS * share) for share in DELAYS.values()])
    mixed = np.random.default_rng(ALONE_REQUESTS).permutation(alone)
    return [
        *driven.rejected,
        *others.ask_alone(folder, stage.known, mixed.tolist()),
        *others.send_by_script(folder, stage.known),
    ]


def _stall(stage: Stage, folder: Folder) -> Sequence[str]:
    request = Request(f"http://127.0.0.1:{stage.known}/delay/0.002")
    blocks = [
        Block("open", request, 6.0, rate=STALL_RATE, start=0.5, connections=250, patience=5.0),
        Block("closed", request, 6.0, users=1, start=0.5, patience=5.0),
    ]
    with _amid(stage.known, 2.0, lambda: stall(stage.known, STALL_SECONDS)):
        drive_only(folder, blocks)
    folder.write("record.json", recorded(stage.known))
    return load(folder).rejected


def _against_itself(stage: Stage, folder: Folder) -> Sequence[str]:
    request = Request(f"http://127.0.0.1:{stage.fixed}/")
    arms = {name: Block(name, request, 1.0, rate=AA_RATE) for name in ("a", "a again")}
    number = int(folder.path.name.removeprefix(f"{AGAINST_ITSELF}-"))  # each run has an order of its own
    return drive(folder, interleaved(arms, PAIRS, seed=number), all_watched=True).rejected


def _late(stage: Stage, folder: Folder) -> Sequence[str]:
    request = Request(f"http://127.0.0.1:{stage.known}/delay/0")
    with _amid(stage.known, 1.5, _freeze_k6):
        drive_only(folder, [Block("late", request, 4.0, rate=100, connections=150)])
    with _amid(stage.known, 1.5, _freeze_k6):
        others.send_by_script(folder, stage.known)
    return ()


def _freeze_k6() -> None:
    for child in psutil.Process().children():
        if child.name() == "k6":
            os.kill(child.pid, signal.SIGSTOP)
            time.sleep(FROZEN_SECONDS)
            os.kill(child.pid, signal.SIGCONT)


def _unexpected(stage: Stage, folder: Folder) -> Sequence[str]:
    well = Request(f"http://127.0.0.1:{stage.known}/delay/0")
    sick = Request(f"http://127.0.0.1:{stage.known}/fail")
    drive_only(
        folder, [Block("well", well, 3.0, rate=50, start=0.5), Block("sick", sick, 3.0, rate=1, start=0.5)]
    )
    return ()


def _dropped(stage: Stage, folder: Folder) -> Sequence[str]:
    request = Request(f"http://127.0.0.1:{stage.known}/delay/0")
    with _amid(stage.known, 1.0, lambda: stall(stage.known, STALL_SECONDS)):
        drive_only(folder, [Block("few connections", request, 3.0, rate=100, connections=20, patience=5.0)])
    return ()


SPOILT: Mapping[str, tuple[str, str]] = {
    "late": (f"k6 stopped for {FROZEN_SECONDS:g} s: requests leave late", "left more than"),
    "unexpected": ("one answer in 50 is a 500", "not expected: "),
    "dropped": ("requests that are never sent", "were not sent"),
}
"""What was spoilt, and the word by which its reason is known."""


@contextmanager
def _amid(known: int, seconds: float, act: Callable[[], None]) -> Iterator[None]:
    """`act` beside the block, so long after its first answer: k6 takes its time to begin."""
    recorded(known)
    over = threading.Event()

    def wait_and_act() -> None:
        while not asked(known):
            if over.wait(POLL_SECONDS):
                return
        if not over.wait(seconds):
            act()

    beside = threading.Thread(target=wait_and_act)
    beside.start()
    try:
        yield
    finally:
        over.set()
        beside.join()


def _about_delays(folder: Folder) -> tuple[list[Verdict], list[Table], list[Figure]]:
    measured = np.concatenate([one.seconds for one in load(folder).blocks.values()])
    truth = others.took(folder.read("record.json")["delays"])
    asked_for = np.repeat(list(DELAYS), [round(100 * one) for one in DELAYS.values()])
    told = [_held_to_record("", asked_for, truth, measured)]
    if (folder.path / others.ALONE).is_file():
        told.append(_held_to_record(" by first_request's client", *others.alone(folder)))
    if (folder.path / others.SCRIPT).is_dir():
        told.append(_held_to_record(" by autoscale's script", *others.by_script(folder)))
    figures = []
    for share in SHARES:
        seen = quantile_interval(measured, share).times(1000)
        figures.append(Figure(f"known delays, p{share * 100:g}", "ms", seen.value, seen.low, seen.high, ""))
    return [verdict for verdict, _ in told], [table for _, table in told], figures


def _held_to_record(client: str, asked_for: Floats, truth: Floats, measured: Floats) -> tuple[Verdict, Table]:
    """Quantiles of what was measured, against those of what the server wrote down."""
    rows, worst = [], 0.0
    for share in SHARES:
        # The clocks of both sides are the same; what lies between is the way there and back, and the client.
        off = quantile(measured, share) - quantile(truth, share)
        worst = max(worst, abs(off))
        values = (*(quantile(one, share) for one in (asked_for, truth, measured)), off)
        rows.append([f"p{share * 100:g}", *(f"{value * 1000:.2f}" for value in values)])
    verdict = Verdict(
        f"quantiles of known delays{client} within {MOST_OFF_SECONDS * 1000:g} ms of what the server did",
        f"at most {worst * 1000:.2f} ms off; {len(measured):,} answers of {len(truth):,} that were given",
        worst <= MOST_OFF_SECONDS and len(measured) == len(truth),
    )
    head = ["", "asked for", "by the server's record", "measured", "measured - record"]
    return verdict, Table(f"Known delays{client}, ms", head, rows)


def _about_stall(folder: Folder, picture: Path) -> tuple[Verdict, Table, tuple[str, Path]]:
    driven = load(folder)
    [(began, ended)] = folder.read("record.json")["stalls"]
    [open_], [closed_] = driven.of("open"), driven.of("closed")
    held = open_.between(began, ended)
    off = np.abs(held.seconds - (ended - held.due))
    share = float(np.mean(off <= STALL_OFF_SECONDS)) if len(held) else 0.0
    expected = STALL_RATE * (ended - began)
    verdict = Verdict(
        f"{STALL_SHARE:.0%} of the requests due in a stall of {STALL_SECONDS:g} s are seen to wait until its end, to {STALL_OFF_SECONDS * 1000:g} ms",
        f"{share:.1%} of {len(held)} (about {expected:.0f} were due)",
        share >= STALL_SHARE and abs(len(held) - expected) <= 0.2 * expected,
    )
    half = STALL_SECONDS / 2
    rows = [
        [
            name,
            f"{len(one):,}",
            str(int(np.sum(one.seconds > half))),
            f"{quantile(one.seconds, 0.99) * 1000:.1f}",
            f"{one.seconds.max() * 1000:.0f}",
        ]
        for name, one in (("open, from when due", open_), ("one closed user", closed_))
    ]
    table = Table(
        f"A stall of {STALL_SECONDS:g} s, seen by both",
        ["load", "requests", f"longer than {half:g} s", "p99 ms", "longest ms"],
        rows,
    )
    _draw_stall(picture, open_.due - began, open_.seconds, ended - began)
    return (
        verdict,
        table,
        ("Each request of the open load, by when it was due; the line is the truth.", picture),
    )


def _draw_stall(path: Path, due: Floats, seconds: Floats, length: float) -> None:
    figure, axes = plt.subplots(figsize=(8, 3.2), layout="constrained")
    near = (due > -1) & (due < length + 1)
    axes.plot([0, length], [length, 0], color="#c0392b", linewidth=1, label="until the end of the stall")
    axes.plot(due[near], seconds[near], ".", markersize=4, color="#3274d9", label="measured")
    axes.set(xlabel="due, seconds from the beginning of the stall", ylabel="seconds")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _runs_against_itself(folder: Folder) -> list[Driven]:
    return [load(folder.run(name)) for name in folder.done_runs() if name.startswith(AGAINST_ITSELF)]


def _blocks(runs: Sequence[Driven], arm: str) -> list[Floats]:
    return [one.seconds for driven in runs for one in driven.of(arm, WARM_SECONDS)]


def _ratio_to_itself(runs: Sequence[Driven], share: float) -> Ratio:
    return ratio_of_quantiles(_blocks(runs, "a again"), _blocks(runs, "a"), share)


def _known_to(folder: Folder) -> float:
    return AA_KNOWN_TO_FULL if folder.settings["settings"]["full"] else AA_KNOWN_TO


def _is_known(ratio: Ratio, folder: Folder) -> bool:
    return (ratio.high - ratio.low) / 2 <= _known_to(folder)


def _about_itself(runs: Sequence[Driven], folder: Folder) -> tuple[Verdict, Table, list[Figure]]:
    ratios = {share: _ratio_to_itself(runs, share) for share in SHARES}
    p50 = ratios[0.5]
    arms = {name: _blocks(runs, name) for name in ("a", "a again")}
    verdict = Verdict(
        f"an arm against itself: ratio of the p50 within 1 ± {AA_WITHIN:g}, known to ± {_known_to(folder):g}",
        f"{p50.said(3)}, by {len(arms['a'])} pairs of blocks",
        abs(p50.value - 1) <= AA_WITHIN and _is_known(p50, folder),
    )
    rows = [
        [
            f"p{share * 100:g}",
            *(f"{block_quantile(arms[name], share).value * 1000:.3f}" for name in arms),
            ratio.said(3),
        ]
        for share, ratio in ratios.items()
    ]
    table = Table("An arm against itself, ms", ["", *arms, "ratio (95 %)"], rows)
    figures = [_figure(f"A/A ratio, p{share * 100:g}", ratio) for share, ratio in ratios.items()]
    return verdict, table, figures


def _figure(name: str, ratio: Ratio) -> Figure:
    return Figure(name, "", ratio.value, ratio.low, ratio.high, "")


def _about_spoilt(folder: Folder, name: str) -> Iterator[Verdict]:
    what, word = SPOILT[name]
    yield _rejects_itself(what, word, load(folder, Limits(steal=None)).rejected)
    if (folder.path / others.SCRIPT).is_dir():
        yield _rejects_itself(f"autoscale's script, {what}", word, others.late_by_script(folder))


def _rejects_itself(what: str, word: str, reasons: Sequence[str]) -> Verdict:
    # Another reason would not do: the run must say what was wrong with it.
    return Verdict(
        f"a spoilt run rejects itself: {what}",
        "; ".join(reasons) or "it was believed",
        any(word in one for one in reasons),
    )


EXPERIMENT = Harness()
