"""Orders over HTTP: owns the schema orders; calls inventory for goods that come back and payments for their money.

Orders are made by checkout (routes_service.py); what people do with them is in routes_orders.py. The steps of a cancel
are in cancelling.py, those of a return in returning.py; order_numbers.py makes the numbers that people read to each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from functions.shared import (
    DatabaseSettings,
    FunctionApp,
    ServiceKeySettings,
    TokenSettings,
    current,
    setting,
)
from functions.shared import (
    create_app as build,
)
from functions.shared.payments import TIMEOUT_SECONDS, PaymentProvider
from functions.shared.stock import Locations

# Importing these declares their routes on `api`.
from . import recovery, routes_orders, routes_service, views
from .common import api

__all__ = ["OrdersSettings", "api", "create_app", "routes_orders", "routes_service"]


@dataclass(frozen=True, kw_only=True)
class OrdersSettings(DatabaseSettings, TokenSettings, ServiceKeySettings):
    payment_timeout_seconds: float = setting(
        "A call of the payment provider ends after this long.", default=TIMEOUT_SECONDS
    )
    recovery_batch: int = setting(
        "Cancels and returns that one call of /recover deals with at most.", default=50
    )


@api.post("/recover", answers={200: views.Recovery}, roles=["service"], problems=[503])
def recover_orders() -> dict[str, Any]:
    """Finish some of the cancels and returns that were interrupted; for maintenance. Any number may run at once."""
    limit = current().settings(OrdersSettings).recovery_batch
    with current().database.transaction() as connection:
        recovered = recovery.recover(connection, limit)
    return {"recovered": recovered, "more": recovered == limit}


def create_app(environ: Mapping[str, str]) -> FunctionApp:
    """The orders function in `environ`; the template calls this once."""
    app = build(api, OrdersSettings, environ)
    timeout_seconds = app.service.settings(OrdersSettings).payment_timeout_seconds
    app.extensions["provider"] = PaymentProvider(app.service.client, timeout_seconds)
    app.extensions["locations"] = Locations()
    return app
