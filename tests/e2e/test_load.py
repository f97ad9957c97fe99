"""The load tests against a whole shop, briefly: both journeys, the comparison of hops, a replay, the guided tour; and some that must fail."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import requests

from tests.experiments.common.k6 import binary
from tests.load.demo import __main__ as demo
from tests.load.people import told
from tests.load.replay import main as replay
from tests.load.running import FOLDER, RULES_BROKEN
from tests.load.scenario import FILE, load
from tests.support.effort import LONG
from tests.support.platform import PROJECT, Deployed, Platform

pytestmark = pytest.mark.e2e


@dataclass(frozen=True)
class Run:
    """What came of k6: its exit code, its metrics, what it said."""

    code: int
    metrics: Mapping[str, Any]
    said: str


@pytest.fixture(autouse=True, scope="module")
def _without_limits(shop: Platform) -> None:
    if isinstance(shop, Deployed):
        pytest.skip("loads the shop beyond the edge's limits on rates, which are off on one machine alone")


REFUSED = (107, 108)
"""k6's exit codes when a script throws, or ends the run."""


def k6(shop: Platform, script: str, folder: Path, **environment: str) -> Run:
    """Run a script against the shop."""
    summary = folder / f"{uuid4()}.json"
    everything = {"BASE": shop.edge(""), **shop.environment(), **environment, "SUMMARY": str(summary)}
    done = subprocess.run(
        [str(binary()), "run", "--quiet", "--no-usage-report", "--address=", str(FOLDER / script)],
        env=everything, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    metrics = json.loads(summary.read_text())["metrics"] if summary.exists() else {}
    return Run(done.returncode, metrics, done.stdout + done.stderr)


@pytest.fixture(scope="module")
def runs(shop: Platform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Run]]:
    """Both journeys and the comparison, side by side."""
    folder, tokens = tmp_path_factory.mktemp("load"), told(shop.environment(), shop.edge(""))
    few = {"ROUNDS": "1", "SECONDS": "1", "READS": "10"}
    with ThreadPoolExecutor() as pool:
        running = {
            "shop": pool.submit(k6, shop, "k6-test.js", folder),
            "store_day": pool.submit(k6, shop, "k6-test.js", folder, **tokens, JOURNEY="store_day"),
            "compare": pool.submit(k6, shop, "load_test.js", folder, **few),
        }
        yield {name: run.result() for name, run in running.items()}


@pytest.mark.parametrize("journey", load().journeys)
def test_journey_goes_well_and_comes_when_due(runs: dict[str, Run], journey: str):
    run = runs[journey]
    assert run.code == 0, run.said
    names = {ask.name for visit in load().journeys[journey].values() for ask in load().asks(visit)}
    asked = {name: run.metrics[f"http_req_duration{{name:{name}}}"]["values"]["count"] for name in names}
    assert all(asked.values()), asked
    assert run.metrics["checks"]["values"]["rate"] == 1


def test_hops_are_compared(runs: dict[str, Run]):
    run = runs["compare"]
    assert run.code == 0, run.said
    for arm in ("direct", "gateway", "edge"):
        for kind in ("read", "mix"):
            assert run.metrics[f"took{{arm:{arm},kind:{kind}}}"]["values"]["count"] >= 10
    assert "edge less direct" in run.said


def test_wrong_answer_fails_the_run(shop: Platform, tmp_path: Path):
    document = json.loads(FILE.read_text())
    document["actions"]["view"][0]["path"] = "/api/products/1"  # there, and not what was asked for
    document["journeys"]["shop"] = {"look": {"of_100": 100, "actions": ["view"]}}
    document["shapes"]["smoke"] = [{"seconds": 1, "from": 10, "to": 10}]
    planted = tmp_path / "planted.json"
    planted.write_text(json.dumps(document))
    run = k6(shop, "k6-test.js", tmp_path, SCENARIO=str(planted))
    assert run.code == RULES_BROKEN, run.said
    assert 0 < run.metrics["checks"]["values"]["rate"] < 1
    assert "GET /api/products/{product_id} has sku" in run.said


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"BASE": "http://localhost.example:80"}, "not on this machine"),
        ({"BASE": "http://127.0.0.1:1"}, "RATE_LIMITS=off make up"),
        ({"JOURNEY": "store_day"}, "make -s token role=staff"),
        ({"SHAPE": "flood"}, "smoke, steady, ramp"),
    ],
)
def test_load_is_refused_with_what_to_do(
    shop: Platform, tmp_path: Path, environment: dict[str, str], says: str
):
    run = k6(shop, "k6-test.js", tmp_path, **environment)
    assert run.code in REFUSED
    assert says in run.said


def test_sales_of_a_file_are_replayed_and_one_that_leaves_late_rejects_the_run(
    shop: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    file = tmp_path / "retail.csv"
    file.write_text(
        "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice\n"
        "1,85123A,HEART,6,2010-12-01 08:26,2.55\n1,71053,LANTERN,60,2010-12-01 08:26,3.39\n"
        "2,71053,LANTERN,2,2010-12-01 08:27,3.39\n3,85123A,HEART,30,2010-12-01 08:27,2.55\n"
    )
    for name, value in shop.environment().items():
        monkeypatch.setenv(name, value)
    arguments = [str(file), "--speed", "120", "--summary", str(tmp_path / "replay.json")]
    assert replay([*arguments, "--late-ms", "1000"]) == 0
    assert "3 of 3 sales" in capfd.readouterr().out
    monkeypatch.setattr("tests.load.replay.users", lambda times: 1)
    assert replay([*arguments, "--late-ms", "0.001"]) == RULES_BROKEN
    assert "late_sends count==0" in capfd.readouterr().out


@contextmanager
def touring(shop: Platform, summary: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """`make demo` in a process of its own, which can be sent signals."""
    command = [sys.executable, "-m", "tests.load.demo", "--summary", str(summary), *arguments]
    with subprocess.Popen(
        command, cwd=PROJECT, env=shop.environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as tour:  # fmt: skip
        try:
            yield tour
        finally:
            tour.kill()


def replicas_of_cart(shop: Platform) -> set[str]:
    return {
        name for name, row in shop.processes().items() if name.startswith("cart-") and row["traffic"] == "yes"
    }


SCENES = {scene.name for scene in demo.SCENES}
TOURED = SCENES if LONG else {"kill", "last"}
"""All of them with VERIFY=1; below, `scale` is stopped and `once` made to fail."""


def tour_of(
    shop: Platform, patch: pytest.MonkeyPatch, summary: Path, scenes: set[str]
) -> tuple[int, dict[str, Any]]:
    """Exit code and sum of `make demo` in this process, where nobody sits at a terminal."""
    for name, value in shop.environment().items():
        patch.setenv(name, value)
    chosen = [word for scene in scenes for word in ("--scene", scene)]
    return demo.main(["--fast", *chosen, "--summary", str(summary)]), json.loads(summary.read_text())


def test_tour_shows_what_it_tells_and_leaves_all_as_it_was(
    shop: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    before = shop.processes()
    code, found = tour_of(shop, monkeypatch, tmp_path / "demo.json", TOURED)
    said = capsys.readouterr().out
    assert code == 0, said
    assert "\x1b" not in said
    assert found["scenes"].keys() == {"before", *TOURED, "after"}
    for name, its in found["scenes"].items():
        assert its["sent"] == its["answered"] + its["unanswered"] == sum(its["statuses"].values()) > 0, name
        assert its["failed"] <= its["sent"], name
    answered = sum(its["answered"] for its in found["scenes"].values())
    assert found["edge_counted"] == answered, "nobody else asks this edge"
    assert f"= {answered:,} answered" in said
    assert {claim["scene"] for claim in found["claims"]} == {*TOURED, "sum"}
    after = shop.processes()
    assert after.keys() == before.keys()
    killed = [name for name in before if before[name]["pid"] != after[name]["pid"]]
    assert [name.rpartition("-")[0] for name in killed] == ["cart"]
    assert requests.get(shop.edge("/api/products?q=TOUR-"), timeout=10).json()["items"] == []


def test_tour_that_is_stopped_takes_back_what_it_has_done(shop: Platform, tmp_path: Path):
    before, summary = replicas_of_cart(shop), tmp_path / "demo.json"
    with touring(shop, summary, "--scene", "scale", "--seconds", "60") as tour:
        assert tour.stdout
        lines = list(takewhile(lambda line: "n=5" not in line, tour.stdout))
        tour.send_signal(signal.SIGINT)
        said = "".join([*lines, *tour.stdout])
    assert tour.wait() == demo.STOPPED, said
    assert "Stopped before its end" in said
    assert json.loads(summary.read_text())["stopped"]
    assert replicas_of_cart(shop) == before


def test_tour_in_which_nothing_is_lost_is_not_as_told(
    shop: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("tests.load.demo.buying.CARD_LOST", "tok_ok")
    code, found = tour_of(shop, monkeypatch, tmp_path / "demo.json", {"once"})
    said = capsys.readouterr().out
    assert code == demo.NOT_AS_TOLD, said
    assert "✗ the provider's answer was not lost" in said
    assert [claim["claim"][:21] for claim in found["claims"] if not claim["holds"]] == [
        "the provider's answer"
    ]
