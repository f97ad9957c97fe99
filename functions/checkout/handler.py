"""Checkout over HTTP: owns the schema checkout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from functions.shared import Api, DatabaseSettings, FunctionApp, ServiceKeySettings, TokenSettings
from functions.shared import (
    create_app as build,
)


@dataclass(frozen=True, kw_only=True)
class CheckoutSettings(DatabaseSettings, TokenSettings, ServiceKeySettings):
    pass


api = Api("checkout", title="Checkout", migration="0010")


def create_app(environ: Mapping[str, str]) -> FunctionApp:
    """The checkout function in `environ`; the template calls this once."""
    return build(api, CheckoutSettings, environ)
