"""localfaas with a project that is not the shop: what it promises for any OpenFaaS functions."""

import concurrent.futures
import json
import os
import shutil
import signal
import socket
import subprocess
from dataclasses import replace

import pytest
import requests

from localfaas.supervisor import Supervisor
from tests.support.leaks import check_gone, held
from tests.support.platform import discard, listening, new_platform, steady_load
from tests.support.ports import free_offset
from tests.support.waiting import wait_for

pytestmark = pytest.mark.e2e


def available(platform, function):
    """Replicas of a function that take traffic, as status sees them."""
    rows = platform.processes().values()
    return sorted(
        row["program"]
        for row in rows
        if row["program"].startswith(f"{function}-") and row["traffic"] == "yes"
    )


def scaled(platform, function, count):
    platform.run("scale", function, str(count))
    wait_for(lambda: len(available(platform, function)) == count, 30, f"{function} at {count} replicas")


def test_up_again_leaves_every_process_alone(small):
    before = {name: row["pid"] for name, row in small.processes().items()}
    small.run("up")
    assert {name: row["pid"] for name, row in small.processes().items()} == before


def test_up_again_has_prometheus_take_changed_rules_and_refuse_faulty_ones(small):
    if "prometheus" not in small.processes():
        pytest.skip("neither a Prometheus on PATH nor Debian's package is to be had here")

    def recorded():
        groups = requests.get(small.settings.url("prometheus") + "/api/v1/rules", timeout=10).json()["data"]
        return [rule["name"] for group in groups["groups"] for rule in group["rules"]]

    def write(text):
        path = small.project / "monitoring" / "prometheus" / "rules" / "own.yml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"groups: [{{name: own, rules: [{text}]}}]")

    pid = small.processes()["prometheus"]["pid"]
    write("{record: 'own:one', expr: up}")
    small.run("up")
    assert recorded() == ["own:one"]
    write("{record: 'own:two', expr: 'sum(up'}")
    refused = small.run("up", check=False)
    assert refused.returncode == 1
    assert "monitoring/prometheus/rules/own.yml" in refused.stderr
    assert recorded() == ["own:one"]
    assert small.processes()["prometheus"]["pid"] == pid
    write("{record: 'own:three', expr: sum(up)}")
    small.run("up")
    assert recorded() == ["own:three"]


def test_no_page_from_elsewhere_reads_prometheus_or_ends_it(small):
    if "prometheus" not in small.processes():
        pytest.skip("neither a Prometheus on PATH nor Debian's package is to be had here")
    url = small.settings.url("prometheus")

    def who_may_read(origin):
        question = requests.get(f"{url}/api/v1/query?query=up", headers={"Origin": origin}, timeout=10)
        return question.headers.get("Access-Control-Allow-Origin")

    assert who_may_read("https://evil.example") is None
    assert who_may_read("http://localhost.evil.example:8011") is None
    assert who_may_read("http://localhost:8011") == "http://localhost:8011"
    for path in ("/-/quit", "/-/reload"):
        assert requests.post(url + path, timeout=10).status_code == 403


def test_the_edge_listens_at_the_address_that_bind_names_and_all_else_at_home(small):
    platform = new_platform(small.project)
    platform.bind = "127.0.0.2"
    try:
        shown = platform.run("up").stdout
        assert f"http://127.0.0.2:{platform.settings.port('edge')}" in shown
        assert requests.get(platform.edge("/api/echo"), timeout=10).ok
        elsewhere = {port for address, port in listening(platform) if address != "127.0.0.1"}
        assert elsewhere == {platform.settings.port("edge"), platform.settings.port("edge-tls")}
        assert {address for address, _ in listening(platform)} == {"127.0.0.1", "127.0.0.2"}
        assert "127.0.0.2" in platform.run("doctor", check=False).stdout
    finally:
        discard(platform)


def test_up_ends_with_the_addresses_and_what_to_try(small):
    output = small.run("up").stdout
    assert small.settings.url("edge") in output
    assert "curl it" in output
    assert "\x1b" not in output


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("hop", ["edge", "gateway"])
def test_function_is_called_with_its_own_path(small, hop, method):
    url = small.edge("/api/echo/a/b?x=1") if hop == "edge" else small.gateway("/function/echo/a/b?x=1")
    answer = requests.request(method, url, data="body" if method != "GET" else None, timeout=10).json()
    assert (answer["method"], answer["path"], answer["query"]) == (method, "a/b", "x=1")
    assert answer["body"] == ("body" if method != "GET" else "")


def test_function_sees_its_environment_and_only_its_secrets(small):
    answer = requests.get(small.edge("/api/echo"), timeout=10).json()
    assert answer["greeting"] == "hello"
    assert answer["secrets"] == {"echo-word": "open-sesame"}
    assert answer["replica"] == "echo-1"


def test_command_is_a_function(small):
    body = os.urandom(300_000)
    answer = requests.post(small.gateway("/function/cat"), data=body, timeout=10)
    assert answer.content == body
    assert float(answer.headers["X-Duration-Seconds"]) > 0
    wait_for(
        lambda: f"Wrote {len(body)} Bytes - Duration: " in small.run("logs", "cat").stdout, 10, "its line"
    )


def test_listed_image_is_a_function_that_is_told_of_the_request(small):
    answer = requests.put(
        small.gateway("/function/env/a/b?x=1"), data="y", headers={"X-Why": "z"}, timeout=10
    )
    told = dict(line.split("=", 1) for line in answer.text.splitlines())
    request = {"Http_Method": "PUT", "Http_Path": "/a/b", "Http_Query": "x=1", "Http_X_Why": "z"}
    assert (request | {"greeting": "salut", "HOSTNAME": "env-1"}).items() <= told.items()


def test_official_handler_finds_its_request_and_its_secret(small):
    if subprocess.run(["unshare", "--mount", "--map-root-user", "true"], check=False).returncode != 0:
        pytest.skip("this machine allows no mount namespaces")
    answer = requests.post(small.gateway("/function/greet/a/b?name=Zoé"), data="body", timeout=10)
    assert (answer.status_code, answer.headers["X-Kind"]) == (201, "greeting")
    expected = {"word": "open-sesame", "replica": "greet-1", "body": "body", "path": "/a/b", "name": "Zoé"}
    assert answer.json() == expected


def test_image_is_deployed_by_its_name_and_an_unknown_one_is_refused(small):
    def deploy(image):
        body = {"service": "by-name", "image": image}
        url = small.gateway("/system/functions")
        return requests.post(url, json=body, auth=("admin", small.password()), timeout=10)

    refused = deploy("example.test/nosuch:1")
    assert (refused.status_code, "is not known here" in refused.text) == (400, True)
    assert deploy("other.test/somebody/env").status_code == 202
    wait_for(lambda: requests_ok(small.gateway("/function/by-name")), 20, "the function")
    small.run("remove", "by-name")
    wait_for(lambda: "by-name-1" not in small.processes(), 20, "the end of its replica")


def test_status_tells_state_pid_port_uptime_restarts_and_memory(small):
    shown = json.loads(small.run("status", "--json").stdout)
    row = next(row for row in shown if row["program"] == "echo-1")
    assert row["state"] == "RUNNING"
    assert row["port"] == 8002 + small.offset
    assert row["pid"] > 0
    assert row["rss_bytes"] > 10**6
    assert {"uptime_seconds", "restarts"} <= row.keys()


def test_status_says_that_the_rate_limits_are_off(small):
    assert "Rate limits are off (RATE_LIMITS=off)" in small.run("status").stdout


def test_scaling_up_and_down_under_load_loses_no_request(small):
    with (
        steady_load(small.edge("/api/slow?ms=5")) as through_edge,
        steady_load(small.gateway("/function/slow?ms=5")) as direct,
    ):
        assert "slow goes to 5 replicas" in small.run("scale", "slow", "9").stdout, "as many as there may be"
        wait_for(lambda: len(available(small, "slow")) == 5, what="five replicas of slow")
        wait_for(lambda: len(through_edge.served_by) == 5, 20, "five replicas that answer")
        scaled(small, "slow", 1)
    assert through_edge.failed == 0, through_edge.failures[:3]
    assert direct.failed == 0, direct.failures[:3]
    assert len(through_edge.served_by) == 5


def test_deploying_again_replaces_every_replica_without_losing_a_request(small):
    scaled(small, "slow", 2)
    before = small.processes()
    with steady_load(small.gateway("/function/slow?ms=5")) as load:
        small.run("deploy", "slow")
        wait_for(
            lambda: (
                available(small, "slow") == ["slow-1", "slow-2"]
                and all(
                    small.processes()[name]["pid"] != before[name]["pid"] for name in ("slow-1", "slow-2")
                )
            ),
            40,
            "the rolling replacement",
        )
    assert load.failed == 0, load.failures[:3]
    scaled(small, "slow", 1)


def test_scale_out_of_range_is_brought_into_it(small):
    small.run("scale", "slow", "9")
    wait_for(lambda: len(available(small, "slow")) == 5, 30, "five replicas, the limit")
    small.run("scale", "slow", "0")
    wait_for(lambda: len(available(small, "slow")) == 1, 30, "one replica, the least")


def test_killed_api_stops_no_traffic(small):
    pid = small.processes()["api"]["pid"]
    with steady_load(small.edge("/api/echo")) as load:
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: requests_ok(small.gateway("/healthz")), 30, "the API")
        wait_for(lambda: load.statuses[200] > 20, 20, "twenty answers")
    assert load.failed == 0, load.failures[:3]


@pytest.mark.parametrize("program", ["echo-1", "edge", "gateway"])
def test_killed_process_comes_back_and_traffic_resumes(small, program):
    pid = small.processes()[program]["pid"]
    os.kill(pid, signal.SIGKILL)
    wait_for(
        lambda: small.processes().get(program, {}).get("pid") not in (0, pid, None), 30, f"{program} again"
    )
    wait_for(lambda: requests_ok(small.edge("/api/echo")), 30, "traffic")
    assert small.processes()[program]["restarts"] >= 1


def test_killed_supervisord_is_repaired_by_up(small):
    pid = int((small.settings.run / "supervisord.pid").read_text())
    os.kill(pid, signal.SIGKILL)
    told = small.run("doctor", check=False)
    assert told.returncode == 1
    assert "supervisord is gone without having been stopped" in told.stdout
    assert "processes run without supervisord: " in told.stdout
    small.run("up")
    assert requests_ok(small.edge("/api/echo"))
    wait_for(
        lambda: {row["state"] for row in small.processes().values()} == {"RUNNING"}, 10, "everything running"
    )


def test_request_in_flight_survives_down_and_nothing_else_does_and_up_makes_builds_that_were_deleted(small):
    before = held(small.settings)
    assert {small.settings.port("edge"), small.settings.port("gateway")} <= before.ports
    with concurrent.futures.ThreadPoolExecutor() as pool:
        slow = pool.submit(requests.get, small.edge("/api/slow?ms=2000"), timeout=30)
        wait_for(slow.running)
        wait_for(lambda: in_flight(small), what="the request in flight")
        small.run("down")
        assert slow.result().status_code == 200
    assert small.run("status", check=False).returncode == 1
    check_gone(small.settings, before)
    shutil.rmtree(small.settings.builds)
    small.run("up")
    assert requests_ok(small.edge("/api/echo"))
    assert available(small, "slow") == ["slow-1"]


def test_up_after_down_brings_everything_to_the_ports_that_are_asked_for_now(small):
    small.run("down")
    moved = replace(small, offset=free_offset())
    try:
        moved.run("up")
        assert requests.get(moved.edge("/api/echo"), timeout=10).json()["gateway"] == moved.gateway("")
        assert moved.processes()["echo-1"]["port"] == 8002 + moved.offset
    finally:
        moved.run("down")
        small.run("up")


def test_what_an_interrupted_down_has_stopped_is_started_by_up(small):
    supervisor = Supervisor(small.settings)
    for name in ("api", "echo-1"):  # in this order, and by no end of supervisord
        supervisor.stop(name)
        supervisor.wait_stopped([name], 30)
    small.run("up")
    assert requests_ok(small.edge("/api/echo"))
    assert available(small, "echo") == ["echo-1"]


def test_two_ups_at_once_start_one_platform(small):
    other = new_platform(small.project)
    try:
        with concurrent.futures.ThreadPoolExecutor() as pool:
            ups = [pool.submit(other.run, "up") for _ in range(2)]
            told = [up.result().stdout for up in ups]
        assert requests_ok(other.edge("/api/echo"))
        assert sum("Waiting for another" in text for text in told) == 1
    finally:
        discard(other)


def test_up_returns_when_what_it_deployed_serves(small):
    path = small.project / "stack.yml"
    good = path.read_text()
    path.write_text(good.replace("GREETING:-hello", "GREETING:-bonjour"))
    try:
        small.run("up")
        assert requests.get(small.edge("/api/echo"), timeout=10).json()["greeting"] == "bonjour"
    finally:
        path.write_text(good)
        small.run("up")


def test_taken_port_is_named_with_its_holder(small):
    other = new_platform(small.project)
    try:
        with socket.socket() as holder:
            holder.bind(("127.0.0.1", other.settings.port("edge")))
            holder.listen()
            result = other.run("up", check=False)
        assert result.returncode == 1
        assert f"port {other.settings.port('edge')} (edge) is taken" in result.stderr
        assert f"pid {os.getpid()}" in result.stderr
    finally:
        discard(other)


def test_bad_kong_file_is_refused_and_the_old_one_goes_on(small):
    path = small.project / "kong" / "kong.yml"
    good = path.read_text()
    path.write_text(good.replace("retries: 3", "retires: 3"))
    try:
        result = small.run("edge-reload", check=False)
        assert result.returncode == 1
        assert "retires" in result.stderr
        assert "unknown field" in result.stderr
        assert requests_ok(small.edge("/api/echo"))
    finally:
        path.write_text(good)
    small.run("edge-reload")


def test_reloaded_route_answers(small):
    path = small.project / "kong" / "kong.yml"
    good = path.read_text()
    path.write_text(good.replace("~/api/echo($|/)", "~/other($|/)"))
    try:
        told = small.run("edge-reload").stdout
        assert "~ route echo: paths" in told
        wait_for(lambda: requests_ok(small.edge("/other")), 20, "the new route")
        assert requests.get(small.edge("/api/echo"), timeout=10).status_code == 404
    finally:
        path.write_text(good)
        small.run("edge-reload")
    wait_for(lambda: requests_ok(small.edge("/api/echo")), 20, "the old route")


def test_scheduled_function_is_called(small):
    calls = wait_for(
        lambda: requests.get(small.gateway("/function/slow"), timeout=10).json()["calls"], 30, "a call"
    )
    wait_for(
        lambda: requests.get(small.gateway("/function/slow"), timeout=10).json()["calls"] > calls,
        30,
        "another",
    )


def test_function_is_new_then_changed_then_broken_then_mended(small):
    small.run("new", "hello")
    small.run("deploy", "hello")
    wait_for(lambda: requests_ok(small.edge("/api/hello")), 60, "the new function")
    handler, address = small.project / "functions/hello/handler.py", small.gateway("/function/hello")
    good = handler.read_text()
    handler.write_text(good.replace("Hello", "Salut"))
    small.run("deploy", "hello")
    assert "Salut" in requests.get(address, timeout=10).text, "it is served once deploy has returned"
    handler.write_text("no Python at all")
    broken = small.run("deploy", "hello", check=False)
    assert broken.returncode == 1
    assert "hello-6 ends whenever it is started" in broken.stderr
    assert "SyntaxError: invalid syntax" in broken.stderr, "the end of its log"
    assert "Salut" in requests.get(address, timeout=10).text, "the one before goes on"
    handler.write_text(good)
    small.run("deploy", "hello")
    assert "Hello" in requests.get(address, timeout=10).text
    small.run("remove", "hello")
    wait_for(
        lambda: requests.get(small.gateway("/function/hello"), timeout=10).status_code == 404, 10, "its end"
    )
    wait_for(lambda: "hello-1" not in small.processes(), 20, "the end of its replica")
    shutil.rmtree(small.project / "functions" / "hello")


def test_logs_of_a_replica_are_shown(small):
    assert "echo is here" in small.run("logs", "echo").stdout
    missing = small.run("logs", "nosuch", check=False)
    assert missing.returncode == 1
    assert "echo-1" in missing.stderr


def test_invoke_sends_standard_input(small):
    result = small.run("invoke", "echo", input="from stdin")
    assert json.loads(result.stdout)["body"] == "from stdin"


def requests_ok(url):
    try:
        return requests.get(url, timeout=10).status_code == 200
    except requests.RequestException:
        return False


def in_flight(platform):
    from localfaas.envoy import admin_request

    stats = admin_request(platform.settings.envoy_admin_socket("edge"), "GET", "/stats?filter=rq_active")
    return any(line.startswith("cluster.") and not line.endswith(": 0") for line in stats.splitlines())
