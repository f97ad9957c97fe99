"""The running platform behind the edge: its replicas, what the provider and the edge say for themselves, and pages to look at."""

from __future__ import annotations

import os
import re
import signal
import time
import uuid
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass

import requests

from db.seed.token import TokenRequest, mint
from localfaas import loopback
from localfaas.client import GatewayClient
from localfaas.settings import Settings
from localfaas.status import Row, rate_limits_hold, rows, traces_sent
from localfaas.up import gateway_client
from tests.experiments.common.platforms import is_back
from tests.load.demo.drawing import Replicas
from tests.load.demo.goods import Surprise

ASK_SECONDS = 10
_COUNTED = re.compile(r"^kong_http_requests_total\{[^}]*\} (\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class Shop:
    """One platform. What goes through its edge is asked by a Caller."""

    settings: Settings

    @property
    def edge(self) -> int:
        return self.settings.port("edge")

    def bearer(self, role: str, subject: str = "") -> str:
        """The authorization of somebody whose account plays no part."""
        request = TokenRequest((role,), subject or str(uuid.uuid4()))
        return f"Bearer {mint(request, self.settings.secrets, time.time())}"

    def client(self) -> GatewayClient:
        """One for each thread."""
        return gateway_client(self.settings)

    def running(self) -> set[str]:
        """The programs that run. Raises SupervisorError when nothing is up."""
        return {row.program for row in rows(self.settings) if row.state == "RUNNING"}

    @property
    def limits_rates(self) -> bool:
        return rate_limits_hold(self.settings)

    @property
    def shows_traces(self) -> bool:
        sent = traces_sent(self.settings)
        return sent is not None and sent.url == self.settings.url("traces")

    def replicas_of(self, function: str) -> list[Row]:
        """Its processes, by name, whether they take traffic or not."""
        return [
            row for row in rows(self.settings) if row.traffic and row.program.rpartition("-")[0] == function
        ]

    def serving(self, function: str) -> list[Row]:
        return [row for row in self.replicas_of(function) if row.traffic == "yes" and row.state == "RUNNING"]

    def kill(self, replica: Row) -> None:
        with suppress(ProcessLookupError):
            os.kill(replica.pid, signal.SIGKILL)

    def is_back(self, lost: Row) -> bool:
        return is_back(rows(self.settings), lost)

    def provider_says(self, checkout_id: str) -> dict[str, list[int]]:
        """The payment provider's ledger of a checkout: amounts in cents by kind. It has no route at the edge.

        Raises Surprise.
        """
        url = f"{self.settings.url('gateway')}/function/payments/ledger?reference={checkout_id}"
        try:
            reply = _get(url, Authorization=self.bearer("service", "maintenance"))
        except requests.RequestException as exc:
            raise Surprise("the payment provider did not answer") from exc
        if reply.status_code != 200:
            raise Surprise(f"the payment provider answered {reply.status_code} {reply.text[:200]}")
        found: dict[str, list[int]] = {}
        for entry in reply.json()["items"]:
            found.setdefault(entry["kind"], []).append(entry["amount_cents"])
        return found

    def counted_by_edge(self) -> int | None:
        """How many requests the edge says that it has answered, whoever asked; None where it does not say."""
        with suppress(requests.RequestException):
            text = _get(f"{self.settings.url('edge-admin')}/metrics").text
            return round(sum(map(float, _COUNTED.findall(text))))
        return None

    def pages(self, running: Collection[str]) -> dict[str, tuple[str, str]]:
        """What is worth looking at in a browser, and its address, of what runs here."""
        edge, boards, traces = (
            f"http://localhost:{self.settings.port(part)}" for part in ("edge", "dashboards", "traces")
        )
        found = {
            "shop": ("the landing page", f"{edge}/"),
            "docs": ("the API of all functions", f"{edge}/docs"),
        }
        if "dashboards" in running:
            found |= {
                "overview": ("rate, errors and times, dashboard Overview", f"{boards}/d/magasin-overview"),
                "edge": ("load of each replica, dashboard Edge and gateway", f"{boards}/d/magasin-edge"),
                "autoscaling": ("replicas wanted and there, dashboard Autoscaling", f"{boards}/d/magasin-autoscaling"),
                "orders": ("orders and where checkouts stop, dashboard Shop", f"{boards}/d/magasin-shop"),
            }  # fmt: skip
        on = ("one request through every hop", f"{traces}/")
        found["traces"] = on if self.shows_traces else ("traces", "they are off; TRACES=on make up")
        return found


def replicas(client: GatewayClient) -> dict[str, Replicas]:
    """By function, as the gateway tells. Raises ClientError."""
    return {
        one["name"]: Replicas(one.get("availableReplicas", 0), one.get("replicas", 0))
        for one in client.list()
    }


def _get(url: str, **headers: str) -> requests.Response:
    with loopback.session() as session:
        return session.get(url, headers=headers, timeout=ASK_SECONDS)
