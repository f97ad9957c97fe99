"""The store of spans (localfaas/traces) as a part of the platform, while TRACES=on and nobody else takes them."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from localfaas.settings import Settings
from localfaas.supervisor import Program

PRIORITY = 250
"""Before the API and whatever sends spans, and after them when all stop."""


def program(settings: Settings, binary: Path, running: Collection[str]) -> Program | None:
    """The store's program; None while spans go elsewhere or nowhere."""
    if not settings.stores_traces:
        return None
    directory = settings.state / "traces"
    port = str(settings.port("traces"))
    return Program(
        name="traces",
        command=[str(binary), "-m", "localfaas.traces", "--port", port, "--directory", str(directory)],
        directory=settings.state,
        environment={
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "PYTHONUNBUFFERED": "1",
        },
        about={"port": settings.port("traces")},
        priority=PRIORITY,
    )
