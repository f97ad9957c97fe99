"""Where everything is: directories, ports and the few settings of the local platform.

All of it derives from nine environment variables, read once by `Settings.load` and passed on as a value:

| name | default | meaning |
|---|---|---|
| `STATE_DIR` | `.local` | holds all state: secrets, builds, data, logs, sockets; a short path, for the sockets' sake |
| `PORT_OFFSET` | `0` | added to every port, so that a second platform runs beside the first |
| `BIND` | `127.0.0.1` | the address of the edge; everything else stays on 127.0.0.1 |
| `PG_BIN` | the pinned wheel | a directory with `initdb` and `postgres` to use instead |
| `DATABASE_URL` | none | a running PostgreSQL to use instead: a superuser's address, with the database's name |
| `RATE_LIMITS` | `on` | `off` leaves the rate limits of `kong/kong.yml` out, for tests and measurements from one address; `make status` says so |
| `TRACES` | `off` | `on` records what every request passes through, and shows it at the port `traces` |
| `TRACES_URL` | the local store | where spans go instead, by OTLP over HTTP, such as `http://localhost:4318` |
| `TRACES_RATIO` | `1` | the share of requests that is recorded, where the client has not begun the trace itself |
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

PORTS = {
    "edge": 8000,
    "edge-admin": 8001,
    "prometheus": 8010,
    "dashboards": 8011,
    "gateway": 8080,
    "gateway-metrics": 8082,
    "alertmanager": 8093,
    "postgres-exporter": 8094,
    "traces": 8095,
    "pages": 8096,
    "postgres": 8432,
    "edge-tls": 8443,
}
"""Fixed ports before `PORT_OFFSET`; functions name theirs in the annotation `localfaas/port`."""

REPLICA_PORT_STEP = 10
"""Replica i (from 1) of a function listens on its base port + (i - 1) * this."""

BOUND = frozenset({"edge", "edge-tls"})
"""The parts that listen at `BIND`."""

LOOPBACK, LOOPBACK_V6 = "127.0.0.1", "::1"
EVERYWHERE, EVERYWHERE_V6 = "0.0.0.0", "::"  # noqa: S104 - compared with, not listened at
"""Values of `BIND`: every address of this machine, of IPv4 or of IPv6."""


@dataclass(frozen=True)
class Traces:
    """Where the spans of all parts go, by OTLP over HTTP to `/v1/traces` below `url`, and which share of traces."""

    url: str
    ratio: float = 1.0


class SettingsError(ValueError):
    """A setting cannot be used; the message names it and says what it should be."""


@dataclass(frozen=True)
class Settings:
    """One platform: the project it serves, its state directory, its ports."""

    project: Path
    state: Path
    port_offset: int = 0
    bind: str = LOOPBACK
    pg_bin: Path | None = None
    database_url: str | None = None
    rate_limits: bool = True
    traces: Traces | None = None

    @classmethod
    def load(cls, environ: Mapping[str, str], project: Path) -> Settings:
        """Read the table above from `environ`; relative paths count from `project`.

        Raises SettingsError when `PORT_OFFSET` is not a whole number that keeps every port in range,
        or a variable that is on or off is neither, or a trace setting makes no sense.
        """
        offset_text = environ.get("PORT_OFFSET") or "0"
        if not (offset_text.isascii() and offset_text.isdecimal()) or int(offset_text) > 56000:
            raise SettingsError(f"PORT_OFFSET must be a whole number from 0 to 56000, not {offset_text!r}")
        pg_bin = environ.get("PG_BIN")
        return cls(
            project=project.resolve(),
            state=(project / (environ.get("STATE_DIR") or ".local")).resolve(),
            port_offset=int(offset_text),
            bind=environ.get("BIND") or LOOPBACK,
            pg_bin=Path(pg_bin).resolve() if pg_bin else None,
            database_url=environ.get("DATABASE_URL") or None,
            rate_limits=_is_on(environ, "RATE_LIMITS", "on"),
            traces=_traces(environ, f"http://{LOOPBACK}:{PORTS['traces'] + int(offset_text)}"),
        )

    def port(self, name: str) -> int:
        """The port of a fixed part, by its name in PORTS, with the offset."""
        return PORTS[name] + self.port_offset

    def url(self, name: str, loopback: str = LOOPBACK) -> str:
        """The base address of a fixed part for who is on this machine, without a trailing slash.

        `loopback` is what 127.0.0.1 is called in it.
        """
        host = self._host(name)
        return f"http://{loopback if host == LOOPBACK else host}:{self.port(name)}"

    def _host(self, name: str) -> str:
        """The edge may listen at one address that is not 127.0.0.1, and then nowhere else."""
        if name not in BOUND or self.bind in (LOOPBACK, EVERYWHERE):
            return LOOPBACK
        address = LOOPBACK_V6 if self.bind == EVERYWHERE_V6 else self.bind
        return f"[{address}]" if ":" in address else address

    def stack_variables(self, environ: Mapping[str, str]) -> dict[str, str]:
        """What stack.yml is read with: this platform's own addresses, which `environ` may replace, and its traces."""
        own = {"EDGE_URL": "edge", "PROMETHEUS_URL": "prometheus", "DASHBOARDS_URL": "dashboards"}
        traces = {
            "TRACES_URL": self.traces.url if self.traces else "",
            "TRACES_RATIO": f"{self.traces.ratio:g}" if self.traces else "",
        }
        return {
            **{name: self.url(part, loopback="localhost") for name, part in own.items()},
            **environ,
            **traces,
        }

    @property
    def stores_traces(self) -> bool:
        """Whether spans go to the store of this platform."""
        return self.traces is not None and self.traces.url == self.url("traces")

    # Directories and files below the state directory: each has one owner, named here.

    @property
    def secrets(self) -> Path:
        """Function secrets and platform passwords, one file each (0600 in a 0700 directory)."""
        return self.state / "secrets"

    @property
    def backups(self) -> Path:
        """Copies of the database, one folder each, written by backup.py; `reset` leaves them."""
        return self.state / "backups"

    @property
    def builds(self) -> Path:
        """Layouts: `<function>/<content hash>/`, written by build.py."""
        return self.state / "build"

    @property
    def deployments(self) -> Path:
        """What is deployed: `<function>.json`, written by registry.py."""
        return self.state / "functions"

    @property
    def run(self) -> Path:
        """Unix sockets and pid files."""
        return self.state / "run"

    @property
    def logs(self) -> Path:
        """`<program>.log`, written by the programs themselves and rotated by rotation.py."""
        return self.state / "logs"

    @property
    def supervisor(self) -> Path:
        """supervisord.conf, written by supervisord.py, and `conf.d/<program>.conf`, by supervisor.py."""
        return self.state / "supervisor"

    @property
    def tools(self) -> Path:
        """Unpacked programs; shared by all platforms of a checkout, or of a user where localfaas is installed, because they are not state."""
        checkout = Path(__file__).parents[1]
        if (checkout / "pyproject.toml").exists():
            return checkout / ".local" / "tools"
        return Path.home() / ".cache" / "localfaas" / "tools"

    def envoy(self, node: str) -> Path:
        """Configuration of one Envoy (`edge` or `gateway`), written by envoy.py."""
        return self.state / "envoy" / node

    @property
    def api_socket(self) -> Path:
        """Where the API process listens; the gateway Envoy routes `/system/*` here."""
        return self.run / "api.sock"

    def envoy_admin_socket(self, node: str) -> Path:
        return self.run / f"{node}-admin.sock"

    @property
    def supervisor_socket(self) -> Path:
        return self.run / "supervisor.sock"

    @property
    def programs(self) -> Path:
        """The directory of this interpreter's console programs (envoy, dbmate, supervisord)."""
        return Path(sys.executable).parent


def _is_on(environ: Mapping[str, str], name: str, default: str) -> bool:
    value = environ.get(name) or default
    if value not in ("on", "off"):
        raise SettingsError(f"{name} must be on or off, not {value!r}")
    return value == "on"


def _traces(environ: Mapping[str, str], store: str) -> Traces | None:
    """TRACES_URL alone switches on too; TRACES=off wins over it."""
    url = (environ.get("TRACES_URL") or "").rstrip("/")
    if not _is_on(environ, "TRACES", "on" if url else "off"):
        return None
    return Traces(_collector(url) if url else store, _ratio(environ.get("TRACES_RATIO") or "1"))


def _collector(url: str) -> str:
    parts = urlsplit(url)
    try:
        usable = parts.scheme == "http" and parts.hostname and parts.port != 0 and not parts.query
    except ValueError:
        usable = False
    if not usable:
        raise SettingsError(f"TRACES_URL must be an address such as http://localhost:4318, not {url!r}")
    return url


def _ratio(text: str) -> float:
    try:
        ratio = float(text)
    except ValueError:
        ratio = -1.0
    if not 0 <= ratio <= 1:
        raise SettingsError(f"TRACES_RATIO must be a number from 0 to 1, not {text!r}")
    return ratio
