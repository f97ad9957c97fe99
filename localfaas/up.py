"""`localfaas up`: from nothing, or from whatever a crash left, to a platform that answers through its edge.

Every step first looks at what is there, so running it again is harmless and repairs what is broken.
"""

from __future__ import annotations

import secrets as random_source
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests

from localfaas import database, edge, gateway, loopback, monitoring, platform, postgres
from localfaas.build import BuildError
from localfaas.client import GatewayClient
from localfaas.commands import as_typed
from localfaas.deploy import deploy_stack, wait_until_served
from localfaas.deployment import DeploymentRefused, validate
from localfaas.edge_reload import reload_edge
from localfaas.images import prepare
from localfaas.ports import check_ports
from localfaas.progress import Steps
from localfaas.project import load_hooks, run_hook
from localfaas.registry import Registry
from localfaas.scaffold import KONG_FILE
from localfaas.settings import Settings
from localfaas.stack import Stack, StackError, StackFunction, load_stack, stack_file
from localfaas.status import LIMITS_OFF
from localfaas.strays import end_strays
from localfaas.supervisor import Supervisor, abouts, delete_program
from localfaas.supervisord import start_supervisord

ANSWER_SECONDS = 60.0
LONGEST_SOCKET_PATH = 107
"""Bytes in a Unix socket's address (unix(7))."""
SUPERUSER_SECRET = "postgres-superuser"  # noqa: S105  a secret's name, not a secret
OWN_SECRETS = ("basic-auth-user", "basic-auth-password", SUPERUSER_SECRET)
"""Made for the platform itself, whatever the project."""
MIGRATIONS = Path("db") / "migrations"


class UpError(RuntimeError):
    """The platform cannot be brought up; the message says what to do next."""


def up(settings: Settings, environ: dict[str, str], steps: Steps) -> None:
    """Bring the whole platform up and return when it answers. Raises UpError and the errors of the parts."""
    stack = load_stack(stack_file(settings.project), settings.stack_variables(environ))
    hooks = load_hooks(settings.project)
    supervisor = Supervisor(settings)
    with ThreadPoolExecutor(max_workers=1) as background:
        metrics = background.submit(monitoring.fetch_tools, settings)
        with steps.step("Directories, ports, secrets"):
            check_socket_paths(settings)
            if not supervisor.is_running():
                end_strays(settings)
                check_ports(settings, stack)
            _make_secrets(settings)
        if hooks.secrets:  # outside of a step, whose spinner would share its line
            run_hook(settings, "secrets", hooks.secrets)
        with steps.step("Processes under supervisord"):
            start_processes(settings, supervisor, stack)
        if needs_database(settings, stack):
            with steps.step("PostgreSQL and migrations") as notes:
                notes.append(_prepare_database(settings, stack))
        if not settings.rate_limits:
            steps.warn(as_typed(LIMITS_OFF, settings.project))
        with steps.step("Embedded edge and function gateway"):
            supervisor.replace(platform.api_program(settings))
            _wait_for_api(settings)
            _load_edge(settings)
        with steps.step("Monitoring") as notes:
            watching = monitoring.start(settings, supervisor, metrics, steps)
            notes.extend(watching.running.values() or ["nothing"])
    with steps.step("Functions") as notes:
        notes.append(_deploy(settings, stack))
        wait_until_served(settings, gateway_client(settings), stack.functions)
    if hooks.after_deploy:
        run_hook(settings, "after_deploy", hooks.after_deploy)
    if hooks.check:
        with steps.step(f"GET {settings.url('edge')}{hooks.check}"):
            _wait_for(settings.url("edge") + hooks.check)
    if watching.refused:
        raise UpError("everything is up, but:\n" + "\n".join(watching.refused))


def start_processes(settings: Settings, supervisor: Supervisor, stack: Stack) -> None:
    """supervisord, then PostgreSQL and both Envoys, each replaced only if it changed.

    Not the API, which starts the replicas: these need the database as migrations leave it, and its present address.
    """
    deployed = Registry(settings.deployments).all()
    if not supervisor.is_running():
        gateway.forget_endpoints(settings, deployed)
        # Those of the last time may be for other ports, or for a Python that is no longer there.
        for name in abouts(settings):
            delete_program(settings, name)
        start_supervisord(settings)
    if needs_database(settings, stack) and not settings.database_url:
        cluster = platform.postgres_cluster(settings)
        postgres.check_namespace()
        cluster.create((settings.secrets / SUPERUSER_SECRET).read_text())
        supervisor.replace(platform.postgres_program(settings, cluster))
    gateway.write_bootstrap(settings)
    # Read anew: the API, where it runs, may have changed it meanwhile.
    gateway.write_gateway(settings, Registry(settings.deployments).all())
    edge.write_bootstrap(settings)
    for node in ("gateway", "edge"):
        supervisor.replace(platform.envoy_program(settings, node))


def gateway_client(settings: Settings) -> GatewayClient:
    """A client of this platform's own gateway, with its own credentials. Raises UpError when there are none yet."""
    try:
        user, password = (
            (settings.secrets / f"basic-auth-{part}").read_text().strip() for part in ("user", "password")
        )
    except FileNotFoundError as exc:
        raise UpError(f"nothing was ever started in {settings.state}; `localfaas up` does") from exc
    return GatewayClient(settings.url("gateway"), user, password)


def check_socket_paths(settings: Settings) -> None:
    """Raise UpError when the state directory's path is too long for the sockets in it."""
    longest = max(
        len(str(path)) for path in (settings.supervisor_socket, settings.envoy_admin_socket("gateway"))
    )
    if longest + len(".12345") > LONGEST_SOCKET_PATH:  # supervisord first binds a name with its pid
        raise UpError(
            f"the path of {settings.state} is too long for Unix sockets: set STATE_DIR to a shorter one"
        )


def _make_secrets(settings: Settings) -> None:
    values = ("admin", random_source.token_hex(16), postgres.new_password())
    for name, value in zip(OWN_SECRETS, values, strict=True):
        if not (settings.secrets / name).exists():
            database.write_secret(settings.secrets / name, value)


def needs_database(settings: Settings, stack: Stack) -> bool:
    """Whether the project has a use for PostgreSQL."""
    return (settings.project / MIGRATIONS).is_dir() or any(
        name.endswith(database.SECRET_SUFFIX) for name in secret_names(settings, stack)
    )


def secret_names(settings: Settings, stack: Stack) -> set[str]:
    """What functions and what watches them need."""
    return monitoring.secret_names(settings) | {
        secret for function in stack.functions.values() for secret in function.deployment().get("secrets", [])
    }


def admin_url(settings: Settings) -> str:
    """The superuser's address of the project's database."""
    if settings.database_url:
        return settings.database_url
    password = (settings.secrets / SUPERUSER_SECRET).read_text()
    return platform.postgres_cluster(settings).url(password, database.DATABASE)


def _prepare_database(settings: Settings, stack: Stack) -> str:
    url = admin_url(settings)
    if not settings.database_url:
        postgres.wait_until_ready(database.with_database(url, "postgres"))
    migrations = settings.project / MIGRATIONS
    applied = ""
    if migrations.is_dir():
        applied = database.migrate(url, migrations, settings.programs / "dbmate")
    database.login_secrets(settings, url, secret_names(settings, stack))
    count = applied.count("Applied:")
    return f"{count} migrations applied" if count else "nothing to migrate"


def _wait_for_api(settings: Settings) -> None:
    _wait_for(settings.url("gateway") + "/healthz")
    if (settings.project / KONG_FILE).exists():
        _wait_for(settings.url("edge-admin") + "/status")


def _load_edge(settings: Settings) -> None:
    path = settings.project / KONG_FILE
    if path.exists():
        reload_edge(settings, path)


def _deploy(settings: Settings, stack: Stack) -> str:
    """Build every function; send those that are not deployed just so already."""
    registry = Registry(settings.deployments)
    changed = [one for one in stack.functions.values() if not _is_deployed(settings, stack, one, registry)]
    deploy_stack(changed, stack, settings, gateway_client(settings), lambda line: None)
    return f"{len(changed)} deployed, {len(stack.functions) - len(changed)} as they were"


def _is_deployed(settings: Settings, stack: Stack, function: StackFunction, registry: Registry) -> bool:
    known = registry.get(function.name)
    try:
        if known is None or known.deployment.to_json() != validate(function.deployment()).to_json():
            return False
        layout = prepare(function, stack, settings.project, settings.builds)
    except (BuildError, DeploymentRefused, StackError):
        return False  # what is wrong is told of it, and the others are deployed
    return layout is None or layout.path == known.layout


def _wait_for(url: str, timeout: float = ANSWER_SECONDS) -> None:
    deadline, last = time.monotonic() + timeout, "no answer"
    with loopback.session() as session:
        while time.monotonic() < deadline:
            try:
                response = session.get(url, timeout=5)
                if response.status_code == 200:
                    return
                last = f"{response.status_code} {response.text[:200]}"
            except requests.RequestException as exc:
                last = str(exc)
            time.sleep(0.1)
    raise UpError(f"{url} does not answer 200 after {timeout:.0f} s; last: {last}")
