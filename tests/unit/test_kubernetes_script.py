"""`python -m deploy.kubernetes` without a cluster: its plan, its secrets, and a whole run against programs that only take notes."""

from __future__ import annotations

import io
import json
import re
import socket
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from deploy.kubernetes import cli, plan, secrets, status, tools, versions
from deploy.kubernetes.cluster import check_version, run_tests, work_through
from deploy.kubernetes.commands import Command, CommandError, Forward, SecretKey, Shell
from deploy.kubernetes.plan import Options, OptionsError
from localfaas.progress import Steps
from localfaas.stack import load_stack

PROJECT = Path(__file__).parents[2]
VERSIONS = versions.load()
STACK = {name: function.secrets for name, function in load_stack(PROJECT / "stack.yml", {}).functions.items()}
ELSEWHERE = Options(
    cluster="existing",
    context="shop",
    database="cloudnativepg",
    registry="ghcr.io/me/magasin",
    tag="t",
    demo=False,
)
ON_KIND = Options(tag="t")


def lines(options: Options) -> list[str]:
    return [str(command) for step in plan.up(options, VERSIONS, ["cart"]) for command in step.commands]


def place(found: list[str], words: str) -> int:
    return next(number for number, line in enumerate(found) if words in line)


# -- The plan --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [ON_KIND, ELSEWHERE], ids=["kind", "existing"])
def test_every_step_comes_after_what_it_needs(options: Options) -> None:
    found = lines(options)
    order = [
        "-k deploy/kubernetes/cluster",
        "install openfaas",
        f"-k deploy/kubernetes/database/{options.database}",
        "delete job migrations",
        "-k deploy/kubernetes/database/migrations",
        "condition=complete job/migrations",
        "-k deploy/kubernetes/openfaas-fn",
        "rollout status deployment/gateway",
        "faas-cli build",
        "faas-cli push",
        "faas-cli login",
        "faas-cli deploy",
        "rollout status deployment/cart",
    ]
    places = [place(found, words) for words in order]
    assert places == sorted(places)
    titles = [step.title for step in plan.up(options, VERSIONS, [])]
    assert titles.index("Namespaces, policy") < titles.index("Secrets") < titles.index("OpenFaaS")


@pytest.mark.parametrize("options", [ON_KIND, ELSEWHERE], ids=["kind", "existing"])
def test_every_file_that_a_command_names_is_there(options: Options) -> None:
    named = {
        word
        for step in plan.up(options, VERSIONS, [])
        for command in step.commands
        for word in command.arguments
        if word.startswith("deploy/") or word == "stack.yml"
    }
    assert len(named) >= 8
    assert [name for name in named if not (PROJECT / name).exists()] == []


@pytest.mark.parametrize("options", [ON_KIND, ELSEWHERE], ids=["kind", "existing"])
def test_every_command_names_its_cluster(options: Options) -> None:
    for step in [*plan.up(options, VERSIONS, ["cart"]), *plan.down(ELSEWHERE)]:
        for command in step.commands:
            if command.arguments[0] in {"kubectl", "helm"}:
                assert command.arguments[2] in {"kind-magasin", "shop"}, str(command)


def test_operator_is_up_before_a_database_is_asked_of_it() -> None:
    found = lines(ELSEWHERE)
    operator = place(found, "cloudnative-pg")
    assert "--wait" in found[operator]
    assert operator < place(found, "-k deploy/kubernetes/database/cloudnativepg")
    assert not any("kind" in line.split() or "registry" in line.split() for line in found)


def test_images_are_pushed_under_one_name_and_pulled_under_another_on_kind() -> None:
    found = lines(ON_KIND)
    assert "REGISTRY=localhost:5001/magasin " in found[place(found, "faas-cli push")]
    assert f"REGISTRY={plan.PULLED_FROM} " in found[place(found, "faas-cli deploy")]
    found = lines(ELSEWHERE)
    assert "REGISTRY=ghcr.io/me/magasin TAG=t" in found[place(found, "faas-cli push")]
    assert "REGISTRY=ghcr.io/me/magasin TAG=t" in found[place(found, "faas-cli deploy")]


def test_images_are_built_on_the_bases_of_the_versions_file() -> None:
    build = lines(ON_KIND)[place(lines(ON_KIND), "faas-cli build")]
    assert re.search(r"BASE=docker\.io/library/python:3\.13-slim@sha256:[0-9a-f]{64}", build)
    assert re.search(r"WATCHDOG=ghcr\.io/openfaas/of-watchdog:\d", build)


def test_data_outlives_everything_but_the_wish_to_delete_it() -> None:
    def deleted(data: bool) -> list[str]:
        return [str(command) for step in plan.down(ELSEWHERE, data=data) for command in step.commands]

    assert not any(" database" in line for line in deleted(data=False))
    assert any(" database" in line for line in deleted(data=True))
    assert [str(command) for step in plan.down(ON_KIND) for command in step.commands] == [
        "kind delete cluster --name magasin"
    ]


def test_another_cluster_needs_a_registry_and_an_address() -> None:
    with pytest.raises(OptionsError, match="REGISTRY"):
        Options(cluster="existing").check()
    with pytest.raises(OptionsError, match="EDGE_URL"):
        Options(cluster="existing", registry="r").check()
    ON_KIND.check()


def test_tag_follows_what_images_are_built_from(tmp_path: Path) -> None:
    for folder in ("functions", "template"):
        (tmp_path / folder / "__pycache__").mkdir(parents=True)
        (tmp_path / folder / "handler.py").write_text("1")
    (tmp_path / "stack.yml").write_text("functions: {}")
    first = plan.content_tag(tmp_path)
    (tmp_path / "functions" / "__pycache__" / "handler.pyc").write_text("anything")
    assert plan.content_tag(tmp_path) == first
    (tmp_path / "functions" / "handler.py").write_text("2")
    assert plan.content_tag(tmp_path) != first
    assert re.fullmatch(r"[0-9a-f]{12}", first)


# -- Tools -----------------------------------------------------------------------------------------------------------


def test_every_missing_tool_is_named_with_where_to_get_it() -> None:
    with pytest.raises(tools.ToolsMissingError) as raised:
        tools.check(ON_KIND.tools(), VERSIONS.tools, find=lambda name: None)
    said = str(raised.value)
    assert [line.split()[0] for line in said.splitlines()] == [
        "docker",
        "kind",
        "kubectl",
        "helm",
        "faas-cli",
    ]
    assert said.count("https://") == 5
    assert f"kind@v{VERSIONS.tools['kind']}" in said


@pytest.mark.parametrize(
    ("name", "told", "fits"),
    [
        ("kubectl", "clientVersion:\n  buildDate: 2099-01-01\n  gitVersion: v1.37.1\n", True),
        ("kubectl", "clientVersion:\n  gitVersion: v1.29.0\n  goVersion: go9.9\n", False),
        ("helm", "v3.20.1+g1234567", True),
        ("helm", "v2.17.0", False),
        ("docker", "27.1.1\n", True),
        ("faas-cli", "0.17.8\n", True),
        ("kind", None, False),
    ],
)
def test_version_of_a_tool_is_read(name: str, told: str | None, fits: bool) -> None:
    def check() -> None:
        tools.check([name], VERSIONS.tools, find=lambda name: f"/bin/{name}", ask=lambda command: told)

    if fits:
        check()
    else:
        with pytest.raises(tools.ToolsMissingError, match=name):
            check()


# -- Secrets ---------------------------------------------------------------------------------------------------------


def held(made: list[secrets.Secret]) -> dict[tuple[str, str], dict[str, str]]:
    return secrets.read({"items": [secret.manifest() for secret in made]})  # type: ignore[return-value]


def test_every_secret_of_the_stack_is_made() -> None:
    found = held(secrets.complete({}, STACK, "disable"))
    assert {name for space, name in found if space == "openfaas-fn"} == {
        name for names in STACK.values() for name in names
    }
    assert all(value for data in found.values() for value in data.values())


def test_what_is_there_is_kept() -> None:
    first = held(secrets.complete({}, STACK, "disable"))
    assert held(secrets.complete(first, STACK, "disable")) == first


def test_two_clusters_have_nothing_in_common() -> None:
    first, second = (held(secrets.complete({}, STACK, "disable")) for _ in range(2))
    shared = {
        (space, name, key)
        for (space, name), data in first.items()
        for key, value in data.items()
        if second[space, name][key] == value
    }
    assert shared == {
        ("openfaas", "basic-auth", "basic-auth-user"),
        ("database", "database-admin", "username"),
    }


def test_a_function_logs_in_with_the_password_that_its_role_is_given() -> None:
    found = held(secrets.complete({}, STACK, "disable"))
    passwords = found["database", "role-passwords"]
    assert set(passwords) == {
        name[:-3] for names in STACK.values() for name in names if name.endswith("-db")
    } | {"monitoring"}
    for role, password in passwords.items():
        if role != "monitoring":
            address = found["openfaas-fn", f"{role}-db"][f"{role}-db"]
            assert address == f"postgresql://{role}:{password}@shop-rw.database:5432/magasin"


def test_every_key_can_be_verified_with_the_public_ones() -> None:
    found = held(secrets.complete({}, STACK, "disable"))
    public = json.loads(found["openfaas-fn", "token-public-keys"]["token-public-keys"])["keys"]
    services = {key["kid"] for key in public if key["kid"].startswith("service:")}
    assert services == {f"service:{name}" for name, names in STACK.items() if f"{name}-key" in names}


def test_secret_that_nobody_makes_is_named() -> None:
    with pytest.raises(secrets.SecretsError, match="api-of-the-bank"):
        secrets.complete({}, {"cart": ["api-of-the-bank"]}, "disable")


def test_certificate_of_others_is_kept_and_bears_our_name_otherwise() -> None:
    from cryptography import x509

    found = held(secrets.complete({}, STACK, "disable"))["edge", "edge-tls"]
    certificate = x509.load_pem_x509_certificate(found["tls.crt"].encode())
    assert certificate.issuer.rfc4514_string() == f"CN={secrets.ISSUER}"
    assert "PRIVATE KEY" in found["tls.key"]


def test_secrets_are_shown_to_nobody() -> None:
    made = secrets.complete({}, STACK, "disable")
    shown = repr(made)
    values = {value for secret in made for value in secret.data.values()} - {"admin", "postgres"}
    assert not any(value in shown for value in values)


# -- Running ---------------------------------------------------------------------------------------------------------


class Room:
    """Programs that write down how they were called, in order, and answer what they were told to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.notes = folder / "notes"
        self.notes.touch()
        self.said = io.StringIO()
        for name in ("docker", "kind", "kubectl", "helm", "faas-cli"):
            self.program(name)

    def program(self, name: str, more: str = "") -> None:
        path = self.folder / name
        path.write_text(
            f"#!{sys.executable}\nimport sys, os, json\n"
            f"line = ' '.join([{name!r}, *sys.argv[1:]])\n"
            "given = sys.stdin.read() if '-f -' in line or '--password-stdin' in line else ''\n"
            f"open({str(self.notes)!r}, 'a').write(json.dumps([line, given]) + '\\n')\n"
            "if ' get secrets ' in line: print('{\"items\": []}')\n"
            "if ' get secret ' in line: print('aHVudGVyMg==', end='')\n"
            'if \' version \' in line: print(\'{"serverVersion": {"gitVersion": "v1.37.0"}}\')\n' + more
        )
        path.chmod(0o755)

    def shell(self, *, dry_run: bool = False) -> Shell:
        console = Console(file=self.said, width=400)
        return Shell(PROJECT, "kind-magasin", console, dry_run=dry_run, path=str(self.folder))

    def calls(self) -> list[tuple[str, str]]:
        return [tuple(json.loads(line)) for line in self.notes.read_text().splitlines()]

    def up(self, options: Options, *, dry_run: bool = False) -> None:
        shell = self.shell(dry_run=dry_run)
        steps = plan.up(options, VERSIONS, ["cart"])
        work_through(steps, shell, options, VERSIONS, Steps(shell.console))


FORWARDS = (
    "if ' port-forward ' in line:\n"
    "    import socket, time\n"
    "    listening = socket.create_server(('127.0.0.1', int(sys.argv[-1].split(':')[0])))\n"
    "    time.sleep(30)\n"
)


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path)


@pytest.fixture
def free_gateway_port(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setattr(plan, "GATEWAY_PORT", taken.getsockname()[1])


def test_dry_run_shows_every_command_and_runs_none(room: Room) -> None:
    room.up(ON_KIND, dry_run=True)
    said = room.said.getvalue()
    assert room.calls() == []
    assert all(line in said for line in lines(ON_KIND))
    assert "PRIVATE KEY" not in said
    assert not re.search(r"\b[0-9a-f]{48}\b", said)  # what passwords look like


@pytest.mark.usefixtures("free_gateway_port")
def test_run_makes_secrets_and_deploys_through_the_forwarded_gateway(room: Room) -> None:
    room.program("kubectl", FORWARDS)
    room.up(Options(tag="t", demo=False))
    calls = room.calls()
    found = [line for line, _ in calls]
    assert found[0] == "kind get kubeconfig --name magasin"
    assert not any("create cluster" in line for line in found)  # there is one already
    (sent,) = [given for line, given in calls if line.endswith("-f -")]
    assert {item["kind"] for item in json.loads(sent)["items"]} == {"Secret"}
    assert "hunter2" in [given for line, given in calls if "faas-cli login" in line]
    login = place(found, "faas-cli login")
    assert any("port-forward svc/gateway" in line for line in found[login - 2 : login])
    assert not any("hunter2" in line for line in found)
    assert "hunter2" not in room.said.getvalue()
    assert room.said.getvalue().count("✓") == len(plan.up(Options(tag="t", demo=False), VERSIONS, []))


def test_first_command_that_fails_ends_the_run_and_is_shown(room: Room) -> None:
    room.program("helm", "print('chart not found', file=sys.stderr); sys.exit(3)")
    with pytest.raises(CommandError, match="upgrade --install openfaas") as raised:
        room.up(ON_KIND)
    assert "chart not found" in str(raised.value)
    assert not any(line.startswith("faas-cli") for line, _ in room.calls())


def test_what_is_there_already_is_not_made_again(room: Room) -> None:
    command = Command(("helm", "make"), unless=("kubectl", "look"))
    room.shell().run(command)
    assert [line for line, _ in room.calls()] == ["kubectl look"]
    room.program("kubectl", "sys.exit(1)")
    room.shell().run(command)
    assert [line for line, _ in room.calls()][1:] == ["kubectl look", "helm make"]


def test_forward_that_fails_says_why(room: Room) -> None:
    room.program("kubectl", "print('no such service', file=sys.stderr); sys.exit(1)")
    with pytest.raises(CommandError, match="no such service"):
        room.shell().run(Command(("helm", "x"), behind=Forward("openfaas", "gateway", 1, 8080)))


def test_secret_is_decoded_for_who_reads_it(room: Room) -> None:
    assert room.shell().secret(SecretKey("openfaas", "basic-auth", "basic-auth-password")) == "hunter2"


def test_cluster_in_which_no_function_would_start_is_refused(room: Room) -> None:
    old = json.dumps({"serverVersion": {"gitVersion": "v1.34.2"}})
    (room.folder / "kubectl").write_text(f"#!{sys.executable}\nprint({old!r})\n")
    with pytest.raises(CommandError, match=r"v1\.34\.2"):
        check_version(room.shell(), ON_KIND, VERSIONS)


def test_status_counts_what_is_ready() -> None:
    kong = {
        "kind": "Deployment",
        "metadata": {"namespace": "edge", "name": "kong"},
        "spec": {"replicas": 2, "template": {"spec": {"containers": [{"image": "kong:3.9.3@sha256:0"}]}}},
        "status": {"readyReplicas": 1},
    }
    assert status.row(kong) == status.Row("edge", "kong", 1, 2, "kong:3.9.3")
    assert not status.row(kong).is_well
    job = {**kong, "kind": "Job", "spec": {"completions": 1, "template": kong["spec"]["template"]}}  # type: ignore[index]
    assert status.row({**job, "status": {"succeeded": 1}}).is_well
    assert status.row({**kong, "status": {"readyReplicas": 2}}).is_well


def test_down_asks_which_cluster(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBE_CONTEXT", raising=False)
    assert cli.main(["down", "--cluster", "existing", "--dry-run"]) == 1
    assert "KUBE_CONTEXT" in capsys.readouterr().err
    assert cli.main(["down", "--cluster", "existing", "--context", "shop", "--dry-run"]) == 0
    assert "kubectl --context shop delete namespace edge" in capsys.readouterr().out


def test_environment_gives_the_flags_their_defaults() -> None:
    given = cli.parser({"CLUSTER": "existing", "DATABASE": "cloudnativepg", "REGISTRY": "r", "TAG": "t"})
    parsed = given.parse_args(["up"])
    assert (parsed.cluster, parsed.database, parsed.registry, parsed.tag) == (
        "existing",
        "cloudnativepg",
        "r",
        "t",
    )


# -- The end-to-end suite against a cluster --------------------------------------------------------------------------


@pytest.mark.usefixtures("free_gateway_port")
def test_suite_is_told_of_edge_gateway_and_secrets_and_its_end_is_the_commands(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    room.program("kubectl", FORWARDS)
    held = {("openfaas-fn", "cart-key"): {"cart-key": "hunter2"}}
    monkeypatch.setattr("deploy.kubernetes.cluster._present", lambda shell: held)
    suite = (
        "import os, pathlib; e = os.environ; "
        "print(e['E2E_EDGE_URL'], e['E2E_GATEWAY_URL'], sorted(p.name for p in pathlib.Path(e['E2E_SECRETS']).iterdir()),"
        " file=open(e['NOTED'], 'w')); raise SystemExit(5)"
    )
    noted = room.folder / "noted"
    monkeypatch.setenv("NOTED", str(noted))
    whole = plan.test
    monkeypatch.setattr(
        plan,
        "test",
        lambda *given: replace(whole(*given), arguments=(sys.executable, "-c", suite)),
    )
    assert run_tests(room.shell(), ON_KIND, ["-x"]) == 5
    edge, gateway, names = noted.read_text().split(maxsplit=2)
    assert (edge, gateway) == ("http://localhost:8000", f"http://127.0.0.1:{plan.GATEWAY_PORT}")
    assert "cart-key" in names
    assert any("port-forward svc/gateway" in line for line, _ in room.calls())


def test_suite_is_the_one_of_one_machine() -> None:
    command = plan.test(ON_KIND, Path("/keys"), ["-k", "story"])
    assert command.arguments[1:4] == ("-m", "pytest", "tests/e2e")
    assert command.arguments[-2:] == ("-k", "story")
    conftest = (PROJECT / "tests" / "support" / "platform.py").read_text()
    assert all(f'"{name}"' in conftest for name in command.environment)


def test_another_cluster_is_tested_at_an_address_alone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EDGE_URL", raising=False)
    assert cli.main(["test", "--cluster", "existing", "--dry-run"]) == 1
    assert "EDGE_URL" in capsys.readouterr().err
    assert cli.main(["test", "--cluster", "existing", "--edge-url", "https://shop.example", "--dry-run"]) == 0
    assert "E2E_EDGE_URL=https://shop.example" in capsys.readouterr().out
