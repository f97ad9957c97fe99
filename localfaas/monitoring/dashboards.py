"""What listens at :8011: Grafana with the project's provisioning where it is installed, else our light page.

Beside Grafana the page listens at :8096, because runbooks are its own: alerts lead to them wherever it is.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path

from localfaas.settings import LOOPBACK, Settings
from localfaas.supervisor import Program

PRIORITY = 750
GRAFANA_COMMANDS = ("grafana-server", "grafana")
GRAFANA_HOMES = (Path("/usr/share/grafana"), Path("/opt/grafana"))
"""Where its packages put what it needs beside the program (the `homepath`), if not around the program itself."""
FOLDER = Path("monitoring") / "grafana"


def program(settings: Settings, binary: Path, running: Collection[str]) -> Program | None:
    """Grafana if it is on PATH, else the page; None when the project has no dashboards."""
    if not (settings.project / FOLDER / "dashboards").is_dir():
        return None
    grafana = find_grafana(os.environ)
    return grafana_program(settings, *grafana) if grafana else page_program(settings, binary)


def pages_program(settings: Settings, binary: Path, running: Collection[str]) -> Program | None:
    """The page at a port of its own; None where it is at :8011 anyway, or the project has no dashboards."""
    if not (settings.project / FOLDER / "dashboards").is_dir() or not find_grafana(os.environ):
        return None
    return page_program(settings, binary, "pages")


def find_grafana(environ: Mapping[str, str]) -> tuple[list[str], Path] | None:
    """Grafana's command, and the directory that it calls its home; None when either is missing."""
    for name in GRAFANA_COMMANDS:
        found = shutil.which(name, path=environ.get("PATH"))
        if found:
            homes = (Path(found).resolve().parents[1], *GRAFANA_HOMES)
            home = next((one for one in homes if (one / "conf" / "defaults.ini").is_file()), None)
            return ([found] if name == "grafana-server" else [found, "server"], home) if home else None
    return None


def grafana_program(settings: Settings, command: list[str], home: Path) -> Program:
    """Grafana on loopback with everything it keeps below the state directory; whoever comes may look (Viewer)."""
    state = settings.state / "grafana"
    state.mkdir(parents=True, exist_ok=True)
    folder = settings.project / FOLDER
    return Program(
        name="dashboards",
        command=[*command, f"--homepath={home}"],
        directory=state,
        environment={
            "PROMETHEUS_URL": settings.url("prometheus"),
            "DASHBOARDS_PATH": str(folder / "dashboards"),
            "GF_PATHS_DATA": str(state / "data"),
            "GF_PATHS_LOGS": str(state / "logs"),
            "GF_PATHS_PLUGINS": str(state / "plugins"),
            "GF_PATHS_PROVISIONING": str(folder / "provisioning"),
            "GF_SERVER_HTTP_ADDR": LOOPBACK,
            "GF_SERVER_HTTP_PORT": str(settings.port("dashboards")),
            "GF_SECURITY_ADMIN_USER": "admin",
            "GF_SECURITY_ADMIN_PASSWORD": "admin",
            "GF_AUTH_ANONYMOUS_ENABLED": "true",
            "GF_AUTH_ANONYMOUS_ORG_ROLE": "Viewer",
            "GF_USERS_DEFAULT_THEME": "system",
            "GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH": str(folder / "dashboards" / "overview.json"),
            "GF_PLUGINS_PREINSTALL_DISABLED": "true",  # else it fetches plugins when it starts
            "GF_ANALYTICS_REPORTING_ENABLED": "false",
            "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
            "GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES": "false",
            "GF_NEWS_NEWS_FEED_ENABLED": "false",
        },
        about={"port": settings.port("dashboards"), "kind": "Grafana"},
        priority=PRIORITY,
    )


def page_program(settings: Settings, binary: Path, part: str = "dashboards") -> Program:
    """The light page of localfaas/dashboards, at the port of `part`."""
    verb = ["dashboards", "--port", str(settings.port(part))]
    return Program(
        name=part,
        command=[str(binary), "-m", "localfaas", "--project", str(settings.project), *verb],
        directory=settings.project,
        environment={
            "STATE_DIR": str(settings.state),
            "PORT_OFFSET": str(settings.port_offset),
            "TRACES": "on" if settings.stores_traces else "off",
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "PYTHONUNBUFFERED": "1",
        },
        about={"port": settings.port(part), "kind": "page"},
        priority=PRIORITY,
    )
