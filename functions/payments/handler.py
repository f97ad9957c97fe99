"""Payment provider (a simulator) over HTTP: owns the schema payments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from functions.shared import Api, DatabaseSettings, FunctionApp, TokenSettings
from functions.shared import (
    create_app as build,
)


@dataclass(frozen=True, kw_only=True)
class PaymentsSettings(DatabaseSettings, TokenSettings):
    pass


api = Api("payments", title="Payment provider (a simulator)", migration="0008")


def create_app(environ: Mapping[str, str]) -> FunctionApp:
    """The payments function in `environ`; the template calls this once."""
    return build(api, PaymentsSettings, environ)
