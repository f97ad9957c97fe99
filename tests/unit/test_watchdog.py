"""A command as a function: what it is given, what its caller and the log are told."""

import concurrent.futures
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
import requests
from werkzeug.test import Client, TestResponse

from localfaas import watchdog
from localfaas.watchdog import Watchdog, command_line, seconds
from tests.support.ports import free_offset
from tests.support.waiting import wait_for

ENVIRON = {"PATH": "/usr/bin:/bin", "greeting": "hello"}


def call(*command: str, environ: dict[str, str] | None = None, **request: object) -> TestResponse:
    watchdog = Watchdog(command, ENVIRON | (environ or {}))
    return Client(watchdog).open(**{"method": "POST", "buffered": True, **request})


def variables(**request: object) -> dict[str, str]:
    lines = call("env", **request).get_data(as_text=True).splitlines()
    return dict(line.split("=", 1) for line in lines)


def test_the_body_goes_in_and_what_is_printed_comes_out() -> None:
    body = os.urandom(3_000_000)
    assert call("cat", data=body).data == body


def test_a_command_that_reads_nothing_and_writes_much_is_not_held_up() -> None:
    answer = call("head", "-c", "2000000", "/dev/zero", data=b"x" * 2_000_000)
    assert (answer.status_code, len(answer.data)) == (200, 2_000_000)


def test_the_request_is_in_the_environment() -> None:
    told = variables(
        method="PUT",
        path="/a b/c",
        query_string="x=1&y=%2F",
        data=b"four",
        headers={"X-Two-Words": "b c", "Content-Type": "text/csv", "Host": "shop.example"},
    )
    expected = {
        "greeting": "hello",
        "Http_Method": "PUT",
        "Http_Path": "/a b/c",
        "Http_Query": "x=1&y=%2F",
        "Http_Host": "shop.example",
        "Http_X_Two_Words": "b c",
        "Http_Content_Type": "text/csv",
        "Http_Content_Length": "4",
    }
    assert expected.items() <= told.items()


def test_a_proxy_header_never_becomes_a_proxy_of_the_command() -> None:
    assert not {"Http_Proxy", "HTTP_PROXY", "http_proxy"} & variables(headers={"Proxy": "evil:1"}).keys()


def test_without_a_query_there_is_no_variable_for_it() -> None:
    assert "Http_Query" not in variables(path="/a")


def test_nothing_of_the_request_is_told_when_that_is_switched_off() -> None:
    assert "Http_" not in call("env", environ={"cgi_headers": "false"}).get_data(as_text=True)


def test_two_lines_of_the_log_tell_of_a_request(capfd: pytest.CaptureFixture[str]) -> None:
    call("cat", data=b"four")
    when = r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d"
    expected = rf"{when} Forking fprocess\.\n{when} Wrote 4 Bytes - Duration: 0\.\d+s\n"
    assert re.fullmatch(expected, capfd.readouterr().err)


def test_the_answer_has_the_type_of_the_request_or_the_one_that_is_set() -> None:
    asked = {"content_type": "text/csv", "data": b"a"}
    assert call("cat", **asked).content_type == "text/csv"
    assert (
        call("cat", environ={"content_type": "application/json"}, **asked).content_type == "application/json"
    )
    assert float(call("cat", **asked).headers["X-Duration-Seconds"]) > 0


def test_a_command_that_fails_answers_500_with_what_it_said() -> None:
    answer = call("sh", "-c", "echo out; echo why >&2; exit 3")
    assert (answer.status_code, answer.data) == (500, b"exit status 3\nout\nwhy\n")


def test_a_command_that_is_not_there_answers_500() -> None:
    answer = call("no-such-program")
    assert (answer.status_code, answer.data) == (500, b"no-such-program: No such file or directory\n")


def test_standard_error_may_go_to_the_log_instead(capfd: pytest.CaptureFixture[str]) -> None:
    answer = call("sh", "-c", "echo out; echo why >&2", environ={"combine_output": "false"})
    assert answer.data == b"out\n"
    assert "why" in capfd.readouterr().err


def test_a_command_that_takes_too_long_is_killed() -> None:
    answer = call("sleep", "60", environ={"exec_timeout": "50ms"})
    assert (answer.status_code, answer.data) == (408, b"Killed process.\n")


def test_health_is_answered_without_the_command() -> None:
    assert call("false", method="GET", path="/_/health").data == b"OK"
    assert call("false", method="POST", path="/_/ready").status_code == 405


def test_other_methods_are_refused_as_by_the_watchdog() -> None:
    assert call("cat", method="OPTIONS").status_code == 405


@pytest.mark.parametrize(("text", "expected"), [("5", 5), ("1m30s", 90), ("250ms", 0.25), ("1.5h", 5400)])
def test_durations_are_gos(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["-1", "5 s", "s", "1d", "٣"])
def test_other_durations_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="exec_timeout"):
        seconds(text)


def test_as_a_process_it_answers_at_once_and_finishes_what_it_has_begun(tmp_path: Path) -> None:
    port = 8097 + free_offset()
    (tmp_path / "json.py").write_text("raise RuntimeError('a file of the function')")
    process = subprocess.Popen(
        command_line(["sh", "-c", "test -z $Http_Query || sleep 1; echo $PYTHONPATH"]),
        cwd=tmp_path,
        env={**ENVIRON, "HOST": "127.0.0.1", "PORT": str(port), "PYTHONPATH": str(tmp_path)},
    )
    try:
        url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 20
        while not is_ready(url):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        with concurrent.futures.ThreadPoolExecutor() as pool:
            slow = pool.submit(requests.get, f"{url}/?slow", timeout=20)
            assert requests.get(url, timeout=5).text == f"{tmp_path}\n"  # meanwhile
            while not children(process.pid):
                assert time.monotonic() < deadline
                time.sleep(0.02)
            process.send_signal(signal.SIGTERM)
            assert slow.result().status_code == 200
        assert process.wait(10) == 0
        assert not is_ready(url)
    finally:
        process.kill()
        process.wait()


def test_no_command_outlives_the_watchdog(monkeypatch: pytest.MonkeyPatch) -> None:
    """One without `exec_timeout` may take for ever; what a watchdog is stopped for is told by nobody else."""
    monkeypatch.setattr(watchdog, "serve", lambda application, *_: serve_one(application))
    monkeypatch.setattr(sys, "argv", ["watchdog", "sleep", "600"])
    commands: list[psutil.Process] = []

    def serve_one(application: Watchdog) -> None:
        threading.Thread(target=Client(application).get, daemon=True).start()
        wait_for(lambda: commands.extend(sleeping()) or commands, what="the command")

    def sleeping() -> list[psutil.Process]:
        return [child for child in psutil.Process().children() if child.name() == "sleep"]

    watchdog.main()
    wait_for(lambda: not sleeping(), what="the end of the command")


def test_a_replica_without_a_command_says_so() -> None:
    result = subprocess.run(
        [*command_line([])], env=ENVIRON, capture_output=True, text=True, check=False, timeout=20
    )
    assert result.returncode == 1
    assert "no fprocess" in result.stderr


def is_ready(url: str) -> bool:
    try:
        return requests.get(f"{url}/_/ready", timeout=5).status_code == 200
    except requests.ConnectionError:
        return False


def children(pid: int) -> str:
    return "".join(path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children"))
