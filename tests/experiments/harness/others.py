"""The two clients beside common/load.js, held to the same server of known delays: first_request's own, and autoscale's script."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.http_client import KeepAlive, render_request
from tests.experiments.autoscale.sending import ANSWERS, send, written
from tests.experiments.autoscale.shapes import Shape, Stage
from tests.experiments.common import answers
from tests.experiments.common.answers import Floats
from tests.experiments.common.folder import Folder
from tests.experiments.common.quiet import MOST_STEAL, Processors
from tests.experiments.common.validity import IN_TENTHS, Limits, late
from tests.experiments.harness.server import recorded

ALONE, SCRIPT = "alone.json", "script"
"""Below a run's folder, where they were asked; a proof of before that has neither."""
SHAPE = Shape("known", "Known", 10, (Stage(1.5, 10), Stage(0, 40), Stage(3, 40)))
SCRIPT_DELAYS = (0.002, 0.010, 0.050)
"""One a target, in seconds; each has a third of the requests, so no quantile that is told is near a step."""
MOST_OPEN = 10


def ask_alone(folder: Folder, port: int, delays: Sequence[float]) -> list[str]:
    """Ask for each delay, one after the other, on one connection; why that may not be believed."""
    recorded(port)
    before = Processors.now()
    with KeepAlive(port) as client:
        taken = [client.send(render_request("localhost", "GET", f"/delay/{one:g}")).seconds for one in delays]
    steal = Processors.now().steal_since(before)
    folder.write(ALONE, {"asked": delays, "seconds": taken, "record": recorded(port)["delays"]})
    return [f"the hypervisor took {steal:.0%} of the processors"] if steal > MOST_STEAL else []


def alone(folder: Folder) -> tuple[Floats, Floats, Floats]:
    """Seconds asked for, seconds by the server's record, seconds measured."""
    told = folder.read(ALONE)
    return np.array(told["asked"]), took(told["record"]), np.array(told["seconds"])


def send_by_script(folder: Folder, port: int) -> list[str]:
    """A rate that jumps, on targets of different delays; why that may not be believed to a millisecond."""
    part = Folder(folder.path / SCRIPT)
    part.path.mkdir()
    targets = {f"after-{1000 * one:g}-ms": f"http://127.0.0.1:{port}/delay/{one:g}" for one in SCRIPT_DELAYS}
    recorded(port)
    send(part, targets, SHAPE, MOST_OPEN)
    part.write("record.json", recorded(port)["delays"])
    rejected = written(part, targets, SHAPE).rejected
    return rejected or late(answers.read(part.path / ANSWERS).values(), Limits())


def by_script(folder: Folder) -> tuple[Floats, Floats, Floats]:
    """As `alone`."""
    part = Folder(folder.path / SCRIPT)
    measured = np.concatenate([one.seconds for one in answers.read(part.path / ANSWERS).values()])
    return np.array(SCRIPT_DELAYS), took(part.read("record.json")), measured


def late_by_script(folder: Folder) -> list[str]:
    """Why a run that was spoilt may not be believed, as autoscale itself would say it."""
    return late(answers.read(folder.path / SCRIPT / ANSWERS).values(), IN_TENTHS)


def took(record: Sequence[Sequence[float]]) -> Floats:
    return np.array([left - came for came, left in record])
