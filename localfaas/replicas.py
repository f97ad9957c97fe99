"""Replicas: makes supervisord and both Envoys follow the registry.

One thread observes, asks rollout.plan what to do, and does it; nothing in it waits for a single replica.
All it needs to know survives it: programs are supervisord's, phases are read back from the endpoint files,
so the API process may be killed at any moment and goes on where it was.
"""

from __future__ import annotations

import http.client
import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from localfaas.build import BuildError
from localfaas.envoy import Address, EnvoyFiles, Membership
from localfaas.gateway import write_endpoints
from localfaas.interpreter import InterpreterError
from localfaas.ports import holder, listens
from localfaas.registry import Desired, Registry
from localfaas.replica_program import base_port, replica_program
from localfaas.rollout import Action, Leave, Phase, Replica, Wanted, plan
from localfaas.settings import LOOPBACK, REPLICA_PORT_STEP, Settings
from localfaas.supervisor import (
    Process,
    Supervisor,
    SupervisorError,
    abouts,
    delete_program,
    write_program,
)

log = logging.getLogger("localfaas.replicas")

SETTLED_SECONDS = 1.0
BUSY_SECONDS = 0.1
READY_TIMEOUT_SECONDS = 1.0
DRAIN_SECONDS = 0.5
"""Between leaving the endpoints and SIGTERM: time for both Envoys to have read the new file."""
LOST_SECONDS = 5.0
"""A serving replica whose process is gone for so long leaves the endpoints until it is ready again."""


@dataclass
class _Slot:
    """One replica as the reconciler remembers it; times are time.monotonic() seconds."""

    function: str
    generation: str
    port: int
    phase: Phase = Phase.STARTING
    left_at: float = 0.0
    port_taken: bool = False
    seen_at: float = field(default_factory=time.monotonic)


@dataclass(frozen=True)
class ReplicaInfo:
    """One replica for status, discovery and tests."""

    function: str
    name: str
    address: Address
    phase: Phase


class Reconciler:
    """Keeps replicas and endpoints as the registry wants them, until `stop` is called."""

    def __init__(
        self,
        settings: Settings,
        registry: Registry,
        supervisor: Supervisor,
        publish: Callable[[Membership], None],
        publish_gateway: Callable[[list[Desired]], None],
    ) -> None:
        """`publish` tells the edge who serves; `publish_gateway` writes the function gateway's routes and clusters."""
        self._settings = settings
        self._registry = registry
        self._supervisor = supervisor
        self._publish = publish
        self._publish_gateway = publish_gateway
        self._gateway_files = EnvoyFiles(settings.envoy("gateway"))
        self._slots: dict[str, _Slot] = {}
        self._published: dict[str, tuple[Address, ...]] = {}
        self._deployed: list[Desired] | None = None
        self._pids: dict[str, int] = {}
        self._wake = threading.Event()
        self._stopped = threading.Event()
        self._pool = ThreadPoolExecutor(max_workers=8, thread_name_prefix="ready")
        registry.subscribe(lambda name: self._wake.set())

    def run(self) -> None:
        """Reconcile until stopped; a failed round is logged and tried again."""
        self._recall()
        while not self._stopped.is_set():
            try:
                busy = self.step()
            except Exception:  # whatever it was, the next round starts from what is observed then
                log.exception("round failed, trying again")
                busy = False
            self._wake.wait(BUSY_SECONDS if busy else SETTLED_SECONDS)
            self._wake.clear()

    def stop(self) -> None:
        self._stopped.set()
        self._wake.set()
        self._pool.shutdown(wait=False)

    def replicas(self) -> list[ReplicaInfo]:
        """Every replica that exists, in order."""
        return [
            ReplicaInfo(slot.function, name, (LOOPBACK, slot.port), slot.phase)
            for name, slot in sorted(self._slots.items())
        ]

    def available(self, function: str) -> int:
        """How many replicas of the function take traffic: both Envoys have been told of them."""
        return len(self._published.get(function, ()))

    def programs(self) -> dict[str, int]:
        """The pid of every program (0: not running), as supervisord said last, which is not asked again."""
        return self._pids

    def step(self) -> bool:
        """One round: observe, publish, act. Returns whether something is under way."""
        desired = {one.name: one for one in self._registry.all()}
        self._publish_deployments(list(desired.values()))
        processes = self._supervisor.processes()
        self._pids = {name: process.pid for name, process in processes.items()}
        self._observe(processes)
        self._retire(processes)
        acted = False
        for function in sorted(desired.keys() | {slot.function for slot in self._slots.values()}):
            acted = self._advance(function, desired.get(function)) or acted
        self._publish_endpoints(desired)
        return acted or any(slot.phase is not Phase.SERVING for slot in self._slots.values())

    def _recall(self) -> None:
        """Read back what exists: programs from their files, who serves from the endpoint files."""
        for name, about in abouts(self._settings).items():
            if "function" not in about:
                continue
            slot = _Slot(about["function"], about["generation"], about["port"])
            if (LOOPBACK, slot.port) in endpoints(self._gateway_files.eds_path(slot.function)):
                slot.phase = Phase.SERVING
            self._slots[name] = slot

    def _advance(self, function: str, desired: Desired | None) -> bool:
        """Take the steps of one function that can be taken now; its failure is not the others'."""
        actions = self._plan(function, desired)
        try:
            for action in actions:
                self._act(function, action, desired)
        except (SupervisorError, InterpreterError, BuildError, OSError, ValueError) as exc:
            log.error("%s: %s", function, exc)  # noqa: TRY400 - the message says all there is to know
        except Exception:  # a defect, which is not the others' either
            log.exception("%s", function)
        return bool(actions)

    def _plan(self, function: str, desired: Desired | None) -> list[Action]:
        wanted = Wanted(desired.generation, desired.replicas) if desired else Wanted("", 0)
        replicas = [
            Replica(_slot_number(name), slot.generation, slot.phase)
            for name, slot in self._slots.items()
            if slot.function == function
        ]
        return plan(wanted, replicas)

    def _act(self, function: str, action: Action, desired: Desired | None) -> None:
        name = f"{function}-{action.slot}"
        if isinstance(action, Leave):
            slot = self._slots[name]
            slot.phase, slot.left_at = Phase.LEAVING, time.monotonic()
            log.info("%s leaves", name)
        elif desired is not None:
            port = self._port(desired, action.slot)
            program = replica_program(self._settings, desired, action.slot, port)
            write_program(self._settings, program)
            self._supervisor.add(name)
            self._slots[name] = _Slot(function, desired.generation, port)
            log.info("%s starts on port %d", name, port)

    def _observe(self, processes: dict[str, Process]) -> None:
        """Move replicas between starting and serving."""
        now = time.monotonic()
        starting: list[tuple[str, _Slot, int]] = []
        for name, slot in self._slots.items():
            process = processes.get(name)
            if process and process.state in {"RUNNING", "STARTING"}:
                slot.seen_at = now
                if slot.phase is Phase.STARTING:
                    starting.append((name, slot, process.pid))
            elif slot.phase is Phase.SERVING and now - slot.seen_at > LOST_SECONDS:
                slot.phase = Phase.STARTING
                log.warning("%s is gone: out of rotation until it is ready again", name)
            if process and process.state in {"FATAL", "STOPPED"} and slot.phase is not Phase.LEAVING:
                self._supervisor.start(name)  # supervisord leaves both as they are
                slot.phase = Phase.STARTING
        ports = [slot.port for _, slot, _ in starting]
        for (name, slot, pid), ready in zip(starting, self._pool.map(is_ready, ports), strict=True):
            if ready and self._has_its_port(name, slot, pid):
                slot.phase = Phase.SERVING

    def _has_its_port(self, name: str, slot: _Slot, pid: int) -> bool:
        """Whether it was the replica that said it is ready; says once in the log who else has its port."""
        if listens(pid, slot.port):
            slot.port_taken = False
        elif not slot.port_taken:
            slot.port_taken = True
            log.error("%s: port %d is taken%s", name, slot.port, holder(slot.port))
        return not slot.port_taken

    def _retire(self, processes: dict[str, Process]) -> None:
        """Stop replicas that have drained, and forget those that have stopped or were never begun."""
        for name, slot in list(self._slots.items()):
            if slot.phase is Phase.STARTING and name not in processes:
                # Written down by a process that was killed before supervisord was told: begun anew.
                delete_program(self._settings, name)
                del self._slots[name]
                continue
            if slot.phase is not Phase.LEAVING or time.monotonic() - slot.left_at < DRAIN_SECONDS:
                continue
            process = processes.get(name)
            if process and process.state in {"RUNNING", "STARTING", "BACKOFF"}:
                self._supervisor.stop(name)
            elif process is None or process.pid == 0:
                if process:
                    self._supervisor.forget(name)
                delete_program(self._settings, name)
                del self._slots[name]

    def _publish_deployments(self, desired: list[Desired]) -> None:
        """Write the function gateway's routes and clusters when something was deployed, scaled or removed."""
        if desired != self._deployed:
            self._publish_gateway(desired)
            self._deployed = desired

    def _publish_endpoints(self, desired: Iterable[str]) -> None:
        """Write every changed function's endpoints for both Envoys."""
        serving = {function: self._serving(function) for function in desired}
        if serving == self._published:
            return
        for function, addresses in serving.items():
            write_endpoints(self._settings, function, addresses)
        self._publish(serving)
        self._published = serving

    def _serving(self, function: str) -> tuple[Address, ...]:
        return tuple(
            sorted(
                (LOOPBACK, slot.port)
                for slot in self._slots.values()
                if slot.function == function and slot.phase is Phase.SERVING
            )
        )

    def _port(self, desired: Desired, slot: int) -> int:
        return base_port(self._settings, desired) + (slot - 1) * REPLICA_PORT_STEP


def is_ready(port: int) -> bool:
    """Whether a replica answers `/_/ready` with 200; 404 counts too: a foreign template without readiness answers."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=READY_TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/_/ready")
        return connection.getresponse().status in (200, 404)
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


class Lack(StrEnum):
    """What keeps a replica from serving as it is deployed, the furthest from it first."""

    EARLIER = "is of an earlier deployment"
    NOT_STARTED = "has not been started"
    NO_TRAFFIC = "takes no traffic"

    @property
    def steps(self) -> int:
        """How many of these there are until it serves."""
        return len(Lack) - list(Lack).index(self)


def lacking(
    settings: Settings, desired: Desired, programs: Mapping[str, Mapping[str, Any]] | None = None
) -> dict[str, Lack]:
    """What keeps a function from being served as it is deployed, by replica; nothing when all is done.

    Read from files, so that it can be asked without the reconciler; `programs` are what `abouts` has just read.
    """
    programs = abouts(settings) if programs is None else programs
    serving = endpoints(EnvoyFiles(settings.envoy("gateway")).eds_path(desired.name))
    found = {}
    for slot in range(1, desired.replicas + 1):
        name = f"{desired.name}-{slot}"
        about = programs.get(name)
        if not about:
            found[name] = Lack.NOT_STARTED
        elif about["generation"] != desired.generation:
            found[name] = Lack.EARLIER
        elif (LOOPBACK, about["port"]) not in serving:
            found[name] = Lack.NO_TRAFFIC
    return found


def endpoints(path: Path) -> set[Address]:
    """The addresses in an endpoint file; none when it is not there, or was emptied by a loss of power."""
    try:
        assignments = json.loads(path.read_text())["resources"]
    except (FileNotFoundError, ValueError):
        return set()
    found = set()
    for assignment in assignments:
        for group in assignment["endpoints"]:
            for endpoint in group["lb_endpoints"]:
                address = endpoint["endpoint"]["address"]["socket_address"]
                found.add((address["address"], address["port_value"]))
    return found


def _slot_number(name: str) -> int:
    return int(name.rpartition("-")[2])
