"""What a server with faasd is given agrees with stack.yml, kong.yml and itself: names, ports, labels, secrets, times."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.faasd import cli, overlay, secrets
from deploy.faasd.overlay import PROJECT, REPLICAS, OverlayError, Sources
from deploy.kubernetes import connections
from localfaas.edge.parse import parse
from localfaas.stack import load_stack
from localfaas.substitution import substitute

ENVIRON = {"REGISTRY": "registry.example/magasin", "TAG": "1"}
KONG = yaml.safe_load((PROJECT / "kong" / "kong.yml").read_text())
STACK = yaml.safe_load(substitute((PROJECT / "stack.yml").read_text(), ENVIRON))
FUNCTIONS = load_stack(PROJECT / "stack.yml", ENVIRON).functions
THEIRS = """
version: "3.7"
services:
  nats: {image: "docker.io/library/nats:2.11.8", command: [/nats-server, -js]}
  gateway:
    image: ghcr.io/openfaas/gateway:0.27.13
    environment: [basic_auth=true, "functions_provider_url=http://faasd-provider:8081/", read_timeout=60s, upstream_timeout=65s]
    depends_on: [nats]
    ports: ["8080:8080"]
"""
"""A docker-compose.yaml in the shape of faasd's."""
MOST_FUNCTIONS = 15
READ = {"version", "services"}, {"image", "environment", "command", "volumes", "ports", "depends_on", "user"}
"""The keys that faasd reads, of the file and of a service, as far as they are used here."""


@pytest.fixture(scope="module")
def _read(tmp_path_factory: pytest.TempPathFactory) -> tuple[Sources, dict[str, str]]:
    compose = tmp_path_factory.mktemp("server") / "docker-compose.yaml"
    compose.write_text(THEIRS)
    sources = cli.read(compose, ENVIRON)
    return sources, cli.files(sources)


@pytest.fixture
def sources(_read: tuple[Sources, dict[str, str]]) -> Sources:
    return copy.deepcopy(_read[0])


@pytest.fixture(scope="module")
def texts(_read: tuple[Sources, dict[str, str]]) -> dict[str, str]:
    """Each file that is no secret."""
    return _read[1]


@pytest.fixture(scope="module")
def made(texts: dict[str, str]) -> dict[str, Any]:
    """Each that is YAML, read again."""
    return {name: yaml.safe_load(text) for name, text in texts.items() if name != "kong.conf"}


def seconds(duration: str) -> int:
    return int(duration.removesuffix("s"))


# -- Kong ------------------------------------------------------------------------------------------------------------


def test_hosts_of_the_edge_are_services_that_exist(made: dict[str, Any]) -> None:
    kong, services = made["kong.yml"], made["docker-compose.yaml"]["services"]
    hosts = {service["url"].split("/")[2] for service in kong["services"] if "url" in service}
    hosts |= {target["target"] for upstream in kong["upstreams"] for target in upstream["targets"]}
    assert {host.partition(":")[0] for host in hosts} <= set(services)
    assert {host.partition(":")[2] for host in hosts} == {"8080"}, "the gateway's port, and the watchdog's"


def test_edge_balances_over_three_carts_that_start_before_it(made: dict[str, Any]) -> None:
    (upstream,) = made["kong.yml"]["upstreams"]
    assert [target["target"] for target in upstream["targets"]] == [f"cart-{n}:8080" for n in (1, 2, 3)]
    assert set(REPLICAS) <= set(made["docker-compose.yaml"]["services"]["kong"]["depends_on"])


def test_all_else_of_the_edge_is_as_kong_yml_has_it(made: dict[str, Any]) -> None:
    back, wanted = copy.deepcopy(made["kong.yml"]), copy.deepcopy(KONG)
    for service in back["services"]:
        if "url" in service:
            service["url"] = service["url"].replace("//gateway:8080/", "//gateway.openfaas:8080/")
    for ours, theirs in zip(back["upstreams"], wanted["upstreams"], strict=True):
        ours["targets"] = theirs["targets"]
    del wanted["_ignore"]
    assert back == wanted


def test_edge_is_a_file_that_kong_reads(texts: dict[str, str]) -> None:
    configuration = parse(texts["kong.yml"])
    assert {service.name for service in configuration.services} == {one["name"] for one in KONG["services"]}


def test_address_that_has_no_place_here_is_refused(sources: Sources) -> None:
    sources.kong["services"][0]["url"] = "http://elsewhere.openfaas:8080/"
    with pytest.raises(OverlayError, match=r"elsewhere\.openfaas:8080"):
        overlay.kong(sources)


# -- Functions -------------------------------------------------------------------------------------------------------


def test_functions_are_those_of_stack_yml_but_for_the_gateways_name(made: dict[str, Any]) -> None:
    back = copy.deepcopy(made["stack.yml"])
    for function in back["functions"].values():
        assert function["environment"].pop("gateway_url") == "http://gateway:8080"
    assert back == STACK
    assert len(back["functions"]) <= MOST_FUNCTIONS


def test_faas_cli_would_read_the_stack_as_stack_yml(texts: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "stack.yml").write_text(texts["stack.yml"])
    for name in ("functions", "template"):
        (tmp_path / name).symlink_to(PROJECT / name)
    read = load_stack(tmp_path / "stack.yml", {}).functions
    for name, function in FUNCTIONS.items():
        ours = read[name]
        assert ours.labels == function.labels
        assert ours.annotations == function.annotations
        assert (ours.secrets, ours.image, ours.fprocess) == (
            function.secrets,
            function.image,
            function.fprocess,
        )


@pytest.mark.parametrize("name", REPLICAS)
def test_cart_beside_the_functions_is_the_function(name: str, made: dict[str, Any]) -> None:
    service, function = made["docker-compose.yaml"]["services"][name], FUNCTIONS["cart"]
    assert service["image"] == function.image
    own = {"gateway_url": "http://gateway:8080", "HOSTNAME": name}
    assert service["environment"] == {**function.environment, **own}
    mounted = [volume["target"] for volume in service["volumes"]]
    assert mounted == [f"/var/openfaas/secrets/{secret}" for secret in function.secrets]
    assert function.annotations["prometheus.io.port"] == "8080"


def test_other_functions_still_find_cart_at_the_gateway(made: dict[str, Any]) -> None:
    assert "cart" in made["stack.yml"]["functions"]


# -- Services --------------------------------------------------------------------------------------------------------


def test_services_use_what_faasd_reads(made: dict[str, Any]) -> None:
    top, keys = READ
    compose = made["docker-compose.yaml"]
    assert set(compose) <= top
    theirs = set(yaml.safe_load(THEIRS)["services"])
    for name, service in compose["services"].items():
        assert set(service) <= keys, name
        assert set(service.get("depends_on", [])) <= set(compose["services"])
        assert name in theirs or "latest" not in service["image"]
        assert {volume["type"] for volume in service.get("volumes", [])} <= {"bind"}
        assert all(volume["source"].startswith("./") for volume in service.get("volumes", []))


def test_ports_are_told_apart_and_only_the_edge_is_open(made: dict[str, Any]) -> None:
    ports = [
        port for one in made["docker-compose.yaml"]["services"].values() for port in one.get("ports", [])
    ]
    outside = [port.rsplit(":", 1)[0] for port in ports]
    assert len({port.rpartition(":")[2] for port in outside}) == len(outside)
    assert sorted(port for port in outside if not port.startswith("127.0.0.1:")) == ["8000", "8443"]


def test_every_file_that_a_service_mounts_is_written(made: dict[str, Any], tmp_path: Path) -> None:
    written = {*made, "kong.conf", *secrets.write(tmp_path, FUNCTIONS)}
    theirs = {"secrets/basic-auth-user", "secrets/basic-auth-password"}
    for service in made["docker-compose.yaml"]["services"].values():
        for volume in service.get("volumes", []):
            source = volume["source"].removeprefix("./")
            assert source in written | theirs if volume["read_only"] else source == "postgres"


def test_times_go_through_the_gateway(made: dict[str, Any]) -> None:
    gateway = made["docker-compose.yaml"]["services"]["gateway"]["environment"]
    edge = min(service["read_timeout"] for service in KONG["services"]) // 1000
    function = max(seconds(function.environment["exec_timeout"]) for function in FUNCTIONS.values())
    assert edge > seconds(gateway["read_timeout"]) > seconds(gateway["upstream_timeout"]) > function
    assert (gateway["basic_auth"], gateway["functions_provider_url"]) == (
        "true",
        "http://faasd-provider:8081/",
    )


def test_connections_of_one_replica_each_and_three_carts_fit(made: dict[str, Any]) -> None:
    (most,) = [
        int(argument.removeprefix("-cmax_connections="))
        for argument in made["docker-compose.yaml"]["services"]["postgres"]["command"]
        if argument.startswith("-cmax_connections=")
    ]
    carts = len(REPLICAS) * (int(FUNCTIONS["cart"].environment["threads"]) + 1)
    one_each = sum(share.pool for share in connections.shares(load_stack(PROJECT / "stack.yml", {})))
    assert one_each + carts + sum(connections.OTHERS.values()) <= most


def test_a_server_with_a_service_of_that_name_is_refused(sources: Sources) -> None:
    sources.compose["services"]["kong"] = {"image": "kong:2"}
    with pytest.raises(OverlayError, match="services of these names: kong"):
        overlay.compose(sources)


def test_a_file_that_is_no_docker_compose_yaml_of_faasd_is_refused(sources: Sources) -> None:
    del sources.compose["services"]["gateway"]
    with pytest.raises(OverlayError, match="no service gateway"):
        overlay.compose(sources)


# -- Secrets ---------------------------------------------------------------------------------------------------------


def test_each_functions_secrets_are_made_once_and_lead_to_the_database(tmp_path: Path) -> None:
    written = secrets.write(tmp_path, FUNCTIONS)
    texts = {name: (tmp_path / name).read_text() for name in written}
    for function in FUNCTIONS.values():
        assert {f"secrets/{secret}" for secret in function.secrets} <= set(written)
    for name, text in texts.items():
        assert (tmp_path / name).stat().st_mode & 0o077 == 0
        if name.endswith("-db"):
            role = Path(name).name.removesuffix("-db")
            password = texts[f"passwords/{role}"]
            assert text == f"postgresql://{role}:{password}@postgres:5432/magasin"
    assert sorted(secrets.write(tmp_path, FUNCTIONS)) == sorted(written)
    assert {name: (tmp_path / name).read_text() for name in written} == texts


def test_no_secret_is_in_a_file_that_is_none(texts: dict[str, str], tmp_path: Path) -> None:
    values = {(tmp_path / name).read_text() for name in secrets.write(tmp_path, FUNCTIONS)}
    assert not [name for name, text in texts.items() for value in values if value in text]


def test_same_sources_make_the_same_files(sources: Sources, texts: dict[str, str]) -> None:
    assert cli.files(sources) == texts


def test_command_writes_everything_and_says_where(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REGISTRY", raising=False)
    compose = tmp_path / "theirs.yaml"
    compose.write_text(THEIRS)
    asked = [
        "--compose",
        str(compose),
        "--registry",
        "registry.example/magasin",
        "--out",
        str(tmp_path / "out"),
    ]
    assert cli.main(asked) == 0
    said = capsys.readouterr().out.split()
    assert {Path(line).name for line in said} >= {"stack.yml", "kong.yml", "kong.conf", "docker-compose.yaml"}
    assert all(Path(line).is_file() for line in said)
    assert cli.main([*asked[:1], str(tmp_path / "none.yaml"), *asked[2:]]) == 1
    assert "none.yaml" in capsys.readouterr().err
