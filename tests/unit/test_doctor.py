"""`localfaas doctor`: each check finds the fault that is planted for it, and says what to do next."""

from __future__ import annotations

import json
import os
import resource
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path

import psutil
import pytest
import requests
from rich.console import Console

from localfaas.build import build
from localfaas.deployment import validate
from localfaas.doctor import (
    CHECKS,
    Check,
    books,
    database,
    examine,
    files,
    functions,
    machine,
    processes,
    run,
    watching,
)
from localfaas.doctor.finding import Finding, NotLookedAt, State, shortened, well, wrong
from localfaas.doctor.installation import Installation
from localfaas.edge.certificate import ensure_certificate
from localfaas.gateway import forget_endpoints, write_endpoints
from localfaas.ports import listeners
from localfaas.registry import Desired, Registry
from localfaas.replicas import Lack, lacking
from localfaas.settings import Settings
from localfaas.stack import load_stack
from localfaas.supervisor import PLATFORM_MARK, Process, Program, starts_file, write_program
from localfaas.up import OWN_SECRETS

PROJECT = Path(__file__).parents[2]
STACK = """
provider: {name: openfaas}
functions:
  echo:
    lang: python3-flask-granian
    handler: ./functions/echo
    image: echo:1
    environment: {greeting: hello}
    secrets: [word]
    annotations: {localfaas/port: "8002"}
"""
KONG = """
_format_version: "3.0"
services:
  - name: echo
    url: http://gateway.openfaas:8080/function/echo
    routes: [{name: echo, paths: [/api/echo]}]
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A small project, never started."""
    project = tmp_path / "project"
    (project / "functions" / "echo").mkdir(parents=True)
    (project / "functions" / "echo" / "handler.py").write_text("app = None\n")
    (project / "template").symlink_to(PROJECT / "template")
    (project / "kong").mkdir()
    (project / "kong" / "kong.yml").write_text(KONG)
    (project / "stack.yml").write_text(STACK)
    return Settings(project=project, state=project / ".local", port_offset=31000)


@pytest.fixture
def installation(settings: Settings) -> Iterator[Installation]:
    found = Installation(settings, {})
    yield found
    found.close()


def made_secrets(settings: Settings) -> Path:
    settings.secrets.mkdir(parents=True, mode=0o700)
    for name in (*OWN_SECRETS, "word"):
        (settings.secrets / name).touch(mode=0o600)
        (settings.secrets / name).write_text("x")
    return settings.secrets


def faults(findings: object) -> list[str]:
    """What is wrong, each with something to do."""
    assert isinstance(findings, (list, Iterator))
    found: list[Finding] = [one for one in findings if one.state is State.WRONG]
    assert all(one.remedy for one in found)
    return [one.found for one in found]


def test_names_of_checks_are_told_apart() -> None:
    names = [check.name for check in CHECKS]
    assert len(set(names)) == len(names)


def test_platform_that_was_never_started_is_told_so_and_nothing_fails(installation: Installation) -> None:
    found = list(examine(installation, CHECKS))
    assert {name for name, _ in found} == {check.name for check in CHECKS}
    assert not [one for _, one in found if "could not be looked at" in one.found]
    assert dict(found)["supervisord"] == wrong("the platform was never started here", "`localfaas up`")
    assert dict(found)["project's files"].state is State.WELL
    assert dict(found)["functions"] == Finding(State.NOT_LOOKED_AT, "the platform is not running")
    assert not installation.settings.state.exists()


def test_check_that_fails_is_a_row_and_the_others_are_made(installation: Installation) -> None:
    def fails(_: Installation) -> list[Finding]:
        raise RuntimeError("a file\nis damaged")

    rows = list(examine(installation, [Check("one", fails), Check("two", lambda _: [well("is well")])]))
    assert [finding.state for _, finding in rows] == [State.WRONG, State.WELL]
    assert rows[0][1].found == "could not be looked at: RuntimeError: a file is damaged"


@pytest.mark.parametrize(
    ("planted", "code"), [(wrong("it is broken", "`mend it`"), 1), (well("it is whole"), 0)]
)
def test_table_and_exit_code_tell_what_was_found(
    settings: Settings, capsys: pytest.CaptureFixture[str], planted: Finding, code: int
) -> None:
    checks = [Check("a part", lambda _: [planted])]
    output = StringIO()
    assert run(settings, {}, Console(file=output, highlight=False), as_json=False, checks=checks) == code
    lines = output.getvalue().splitlines()
    assert lines[0].split() == ["check", "found", "what", "to", "do"]
    assert planted.found in lines[1]
    assert planted.remedy in lines[1]
    assert lines[2] == ("1 wrong: begin with the first." if code else "All is well.")
    assert run(settings, {}, Console(file=output), as_json=True, checks=checks) == code
    (row,) = json.loads(capsys.readouterr().out)
    assert row == {
        "check": "a part",
        "state": planted.state,
        "found": planted.found,
        "remedy": planted.remedy,
    }


def test_long_lists_are_shortened() -> None:
    assert shortened("abc") == "a; b; c"
    assert shortened("abcde") == "a; b; c; and 2 more"


# -- The machine


@pytest.mark.parametrize(
    ("version", "kind", "libc", "told"),
    [
        ((3, 11), "x86_64", ("glibc", "2.31"), []),
        ((3, 10), "aarch64", ("glibc", "2.36"), ["Python 3.10"]),
        ((3, 12), "riscv64", ("glibc", "2.36"), ["riscv64"]),
        ((3, 12), "x86_64", ("", ""), ["not glibc"]),
        ((3, 12), "x86_64", ("glibc", "2.28"), ["glibc 2.28"]),
    ],
)
def test_python_and_machine(
    version: tuple[int, ...], kind: str, libc: tuple[str, str], told: list[str]
) -> None:
    found = faults(machine._python_faults(version, kind, libc))
    assert len(found) == len(told)
    assert all(word in text for word, text in zip(told, found, strict=True))


def test_little_memory_disk_files_and_a_clock_set_back_are_told() -> None:
    assert faults(machine._memory_faults(800 * 2**20, running=False))
    assert not faults(machine._memory_faults(800 * 2**20, running=True))
    assert faults(machine._disk_faults(Path("/"), 10**9, 100 * 10**9, 9, 10))
    assert not faults(machine._disk_faults(Path("/"), 6 * 10**9, 100 * 10**9, 9, 10))
    assert faults(machine._disk_faults(Path("/"), 6 * 10**9, 7 * 10**9, 0, 1000)) == [
        "0 of 1000 files more can be made where / is"
    ]
    assert faults(machine._open_files_faults(1024))
    assert not faults(machine._open_files_faults(resource.RLIM_INFINITY))
    assert "2001-09-09 01:46" in faults(machine._clock_faults(1e9, 1.1e9))[0]
    assert not faults(machine._clock_faults(1e9, 1e9 + 1))


def test_a_user_who_can_watch_no_more_files_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine._inotify_instances(1) == 1
    assert not faults(machine._inotify_faults(6, 6))
    open_, given = os.O_CLOEXEC, []

    class Exhausted:
        def inotify_init1(self, flags: int) -> int:
            assert flags == open_
            if len(given) == 2:
                return -1
            given.append(os.open("/dev/null", os.O_RDONLY))
            return given[-1]

    monkeypatch.setattr(machine.ctypes, "CDLL", lambda _: Exhausted())
    assert machine._inotify_instances(machine.INOTIFY_INSTANCES) == 2
    with pytest.raises(OSError):
        os.fstat(given[0])
    assert "2 more programs can watch files" in faults(machine._inotify_faults(2, 6))[0]


def test_file_of_the_future_is_a_clock_set_back(installation: Installation) -> None:
    assert not faults(machine.clock(installation))
    later = datetime.now(UTC).timestamp() + 3600
    os.utime(installation.settings.project / "stack.yml", (later, later))
    assert len(faults(machine.clock(installation))) == 1


# -- What lies on disk


@pytest.mark.parametrize(
    ("file", "text", "told"),
    [
        ("stack.yml", "functions: [", "stack.yml"),
        ("stack.yml", STACK.replace("secrets:", "secretz:"), "secretz"),
        ("localfaas.yml", "chek: /api/x", "chek"),
        ("localfaas.yml", "doctor: nowhere.yml", "nowhere.yml"),
        ("kong/kong.yml", KONG.replace("paths", "pahts"), "pahts"),
        ("kong/kong.conf", "proxy_listen = nonsense here", "kong.conf"),
    ],
)
def test_faulty_file_of_the_project_is_named(
    installation: Installation, file: str, text: str, told: str
) -> None:
    (installation.settings.project / file).write_text(text)
    (found,) = faults(files.project_files(installation))
    assert told in found


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: b", "expected a list"),
        ("- {check: a}", "question 1: expected the keys as, ask, check, do, found"),
        ("- {check: a, as: b, ask: '', found: d, do: e}", "question 1: each value must be a text"),
    ],
)
def test_faulty_question_is_named_by_its_place(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "doctor.yml").write_text(text)
    with pytest.raises(books.BooksError, match=told):
        books.load_books(tmp_path / "doctor.yml")


def test_program_that_does_not_run_is_told_with_its_reason(tmp_path: Path) -> None:
    assert files._version(Path(sys.executable))[0].startswith("3.")
    assert files._version(tmp_path / "none") == ("", "No such file or directory")
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho not today >&2; exit 3\n")
    assert files._version(broken)[1] == "Permission denied"
    broken.chmod(0o755)
    assert files._version(broken) == ("", "not today")


def test_programs_of_the_wheels_run(installation: Installation) -> None:
    (finding,) = files.programs(installation)
    assert finding.state is State.WELL
    assert all(name in finding.found for name in ("envoy 1.", "postgres 1", "dbmate 2.", "supervisord 4."))


def test_directory_without_programs_is_named(settings: Settings, tmp_path: Path) -> None:
    broken = Settings(project=settings.project, state=settings.state, pg_bin=tmp_path)
    assert f"no initdb in {tmp_path}" in faults(files.programs(Installation(broken, {})))[0]


def test_state_directory_with_too_long_a_path_is_told(settings: Settings) -> None:
    deep = Settings(project=settings.project, state=Path("/tmp") / ("x" * 120))
    assert "too long" in faults(files.state_directory(Installation(deep, {})))[0]


def test_secrets_are_all_there_and_for_their_owner_alone(installation: Installation) -> None:
    directory = made_secrets(installation.settings)
    assert not faults(files.secrets(installation))
    (directory / "word").chmod(0o644)
    (found,) = files.secrets(installation)
    assert f"{directory}/word has the mode 644" in found.found
    assert f"`chmod 600 {directory}/word`" in found.remedy
    (directory / "word").unlink()
    (directory / "basic-auth-user").write_text("")
    directory.chmod(0o755)
    assert faults(files.secrets(installation)) == [
        f"{directory} has the mode 755: others than its owner may use it",
        f"{directory}/basic-auth-user is empty",
        f"{directory}/word is missing",
    ]


def test_lost_password_of_a_database_that_is_there_is_not_made_anew(installation: Installation) -> None:
    directory = made_secrets(installation.settings)
    (directory / "postgres-superuser").unlink()
    assert "which makes it" in files.secrets(installation)[0].remedy
    (installation.settings.state / "postgres" / "data").mkdir(parents=True)
    assert "from a copy" in files.secrets(installation)[0].remedy


def test_certificate_that_ends_soon_or_is_none_is_told(installation: Installation) -> None:
    directory = made_secrets(installation.settings)
    ensure_certificate(directory, issuer="somebody else")
    assert not faults(files.certificate(installation))
    (directory / "edge-tls.pem").unlink()
    ensure_certificate(directory, now=datetime.now(UTC) - timedelta(days=400), issuer="somebody else")
    assert faults(files.certificate(installation)) == ["ended 3 days ago"]
    (directory / "edge-tls.pem").write_text("nonsense")
    assert "edge-tls.pem must hold" in faults(files.certificate(installation))[0]


def test_data_directory_is_whole_and_of_the_programs_version(tmp_path: Path) -> None:
    for name in files.WHOLE:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("18\n")
    tmp_path.chmod(0o700)
    assert not faults(files._data_faults(tmp_path, "18.6"))
    assert faults(files._data_faults(tmp_path, "17.2")) == [
        f"{tmp_path} is of PostgreSQL 18, the programs are 17.2"
    ]
    tmp_path.chmod(0o770)
    assert "mode 770" in faults(files._data_faults(tmp_path, "18.6"))[0]
    (tmp_path / "global" / "pg_control").unlink()
    (damaged,) = files._data_faults(tmp_path, "18.6")
    assert damaged.found == f"{tmp_path} has no global/pg_control"
    assert "keep what is left" in damaged.remedy


# -- What runs


def test_supervisord_that_was_killed_is_told_apart_from_one_that_was_stopped(
    installation: Installation,
) -> None:
    made_secrets(installation.settings)
    assert faults(processes.supervisord(installation)) == ["the platform is not running"]
    installation.settings.run.mkdir()
    (installation.settings.run / "supervisord.pid").write_text("1")
    assert faults(processes.supervisord(installation)) == ["supervisord is gone without having been stopped"]


def test_process_without_supervisord_is_a_stray(installation: Installation) -> None:
    assert not faults(processes.strays(installation))
    mark = {**os.environ, PLATFORM_MARK: str(installation.settings.state)}
    with subprocess.Popen(["sleep", "60"], env=mark) as stray:
        try:
            (found,) = faults(processes.strays(installation))
            assert f"sleep (pid {stray.pid})" in found
            assert processes._is_below(psutil.Process(stray.pid), os.getpid())
            assert not processes._is_below(psutil.Process(os.getpid()), stray.pid)
        finally:
            stray.kill()


def test_port_that_somebody_else_holds_is_named_with_the_holder() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        port = held.getsockname()[1]
        assert listeners()[port] == {os.getpid()}
        (found,) = faults(processes._port_faults({port: "edge"}, ours=set()))
        assert f"port {port} (edge) is taken by" in found
        assert f"pid {os.getpid()}" in found
        assert not faults(processes._port_faults({port: "edge"}, ours={os.getpid()}))


# -- Functions


def deployed(settings: Settings) -> Desired:
    stack = load_stack(settings.project / "stack.yml", {})
    function = stack.functions["echo"]
    layout = build(function, stack, settings.project, settings.builds)
    return Registry(settings.deployments).put(validate(function.deployment()), layout.path, 2)


def deployment_faults(installation: Installation) -> list[str]:
    stack = load_stack(installation.settings.project / "stack.yml", {})
    registry = Registry(installation.settings.deployments)
    return faults(functions._deployment_faults(installation, stack, stack.functions["echo"], registry))


def test_function_that_is_not_deployed_as_in_stack_yml_is_told(installation: Installation) -> None:
    project = installation.settings.project
    assert deployment_faults(installation) == ["echo is in stack.yml and is not deployed"]
    deployed(installation.settings)
    assert deployment_faults(installation) == []
    (project / "stack.yml").write_text(STACK.replace("hello", "bonjour"))
    assert deployment_faults(installation) == [
        'echo is deployed otherwise than in stack.yml: envVars.greeting "hello" → "bonjour"'
    ]
    (project / "stack.yml").write_text(STACK)
    (project / "functions" / "echo" / "handler.py").write_text("app = 1\n")
    assert deployment_faults(installation) == ["the code of echo has changed since it was deployed"]
    shutil.rmtree(project / "functions" / "echo")
    assert "is no directory" in deployment_faults(installation)[0]


def start(settings: Settings, desired: Desired, slot: int, generation: str) -> None:
    about = {"function": desired.name, "generation": generation, "port": 8000 + slot}
    write_program(settings, Program(f"{desired.name}-{slot}", ["true"], settings.project, about=about))


def test_replica_lacks_a_program_the_present_deployment_or_traffic(settings: Settings) -> None:
    desired = deployed(settings)
    start(settings, desired, 1, "an earlier one")
    assert lacking(settings, desired) == {
        "echo-1": "is of an earlier deployment",
        "echo-2": "has not been started",
    }
    for slot in (1, 2):
        start(settings, desired, slot, desired.generation)
    write_endpoints(settings, "echo", [("127.0.0.1", 8001)])
    assert lacking(settings, desired) == {"echo-2": "takes no traffic"}
    write_endpoints(settings, "echo", [("127.0.0.1", 8001), ("127.0.0.1", 8002)])
    assert lacking(settings, desired) == {}
    forget_endpoints(settings, [desired])
    assert set(lacking(settings, desired).values()) == {Lack.NO_TRAFFIC}


def test_what_a_replica_lacks_gets_less_on_its_way() -> None:
    assert [lack.steps for lack in (Lack.EARLIER, Lack.NOT_STARTED, Lack.NO_TRAFFIC)] == [3, 2, 1]


def test_program_that_does_not_run_is_told_with_the_end_of_its_log(installation: Installation) -> None:
    def told(state: str) -> list[str]:
        return faults(processes._program_faults(installation, "api", Process("api", state, 0, 0, "")))

    assert [told(state) for state in ("RUNNING", "STARTING", "STOPPING")] == [[], [], []]
    assert told("BACKOFF") == ["api is backoff; its log ends: nothing"]
    assert faults(processes._program_faults(installation, "api", None)) == ["api is unknown to supervisord"]
    starts = starts_file(installation.settings, "api")
    starts.parent.mkdir(parents=True)
    starts.write_text("\n" * 7)
    assert told("STARTING") == ["api is starting; its log ends: nothing"]
    assert told("RUNNING") == ["api has come back 6 times, last 0 s ago; its log ends: nothing"]


def test_layout_that_is_gone_is_told(installation: Installation) -> None:
    desired = deployed(installation.settings)
    shutil.rmtree(installation.settings.builds)
    (found,) = functions._replica_faults(installation, desired)
    assert found == wrong(f"echo is deployed from {desired.layout}, which is gone", "`localfaas deploy echo`")


def test_replica_that_does_not_answer_is_told_with_the_end_of_its_log(installation: Installation) -> None:
    settings = installation.settings
    desired = deployed(settings)
    settings.logs.mkdir()
    (settings.logs / "echo-1.log").write_text("starting\nno database\n\n")
    for slot in (1, 2):
        start(settings, desired, slot, desired.generation)
    write_endpoints(settings, "echo", [("127.0.0.1", 8001), ("127.0.0.1", 8002)])
    with socket.socket() as silent:  # bound, so that nobody else is asked
        silent.bind(("127.0.0.1", 0))
        for slot in (1, 2):
            installation.abouts[f"echo-{slot}"]["port"] = silent.getsockname()[1]
        first, _ = faults(functions._replica_faults(installation, desired))
    assert first == "echo-1 does not say that it is ready; its log ends: no database"


@pytest.mark.parametrize("status", [200, 429, 500])
def test_part_that_answers_with_an_error_is_told_with_what_it_says(
    installation: Installation, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    answer = requests.Response()
    answer.status_code, answer._content = status, b"no way\nup\n"
    monkeypatch.setattr(Installation, "get", lambda *_: answer)
    told = faults(processes._answer_faults(installation, "http://localhost:8080/healthz", "api and gateway"))
    assert told == (["http://localhost:8080/healthz answers 500: no way up"] if status == 500 else [])


def test_part_that_does_not_answer_is_told(installation: Installation) -> None:
    with socket.socket() as silent:  # bound, so that nobody else is asked
        silent.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        (told,) = processes._answer_faults(installation, url, "edge")
    assert told.found.startswith(f"{url} does not answer: ")
    assert "`localfaas logs edge`" in (told.remedy or "")


def test_watching_program_that_is_not_here_is_told_with_what_is_missed(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        files.tools, "find", lambda tool, _: None if tool.package == "prometheus" else Path("x")
    )
    with pytest.raises(NotLookedAt, match="not here yet"):
        files.watching_programs(installation)
    monkeypatch.setitem(vars(installation), "supervisord", 1)
    assert faults(files.watching_programs(installation)) == [
        "Prometheus is not here: the platform runs without metrics"
    ]


# -- The database, without one


def test_migrations_that_are_missing_or_unknown_are_told() -> None:
    assert faults(database._migration_faults({"0001", "0002"}, {"0001", "0002"})) == []
    assert faults(database._migration_faults({"0001", "0002"}, {"0001"})) == ["not applied: 0002"]
    assert "code is older than its data" in faults(database._migration_faults({"0001"}, {"0001", "0002"}))[0]


def test_connections_near_the_limit_are_told() -> None:
    assert faults(database._connection_faults(81, 100)) == ["81 of 100 are in use"]
    assert faults(database._connection_faults(80, 100)) == []


# -- What watches


def target(job: str, health: str = "up", **labels: str) -> dict[str, object]:
    return {
        "labels": {"job": job, **labels},
        "health": health,
        "scrapeUrl": f"http://{job}/metrics",
        "lastError": "refused",
    }


def test_target_that_is_down_or_missing_is_told() -> None:
    jobs = {"edge", "functions"}
    assert faults(watching._target_faults([target("edge"), target("functions", "unknown")], jobs, ())) == []
    assert faults(watching._target_faults([target("edge", "down")], jobs, ())) == [
        "http://edge/metrics (job edge) does not tell its metrics: refused",
        "Prometheus has no target for the job functions",
    ]


def test_replica_that_does_not_serve_is_not_told_again_as_a_target() -> None:
    replicas = [target("functions", "down", replica=f"echo-{slot}") for slot in (1, 2)]
    assert len(faults(watching._target_faults(replicas, (), {"echo-1"}))) == 1


def test_rules_that_are_not_in_force_are_told(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for folder in (ours, theirs):
        folder.mkdir()
        (folder / "shop.yml").write_text("groups: []")
    assert faults(watching._in_force_faults(ours.glob("*.yml"), theirs)) == []
    (ours / "shop.yml").write_text("groups: [] # changed")
    (theirs / "old.yml").write_text("groups: []")
    assert faults(watching._in_force_faults(ours.glob("*.yml"), theirs)) == [
        "Prometheus has others than the project: old.yml, shop.yml"
    ]


def test_rule_file_that_promtool_refuses_is_named(tmp_path: Path) -> None:
    promtool = watching._promtool(Installation(Settings(project=PROJECT, state=tmp_path), {}))
    if promtool is None:
        pytest.skip("neither promtool on PATH nor Debian's package is here")
    (tmp_path / "own.yml").write_text("groups: [{name: own, rules: [{record: a, expr: 'sum('}]}]")
    (found,) = faults(watching._rule_file_faults(promtool, [tmp_path / "own.yml"]))
    assert "own.yml" in found


def test_rule_that_cannot_be_evaluated_is_told() -> None:
    rules = [{"name": "a", "health": "ok"}, {"name": "b", "health": "err", "lastError": "many-to-many"}]
    assert faults(watching._evaluation_faults([{"name": "own", "rules": rules}])) == [
        "b (group own) cannot be evaluated: many-to-many"
    ]


def test_alerts_for_people_that_fire_are_told() -> None:
    def alert(name: str, state: str, **labels: str) -> dict[str, object]:
        return {
            "labels": {"alertname": name, **labels}, "state": state, "activeAt": "2026-01-02T03:04:05.6Z",
            "annotations": {"summary": "It is so."},
        }  # fmt: skip

    (found,) = watching._alert_faults(
        [alert("A", "firing"), alert("B", "pending"), alert("FunctionNeedsMore", "firing", scaling="hold")]
    )
    assert found == wrong("A since 2026-01-02 03:04 UTC: It is so.", "docs/runbooks/A.md")


def test_what_a_check_needs_of_another_is_left_to_that_one(installation: Installation) -> None:
    (installation.settings.project / "stack.yml").write_text("nonsense: [")
    for look in (processes.ports, functions.deployed, database.logins):
        with pytest.raises(NotLookedAt):
            look(installation)
