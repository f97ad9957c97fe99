"""Orders over HTTP: owns the schema orders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from functions.shared import Api, DatabaseSettings, FunctionApp, ServiceKeySettings, TokenSettings
from functions.shared import (
    create_app as build,
)


@dataclass(frozen=True, kw_only=True)
class OrdersSettings(DatabaseSettings, TokenSettings, ServiceKeySettings):
    pass


api = Api("orders", title="Orders", migration="0009")


def create_app(environ: Mapping[str, str]) -> FunctionApp:
    """The orders function in `environ`; the template calls this once."""
    return build(api, OrdersSettings, environ)
