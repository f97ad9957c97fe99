"""What the host names of kong.yml stand for on this machine.

The names are the cluster's. On a cluster DNS answers them; here the platform itself knows
its gateway and the replicas of each function.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass

from localfaas.envoy import Address

_FUNCTION = re.compile(
    r"^(?P<function>[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)\.openfaas-fn(?:\.svc(?:\.cluster\.local)?)?\.?$"
)
_GATEWAY = re.compile(r"^gateway\.openfaas(?:\.svc(?:\.cluster\.local)?)?\.?$")
_GATEWAY_PORT = 8080


@dataclass(frozen=True)
class Replicas:
    """The ready replicas of a function, whatever their number."""

    function: str


@dataclass(frozen=True)
class Fixed:
    """An address that never changes."""

    address: Address


@dataclass(frozen=True)
class Gateway(Fixed):
    """The function gateway, which itself bounds what each function is given."""


@dataclass(frozen=True)
class Dns:
    """A name that Envoy itself asks DNS for."""

    host: str
    port: int


Resolution = Replicas | Fixed | Dns
Resolver = Callable[[str, int], Resolution]


def platform_resolver(gateway: Address) -> Resolver:
    """The names of a platform whose function gateway listens on `gateway`.

    `<f>.openfaas-fn` and the headless `<f>-replicas.openfaas-fn` are the replicas of `f`,
    on any port, because a replica's port here is its own.
    """

    def resolve(host: str, port: int) -> Resolution:
        if _GATEWAY.match(host) and port == _GATEWAY_PORT:
            return Gateway(gateway)
        if matched := _FUNCTION.match(host):
            return Replicas(matched["function"].removesuffix("-replicas"))
        try:
            address = ipaddress.ip_address(host.strip("[]"))
        except ValueError:
            return Dns(host, port)
        return Fixed((str(address), port))

    return resolve
