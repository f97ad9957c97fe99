"""Whether the harness has proved itself: on this machine since it started, with the code as it is, and not long ago."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.report import k6_version

NAME = "harness"
HOLDS = timedelta(hours=12)
_CODE = (
    "load.js", "k6.py", "driving.py", "answers.py", "validity.py", "clocks.py", "quiet.py",
    "../harness/experiment.py", "../harness/others.py", "../harness/server.py",
    "../autoscale/load.js", "../autoscale/sending.py", "../autoscale/shapes.py",
    "../../../benchmarks/http_client.py", "../../../benchmarks/quantiles.py", "../../../benchmarks/cost.py",
)  # fmt: skip


def of_harness() -> dict[str, str]:
    """What a proof is about: the code that measures, the k6 that sends, and the machine since its start."""
    digest = hashlib.sha256()
    for name in _CODE:
        digest.update((Path(__file__).parent / name).read_bytes())
    return {
        "code": digest.hexdigest(),
        "k6": k6_version(),
        "boot": Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
    }


def stands(state: Path, now: datetime | None = None) -> bool:
    """Whether the last proof that was finished there holds."""
    last = _last(state)
    return last is not None and _holds(last, now or datetime.now(UTC))


def _last(state: Path) -> dict[str, Any] | None:
    results = sorted((state / "experiments").glob(f"{NAME}-*/result.json"))
    return dict(json.loads(results[-1].read_text())) if results else None


def is_of_late(result: dict[str, Any], now: datetime) -> bool:
    """Whether a result was made on this machine since it started, with the code as it is, and not long ago."""
    return result.get("proof") == of_harness() and now - datetime.fromisoformat(result["at"]) < HOLDS


def _holds(result: dict[str, Any], now: datetime) -> bool:
    return is_of_late(result, now) and all(one["word"] == "met" for one in result["verdicts"])
