"""The template as a process: it serves, stays out of callers' sight, stops gracefully, and leaves nothing behind."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.support.ports import free_port
from tests.support.waiting import wait_for

PROJECT = Path(__file__).resolve().parents[2]
TEMPLATE = PROJECT / "template" / "python3-flask-granian"

HANDLER = """
import threading
import time
from flask import Flask, request

app = Flask(__name__)
state = {"fault": None}

@app.get("/slow")
def slow():
    time.sleep(float(request.args["seconds"]))
    return "done"

meeting = threading.Barrier(3)

@app.get("/meet")
def meet():
    meeting.wait(20)
    return "met"

@app.get("/crash")
def crash():
    import os
    os._exit(3)

@app.post("/size")
def size():
    return {"bytes": len(request.get_data()), "chunked": "chunked" in request.headers.get("Transfer-Encoding", "")}

@app.get("/fault")
def fault():
    state["fault"] = request.args.get("is")
    return "ok"

@app.route("/<path:path>", methods=["GET", "BREW"])
def rest(path):
    return path

def warm_up():
    import os
    print("warming up", flush=True)
    if os.environ.get("warm_up") == "raise":
        raise KeyError("cold")

def ready():
    if state["fault"] == "raise":
        raise KeyError("secret")
    return state["fault"]
"""


@dataclass
class Replica:
    """A running function made from the template."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def get(
        self, path: str, headers: dict[str, str] | None = None, method: str = "GET", timeout: float = 10
    ) -> Answer:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)) as connection:
            connection.putrequest(method, path, skip_accept_encoding=True)
            for name, value in (headers or {}).items():
                connection.putheader(name, value)
            connection.endheaders()
            response = connection.getresponse()
            lowered = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, lowered, response.read())

    def stop(self, signal_number: int = signal.SIGTERM) -> float:
        """Send the signal; the seconds until the process is gone."""
        started = time.monotonic()
        self.process.send_signal(signal_number)
        self.process.wait(20)
        return time.monotonic() - started


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    """The template with a handler of the test's own, as a build lays it out."""
    shutil.copytree(TEMPLATE, tmp_path / "layout")
    (tmp_path / "layout" / "function" / "handler.py").write_text(HANDLER)
    return tmp_path / "layout"


@pytest.fixture
def start(layout: Path, tmp_path: Path) -> Iterator[Callable[..., Replica]]:
    replicas: list[Replica] = []

    def run(port: int | None = None, wait: bool = True, **environ: str) -> Replica:
        chosen = port or free_port()
        log = tmp_path / f"log-{len(replicas)}"
        full = {
            "PATH": os.environ["PATH"],
            "HOST": "127.0.0.1",
            "PORT": str(chosen),
            "LOCALFAAS": "1",
            **environ,
        }
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "index.py"], cwd=layout, env=full, stdout=output, stderr=subprocess.STDOUT
            )
        replica = Replica(process, chosen, log)
        replicas.append(replica)
        if wait:
            wait_for(lambda: listens(chosen), what="a replica that listens")
        return replica

    yield run
    for replica in replicas:
        replica.process.kill()
        replica.process.wait()


def listens(port: int) -> bool:
    with closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_the_sample_of_the_template_answers(layout: Path, start: Callable[..., Replica]) -> None:
    shutil.copy(TEMPLATE / "function" / "handler.py", layout / "function" / "handler.py")
    replica = start(HOSTNAME="hello-1")
    answer = replica.get("/?name=Ada")
    assert (answer.status, answer.body.strip()) == (200, b'{"message":"Hello, Ada!","replica":"hello-1"}')
    assert b'"path":"/any/thing"' in replica.get("/any/thing", method="PATCH").body
    assert (
        replica.get("/_/ready").status
        == replica.get("/_/health").status
        == replica.get("/metrics").status
        == 200
    )


def test_a_file_beside_the_handler_hides_no_module_of_pythons_own(
    layout: Path, start: Callable[..., Replica]
) -> None:
    (layout / "function" / "handler.py").write_text(
        "from flask import Flask\nfrom . import numbers\nimport decimal\n\napp = Flask('x')\n"
        "app.add_url_rule('/', 'root', lambda: numbers.WORD)\n"
    )
    (layout / "function" / "numbers.py").write_text("WORD = 'one'\n")
    assert start().get("/").body == b"one"


def test_a_handler_may_be_made_by_a_factory(layout: Path, start: Callable[..., Replica]) -> None:
    factory = (
        "from flask import Flask\nfrom . import beside\n\ndef create_app(environ):\n    app = Flask('x')\n"
    )
    factory += (
        "    app.add_url_rule('/', 'root', lambda: environ['greeting'] + beside.WORD)\n    return app\n"
    )
    (layout / "function" / "handler.py").write_text(factory)
    (layout / "function" / "beside.py").write_text("WORD = ' there'\n")
    assert start(greeting="hello").get("/").body == b"hello there"


def test_a_handler_that_cannot_start_says_why_in_one_line(
    layout: Path, start: Callable[..., Replica]
) -> None:
    (layout / "function" / "handler.py").write_text(
        "def create_app(environ):\n    raise ValueError('x is not set')\n"
    )
    replica = start(wait=False)
    assert replica.process.wait(10) == 1
    assert replica.log.read_text() == "x is not set\n"


def test_the_time_taken_is_told_where_no_watchdog_is_in_front(start: Callable[..., Replica]) -> None:
    replica, before = start(), time.monotonic()
    told = float(replica.get("/slow?seconds=0.2").headers["x-duration-seconds"])
    assert 0.2 <= told <= time.monotonic() - before


def test_operators_paths_are_hidden_from_callers(shared: Replica) -> None:
    paths = ("/_/health", "/_/ready", "/metrics", "/%5F/health", "/_%2Fhealth", "/_%2fready", "/%6detrics")
    headers = ("X-Forwarded-For", "x-forwarded-host", "X-Forwarded-Proto", "X-Forwarded-Anything")
    for path in paths:
        assert shared.get(path).status == 200, path
        for header in headers:
            assert shared.get(path, {header: "1"}).status == 404, (path, header)


def test_only_these_paths_are_the_operators(shared: Replica) -> None:
    for path in (
        "/_/healthy",
        "/_/",
        "//_/health",
        "/_/health/",
        "/x/_/health",
        "/metrics/",
        "/_/%68ealth/..",
    ):
        answer = shared.get(path, {"X-Forwarded-For": "1"})
        assert answer.body != b"OK", path
        assert b"# HELP" not in answer.body, path


def test_operators_paths_take_no_other_method(shared: Replica) -> None:
    assert shared.get("/_/health", method="POST").status == 405
    assert shared.get("/_/health", method="HEAD").status == 200


def test_any_method_reaches_the_handler(shared: Replica) -> None:
    assert shared.get("/x", method="BREW").body == b"x"


def test_bodies_arrive_with_and_without_a_length(shared: Replica) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", shared.port, timeout=10)) as connection:
        connection.request("POST", "/size", body=b"x" * 100_000)
        assert connection.getresponse().read().strip() == b'{"bytes":100000,"chunked":false}'
        connection.request("POST", "/size", body=iter([b"x" * 70_000, b"y"]), encode_chunked=True,
                           headers={"Transfer-Encoding": "chunked"})  # fmt: skip
        assert connection.getresponse().read().strip() == b'{"bytes":70001,"chunked":true}'


def test_readiness_is_what_the_handler_says(start: Callable[..., Replica]) -> None:
    replica = start()
    replica.get("/fault?is=no%20stock")
    answer = replica.get("/_/ready")
    assert (answer.status, answer.body) == (503, b"not ready: no stock\n")
    assert replica.get("/_/health").status == 200
    replica.get("/fault?is=raise")
    answer = replica.get("/_/ready")
    assert answer.status == 503
    assert b"secret" not in answer.body


@pytest.fixture
def shared(start: Callable[..., Replica]) -> Replica:
    return start()


def test_threads_are_as_many_as_asked_for(start: Callable[..., Replica]) -> None:
    replica = start(threads="3")
    answers = in_background(lambda: replica.get("/meet", timeout=30).status, count=3)
    assert answers() == [200] * 3, "each is answered when all three are being worked on"


def in_background(call: Callable[[], int], count: int = 1) -> Callable[[], list[int]]:
    """Start `count` calls; the returned function waits for their results."""
    results: list[int] = []
    threads = [threading.Thread(target=lambda: results.append(call())) for _ in range(count)]
    for thread in threads:
        thread.start()

    def finish() -> list[int]:
        for thread in threads:
            thread.join()
        return results

    return finish


def busy(replica: Replica) -> bool:
    return any(
        connection.status == "ESTABLISHED"
        for connection in psutil.Process(replica.process.pid).net_connections()
    )


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
def test_requests_in_flight_and_waiting_are_finished_before_the_end(
    start: Callable[..., Replica], signal_number: int
) -> None:
    replica = start()
    answers = in_background(lambda: replica.get("/slow?seconds=0.7").status, count=3)
    connections = psutil.Process(replica.process.pid).net_connections
    wait_for(
        lambda: sum(one.status == "ESTABLISHED" for one in connections()) == 3,
        what="the arrival of the requests",
    )
    assert replica.stop(signal_number) < 5
    assert answers() == [200] * 3
    assert replica.process.returncode == 0


def test_idle_connections_do_not_delay_the_end(start: Callable[..., Replica]) -> None:
    replica = start()
    with closing(http.client.HTTPConnection("127.0.0.1", replica.port, timeout=10)) as idle:
        idle.request("GET", "/x")
        assert idle.getresponse().read() == b"x"
        assert replica.stop() < 2
    assert replica.process.returncode == 0


def test_a_second_signal_does_no_harm(start: Callable[..., Replica]) -> None:
    replica = start()
    answers = in_background(lambda: replica.get("/slow?seconds=0.5").status)
    wait_for(lambda: busy(replica), what="the arrival of the request")
    replica.process.send_signal(signal.SIGTERM)
    assert replica.stop() < 5
    assert answers() == [200]


def test_behind_a_watchdog_it_serves_as_long_as_the_watchdog_does(start: Callable[..., Replica]) -> None:
    replica = start(upstream_url="http://127.0.0.1:5000", healthcheck_interval="500ms", LOCALFAAS="")
    replica.process.send_signal(signal.SIGTERM)
    wait_for(lambda: replica.get("/_/ready").status == 503, what="that it says that it stops")
    assert replica.get("/x").status == 200
    replica.process.wait(10)
    assert replica.process.returncode == 0


def test_killing_it_leaves_no_process_and_frees_the_port(start: Callable[..., Replica]) -> None:
    replica = start()
    assert psutil.Process(replica.process.pid).children(recursive=True) == []
    replica.stop(signal.SIGKILL)
    wait_for(lambda: not listens(replica.port), what="that nothing listens any more")
    assert start(port=replica.port).get("/x").status == 200


def test_a_crash_in_the_handler_ends_the_process(start: Callable[..., Replica]) -> None:
    replica = start()
    with pytest.raises((http.client.HTTPException, OSError)):
        replica.get("/crash")
    assert replica.process.wait(10) == 3


def test_a_taken_port_is_said_in_one_line(start: Callable[..., Replica]) -> None:
    replica = start()
    second = start(port=replica.port, wait=False)
    assert second.process.wait(10) == 1
    assert second.log.read_text() == f"port {replica.port} on 127.0.0.1 is taken by another process\n"


def test_the_template_asks_for_the_locked_versions() -> None:
    locked = dict(
        re.findall(r"^([a-z0-9-]+)==([^ ]+)", (PROJECT / "requirements.lock").read_text(), re.MULTILINE)
    )
    files = [TEMPLATE / "requirements.txt", *(PROJECT / "functions").glob("*/requirements.txt")]
    wanted = [
        line for file in files for line in file.read_text().splitlines() if line and not line.startswith("#")
    ]
    assert wanted
    for line in wanted:
        match = re.fullmatch(r"([a-z0-9-]+)(\[[a-z]+\])?==(\S+)", line)
        assert match, f"{line} is not pinned"
        assert locked[match[1]] == match[3]


@pytest.mark.parametrize("how", ["well", "raise"])
def test_it_warms_up_before_it_listens_and_serves_even_where_that_fails(
    start: Callable[..., Replica], how: str
) -> None:
    replica = start(warm_up=how)
    assert replica.log.read_text().startswith("warming up")
    assert ("the warm-up failed" in replica.log.read_text()) == (how == "raise")
    assert replica.get("/_/ready").status == 200
