"""The harness, for real: k6 against a server that is known to stall, and runs that are spoilt on purpose."""

from __future__ import annotations

import pytest

from benchmarks.report import PROJECT
from localfaas.settings import Settings
from tests.experiments.common.experiment import Step
from tests.experiments.common.folder import Folder
from tests.experiments.harness import experiment
from tests.experiments.harness.experiment import EXPERIMENT


@pytest.fixture(scope="module")
def concluded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bool | None]:
    """By goal, whether it was met; A/A is left out, as a busy machine may spoil it."""
    state = tmp_path_factory.mktemp("state")
    folder = Folder.new(state, "harness", {"aa_runs": 1, "full": False})
    with EXPERIMENT.stage(Settings(PROJECT, state), {"aa_runs": 1}) as stage:
        for name in ("stall", "late", "unexpected"):
            EXPERIMENT.run(stage, Step(name, 1), folder.run(name))
            folder.run(name).write("done.json", {})
    with pytest.MonkeyPatch.context() as patch:
        # Whether the stall is seen at all does not depend on how busy the machine is; to 50 ms, it does.
        patch.setattr(experiment, "STALL_OFF_SECONDS", experiment.STALL_SECONDS / 2)
        return {verdict.goal: verdict.met for verdict in EXPERIMENT.conclude(folder).verdicts}


@pytest.mark.parametrize("goal", ["due in a stall", "stopped for 0.5 s", "is a 500"])
def test_the_harness_sees_what_happened(concluded: dict[str, bool | None], goal: str) -> None:
    (met,) = [met for name, met in concluded.items() if goal in name]
    assert met
