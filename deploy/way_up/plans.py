"""Ways to run the shop: how many of each part, on how many processors, and at what price."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from deploy.kubernetes import connections
from deploy.way_up.demand import Demand
from localfaas.deployment import MAX_REPLICAS
from localfaas.stack import Stack

ONE_MACHINE = 2
"""Processors of the machine on which everything was measured."""
FULL = 0.6
"""How full a part may be that is chosen for a load: what is left is for peaks, and for the loss of one of three."""
SYSTEM_CORES, SYSTEM_GB = 2, 4
"""Of a cluster: its control plane, Prometheus, Grafana."""


@dataclass(frozen=True)
class Plan:
    """What there is. Where `shared`, edge, gateway, functions and database take turns on `function_cores`."""

    name: str
    edge: int
    gateway: int
    replicas: Mapping[str, int]
    threads: Mapping[str, int]
    """Of one replica."""
    with_database: frozenset[str]
    function_cores: int
    database_cores: int = 0
    """Of each primary."""
    shards: int = 1
    read_cores: int = 0
    """Of copies that answer what changes nothing."""
    shared: bool = False

    @property
    def cores(self) -> int:
        if self.shared:
            return self.function_cores
        database = self.shards * self.database_cores + self.read_cores
        return self.edge + self.gateway + self.function_cores + database + SYSTEM_CORES

    @property
    def connections(self) -> int:
        """To the database, of all replicas: each has one for each thread, and one more."""
        functions = [name for name in self.replicas if name in self.with_database]
        return sum(self.replicas[name] * (self.threads[name] + 1) for name in functions) + sum(
            connections.OTHERS.values()
        )

    def gigabytes(self, replica_bytes: float) -> float:
        """Of memory: replicas as measured, a quarter of a gigabyte for each edge, two for each core of a database."""
        replicas = sum(self.replicas.values()) * replica_bytes / 1e9
        if self.shared:
            return 1 + replicas
        database = 2 * (self.shards * self.database_cores + self.read_cores)
        return SYSTEM_GB + replicas + 0.25 * (self.edge + self.gateway) + database


def one_machine(stack: Stack) -> Plan:
    return Plan(
        "one machine", 1, 1, _least(stack), _threads(stack), _with_database(stack), ONE_MACHINE, shared=True
    )


def community(stack: Stack) -> Plan:
    """All that OpenFaaS CE allows, on three nodes of four processors; the database on one of its own."""
    most = {name: min(MAX_REPLICAS, _most(stack, name)) for name in stack.functions}
    return Plan(
        "OpenFaaS CE", 2, 1, most, _threads(stack), _with_database(stack), 12, database_cores=4
    )  # fmt: skip


def sized(name: str, stack: Stack, demand: Demand, rate: float, *, shards: int = 1, read: bool) -> Plan:
    """As much of everything as `rate` visits a second fill to FULL."""
    least = _least(stack)
    replicas = {
        function: max(least[function], _enough(demand.interpreter[function], rate))
        for function in stack.functions
    }
    held = demand.threads
    threads = _threads(stack)
    replicas = {
        function: max(count, math.ceil(held[function] * rate / FULL / threads[function]))
        for function, count in replicas.items()
    }
    primary = demand.database - (demand.reads if read else 0)
    return Plan(
        name,
        edge=max(2, _enough(demand.edge, rate)),
        gateway=max(2, _enough(demand.gateway, rate)),
        replicas=replicas,
        threads=threads,
        with_database=_with_database(stack),
        function_cores=max(12, _enough(sum(demand.interpreter.values()), rate)),
        database_cores=max(4, _enough(primary / shards, rate)),
        shards=shards,
        read_cores=_enough(demand.reads, rate) if read else 0,
    )


def _enough(seconds: float, rate: float) -> int:
    return max(1, math.ceil(seconds * rate / FULL))


def _least(stack: Stack) -> dict[str, int]:
    return {name: int(one.labels["com.openfaas.scale.min"]) for name, one in stack.functions.items()}


def _most(stack: Stack, name: str) -> int:
    return int(stack.functions[name].labels["com.openfaas.scale.max"])


def _threads(stack: Stack) -> dict[str, int]:
    return {name: int(one.environment["threads"]) for name, one in stack.functions.items()}


def _with_database(stack: Stack) -> frozenset[str]:
    return frozenset(name for name, one in stack.functions.items() if f"{name}-db" in one.secrets)
