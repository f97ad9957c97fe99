"""Orders over HTTP: owns the schema orders; calls inventory for goods that come back and payments for their money.

Orders are made by checkout (routes_service.py); what people do with them is in routes_orders.py. The steps of a cancel
are in cancelling.py, those of a return in returning.py; numbers.py makes the numbers that people read to each other.
"""

from __future__ import annotations

from collections.abc import Mapping

from functions.shared import FunctionApp
from functions.shared import (
    create_app as build,
)
from functions.shared.stock import Locations

# Importing these declares their routes on `api`.
from . import routes_orders, routes_service
from .common import OrdersSettings, api

__all__ = ["OrdersSettings", "api", "create_app", "routes_orders", "routes_service"]


def create_app(environ: Mapping[str, str]) -> FunctionApp:
    """The orders function in `environ`; the template calls this once."""
    app = build(api, OrdersSettings, environ)
    app.extensions["locations"] = Locations()
    return app
