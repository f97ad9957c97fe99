"""Where the seed commands find the platform: the environment that localfaas gives its hooks.

| variable | default | meaning |
|---|---|---|
| `SECRETS_DIR` | `<STATE_DIR>/secrets` | directory of the secret files |
| `EDGE_URL` | `http://127.0.0.1:<8000 + PORT_OFFSET>` | the public address of the shop |
| `STATE_DIR`, `PORT_OFFSET` | `.local`, `0` | as in localfaas/settings.py, when the two above are not set |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from localfaas.settings import Settings

PROJECT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class SeedEnvironment:
    """The directory of secrets and the shop's public address, without a trailing slash."""

    secrets: Path
    edge_url: str

    @classmethod
    def load(cls, environ: Mapping[str, str], project: Path = PROJECT) -> SeedEnvironment:
        """Read the table above from `environ`. Raises SettingsError for a `PORT_OFFSET` out of range."""
        settings = Settings.load(environ, project)
        secrets = environ.get("SECRETS_DIR")
        return cls(
            secrets=Path(secrets).resolve() if secrets else settings.secrets,
            edge_url=(environ.get("EDGE_URL") or settings.url("edge")).rstrip("/"),
        )
