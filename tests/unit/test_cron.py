import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from localfaas.cron import Schedules
from localfaas.deployment import FunctionDeployment
from localfaas.registry import Registry
from tests.support.waiting import wait_for

EVERY_SECOND = {"topic": "cron-function", "schedule": "@every 1s"}


class Functions:
    """A function gateway that counts runs, and may hold them or answer an error."""

    def __init__(self) -> None:
        self.runs: list[tuple[str, dict[str, str]]] = []
        self.out: dict[str, int] = {}
        self.most_at_once = 0
        self.released = threading.Event()
        self.released.set()
        self.status = 200
        self._lock = threading.Lock()

    def run(self, name: str, headers: dict[str, str]) -> int:
        with self._lock:
            self.runs.append((name, headers))
            self.out[name] = self.out.get(name, 0) + 1
            self.most_at_once = max(self.most_at_once, self.out[name])
        self.released.wait(10)
        with self._lock:
            self.out[name] -= 1
        return self.status

    def count(self, name: str) -> int:
        with self._lock:
            return sum(one == name for one, _ in self.runs)


@pytest.fixture
def functions() -> Functions:
    return Functions()


@pytest.fixture
def url(functions: Functions) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(functions.run(self.path, dict(self.headers)))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    functions.released.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def schedules(url: str) -> Iterator[Schedules]:
    schedules = Schedules(url)
    schedules.start()
    yield schedules
    schedules.stop()


def deployment(name: str, annotations: dict[str, str]) -> FunctionDeployment:
    return FunctionDeployment(service=name, image="i", annotations=annotations)


def test_a_function_is_invoked_on_its_schedule(schedules: Schedules, functions: Functions) -> None:
    schedules.update("f", EVERY_SECOND)
    wait_for(lambda: functions.count("/function/f") >= 2)
    headers = functions.runs[0][1]
    assert headers["X-Topic"] == "cron-function"
    assert headers["X-Connector"] == "cron-connector"
    assert headers["Content-Length"] == "0"
    assert "Authorization" not in headers


@pytest.mark.parametrize(
    "annotations", [{}, {"schedule": "@every 1s"}, {"topic": "other", "schedule": "@every 1s"}]
)
def test_another_topic_is_not_run(schedules: Schedules, annotations: dict[str, str]) -> None:
    schedules.update("f", annotations)
    assert schedules.scheduled() == {}


def test_one_function_never_runs_twice_at_once(schedules: Schedules, functions: Functions) -> None:
    functions.released.clear()
    schedules.update("slow", EVERY_SECOND)
    wait_for(lambda: functions.count("/function/slow") == 1)
    schedules.update("other", EVERY_SECOND)
    schedules.update("slow", {**EVERY_SECOND, "schedule": "@every 2s"})
    schedules.update("slow", EVERY_SECOND)
    wait_for(lambda: functions.count("/function/other") == 1)
    due = schedules.scheduled()["slow"]
    wait_for(lambda: schedules.scheduled()["slow"] != due)
    assert functions.count("/function/slow") == 1
    functions.released.set()
    wait_for(lambda: functions.count("/function/slow") >= 2)
    assert functions.most_at_once == 1


def test_failures_are_logged_and_the_schedule_goes_on(
    schedules: Schedules, functions: Functions, caplog: pytest.LogCaptureFixture
) -> None:
    functions.status = 503
    schedules.update("f", EVERY_SECOND)
    wait_for(lambda: functions.count("/function/f") >= 2)
    wait_for(lambda: "the scheduled run of f answered 503" in caplog.text)


def test_a_gateway_that_is_away_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    schedules = Schedules("http://127.0.0.1:1")
    schedules.start()
    schedules.update("f", EVERY_SECOND)
    wait_for(lambda: "the scheduled run of f failed" in caplog.text)
    schedules.stop()


def test_a_bad_schedule_is_named_and_others_go_on(
    schedules: Schedules, functions: Functions, caplog: pytest.LogCaptureFixture
) -> None:
    schedules.update("bad", {"topic": "cron-function", "schedule": "* * * * * *"})
    schedules.update("none", {"topic": "cron-function"})
    schedules.update("good", EVERY_SECOND)
    assert list(schedules.scheduled()) == ["good"]
    assert "bad is not run: its schedule '* * * * * *': expected 5 fields" in caplog.text
    assert "none is not run: its schedule ''" in caplog.text
    wait_for(lambda: functions.count("/function/good") >= 1)


def test_an_unchanged_schedule_keeps_its_rhythm(schedules: Schedules) -> None:
    hourly = {"topic": "cron-function", "schedule": "@every 1h"}
    schedules.update("f", hourly)
    due = schedules.scheduled()
    schedules.update("f", {**hourly, "localfaas/port": "8200"})
    assert schedules.scheduled() == due
    schedules.update("f", {**hourly, "schedule": "@every 2h"})
    assert schedules.scheduled() != due


def test_a_repaired_schedule_is_run(schedules: Schedules, caplog: pytest.LogCaptureFixture) -> None:
    schedules.update("f", {"topic": "cron-function", "schedule": "nonsense"})
    schedules.update("f", {"topic": "cron-function", "schedule": "@hourly"})
    assert list(schedules.scheduled()) == ["f"]
    schedules.update("f", {"topic": "cron-function", "schedule": "nonsense"})
    assert schedules.scheduled() == {}


def test_schedules_follow_what_is_deployed(
    schedules: Schedules, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "localfaas.cron")
    registry = Registry(tmp_path / "functions")
    registry.create(deployment("early", EVERY_SECOND), tmp_path)
    schedules.follow(registry)
    registry.create(deployment("late", EVERY_SECOND), tmp_path)
    assert sorted(schedules.scheduled()) == ["early", "late"]
    registry.update(deployment("late", {}), tmp_path)
    registry.delete("early")
    assert schedules.scheduled() == {}
    assert "early is run on the schedule @every 1s" in caplog.text
    assert "early is not run on that schedule any more" in caplog.text


def test_a_run_that_is_out_does_not_hold_up_the_end(schedules: Schedules, functions: Functions) -> None:
    functions.released.clear()
    schedules.update("slow", EVERY_SECOND)
    wait_for(lambda: functions.count("/function/slow") == 1)
    assert all(thread.daemon for thread in threading.enumerate() if thread.name.startswith("cron-"))
    assert any(thread.name == "cron-slow" for thread in threading.enumerate())
