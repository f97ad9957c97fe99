"""Customers over HTTP: owns the schema customers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from functions.shared import Api, DatabaseSettings, FunctionApp, TokenSettings
from functions.shared import (
    create_app as build,
)


@dataclass(frozen=True, kw_only=True)
class CustomersSettings(DatabaseSettings, TokenSettings):
    pass


api = Api("customers", title="Customers", migration="0007")


def create_app(environ: Mapping[str, str]) -> FunctionApp:
    """The customers function in `environ`; the template calls this once."""
    return build(api, CustomersSettings, environ)
