"""The embedded edge as the platform holds it: one declarative configuration, one membership, one Envoy.

Every change is the same step: parse, compile, have Envoy judge it, write. What was accepted last is kept on disk,
so that a restart of this process, or of Envoy, goes on with it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from localfaas import tracer
from localfaas.edge import certificate, listener
from localfaas.edge.apply import EdgeEnvoy, EnvoyRefusedError
from localfaas.edge.certificate import CertificateError, ensure_certificate
from localfaas.edge.compile import Compiled, compile_edge
from localfaas.edge.counts import ensure_counts
from localfaas.edge.entities import NAMESPACE, Configuration
from localfaas.edge.errors import Fault, KongConfigError
from localfaas.edge.kong_conf import read_node
from localfaas.edge.listener import Door
from localfaas.edge.parse import parse
from localfaas.edge.resolve import Resolver, platform_resolver
from localfaas.envoy import Address, EnvoyFiles, Membership, Resource
from localfaas.open_files import most_open_files
from localfaas.platform import envoy_binary
from localfaas.settings import LOOPBACK, Settings
from localfaas.whole_files import write_whole

EMPTY_HASH = "0" * 32
KONG_CONF = Path("kong") / "kong.conf"
_NODE = "edge"

log = logging.getLogger("localfaas.edge")


@dataclass(frozen=True)
class Loaded:
    """A configuration in force: its text, its entities, and a hash that changes with every character."""

    text: str
    configuration: Configuration
    hash: str
    at: float
    """Seconds since 1970."""

    @property
    def empty(self) -> bool:
        return self.hash == EMPTY_HASH


NOTHING = Loaded("", Configuration(), EMPTY_HASH, 0.0)


def bootstrap(settings: Settings) -> Resource:
    """What the edge's Envoy is started with."""
    files = EnvoyFiles(settings.envoy(_NODE))
    socket = str(settings.envoy_admin_socket(_NODE))
    return listener.bootstrap(socket, files.lds_source(), files.cds_source(), most_open_files())


def write_bootstrap(settings: Settings) -> None:
    """Lay everything that Envoy needs to start: its bootstrap, the listener and, at first, no routes."""
    files = EnvoyFiles(settings.envoy(_NODE))
    settings.run.mkdir(parents=True, exist_ok=True)
    files.write_bootstrap(bootstrap(settings))
    door = _door(settings)
    ensure_counts(Path(door.counts))
    if door.certificate:
        ensure_certificate(settings.secrets)
        pair = listener.certificate(str(settings.secrets / certificate.FILE), str(settings.secrets))
        files.write_secrets([pair])
    files.write_listeners(listener.listeners(door, listener.rds(files.rds_source())))
    if not (files.root / "rds" / "rds.json").exists():
        compiled = _compile(settings, Configuration(), {})
        files.write_clusters(compiled.clusters)
        files.write_routes([compiled.routes])


class Edge:
    """The one owner of the edge's configuration. Safe to use from several threads."""

    def __init__(self, settings: Settings) -> None:
        """Go on with what was accepted last."""
        self.settings = settings
        self._program = envoy_binary()
        self._lock = threading.RLock()
        self._state = settings.envoy(_NODE)
        self._membership: dict[str, tuple[Address, ...]] = _read_membership(self._state / "membership.json")
        self._loaded = NOTHING
        self._unread = False
        self._door = _door(settings)
        write_bootstrap(settings)
        if not settings.rate_limits:
            log.warning("RATE_LIMITS=off: the rate limits of kong.yml do not hold")
        self._restore()

    @property
    def loaded(self) -> Loaded:
        return self._loaded

    @property
    def membership(self) -> Membership:
        return self._membership

    @property
    def node_id(self) -> str:
        """The same for the same state directory."""
        return str(uuid.uuid5(NAMESPACE, str(self.settings.state)))

    @property
    def resolver(self) -> Resolver:
        return _resolver(self.settings)

    @property
    def envoy(self) -> EdgeEnvoy:
        return _envoy(self.settings, self._program, self._door)

    def renew_certificate(self) -> None:
        """Replace the edge's own certificate if it ends soon; Envoy reads the new one at once, connections stay."""
        try:
            if self._door.certificate and ensure_certificate(self.settings.secrets):
                log.info("the edge has a new certificate")
        except (CertificateError, OSError):
            log.exception("the edge goes on with the certificate that Envoy has")

    def load(self, text: str) -> Loaded:
        """Put `text` into force and keep it.

        Raises KongConfigError with every fault; what was in force before then stays.
        """
        configuration = parse(text)
        with self._lock:
            compiled = self._compile(configuration)
            before = self._loaded
            try:
                self.envoy.validate(compiled)
                self.envoy.apply(compiled)
            except EnvoyRefusedError as refused:
                if not self._unread:
                    self._fall_back(before)
                fault = Fault(("error",), f"the embedded edge cannot run this: {refused}")
                raise KongConfigError([fault]) from refused
            write_whole(self._state / "declarative.yml", text)
            self._loaded = Loaded(text, configuration, _hash(text), time.time())
            self._unread = False
        return self._loaded

    def update_membership(self, membership: Membership) -> None:
        """Take the ready replicas of every function; only endpoints that follow from them are rewritten."""
        with self._lock:
            fresh = {name: tuple(_addresses(found)) for name, found in membership.items()}
            if fresh == self._membership:
                return
            write_whole(self._state / "membership.json", json.dumps(fresh))
            if not self._unread:
                self.envoy.apply(_compile(self.settings, self._loaded.configuration, fresh))
            self._membership = fresh

    def _compile(self, configuration: Configuration) -> Compiled:
        return _compile(self.settings, configuration, self._membership)

    def _restore(self) -> None:
        """Take what was accepted last without judging it again: whatever fails now, Envoy keeps what it serves.

        Of a text that can no longer be read, it keeps the routes until another is loaded.
        """
        kept = self._state / "declarative.yml"
        if not kept.exists():
            return
        text = kept.read_text()
        try:
            self._loaded = Loaded(text, parse(text), _hash(text), time.time())
            self.envoy.apply(self._compile(self._loaded.configuration))
        except KongConfigError:
            self._unread = True
            log.exception("the configuration kept from before is refused; post one to the admin port")
        except EnvoyRefusedError:
            log.exception("Envoy does not take the configuration kept from before; it serves what it has")

    def _fall_back(self, before: Loaded) -> None:
        try:
            self.envoy.apply(self._compile(before.configuration))
        except EnvoyRefusedError:
            log.exception("Envoy does not take the former configuration either; it serves what it has")


def _compile(settings: Settings, configuration: Configuration, membership: Membership) -> Compiled:
    return compile_edge(
        configuration,
        _resolver(settings),
        membership,
        eds_source=EnvoyFiles(settings.envoy(_NODE)).eds_source,
        without=frozenset() if settings.rate_limits else frozenset({"rate-limiting"}),
        beside=tracer.clusters(settings.traces),
    )


def _resolver(settings: Settings) -> Resolver:
    return platform_resolver((LOOPBACK, settings.port("gateway")))


def _envoy(settings: Settings, program: Path, door: Door) -> EdgeEnvoy:
    return EdgeEnvoy(
        program=program,
        files=EnvoyFiles(settings.envoy(_NODE)),
        admin_socket=settings.envoy_admin_socket(_NODE),
        door=door,
    )


def _door(settings: Settings) -> Door:
    node = read_node(settings.project / KONG_CONF)
    return Door(
        bind=settings.bind,
        port=settings.port("edge"),
        tls_port=settings.port("edge-tls"),
        node=node,
        counts=str(settings.run / "edge-counts"),
        certificate=EnvoyFiles(settings.envoy(_NODE)).secrets_source() if node.listen.tls else None,
        traces=settings.traces,
    )


def _hash(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _addresses(found: Sequence[Address]) -> Sequence[Address]:
    return [(str(host), int(port)) for host, port in found]


def _read_membership(path: Path) -> dict[str, tuple[Address, ...]]:
    if not path.exists():
        return {}
    return {name: tuple(_addresses(found)) for name, found in json.loads(path.read_text()).items()}
