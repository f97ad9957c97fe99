"""What the dashboards' page computes (units, times, variables, tables, heat maps), by its own modules in a browser."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.browser import chromium, visit
from tests.support.platform import PROJECT

CASES = PROJECT / "tests" / "contract" / "dashboards_logic"
MODULES = PROJECT / "localfaas" / "dashboards" / "static"


@pytest.mark.skipif(
    chromium() is None, reason="no Chromium: sudo apt-get install chromium, or run .ci/run once"
)
def test_every_case_gives_what_it_has_to(tmp_path: Path) -> None:
    for file in (*CASES.iterdir(), *MODULES.glob("*.js")):
        shutil.copy(file, tmp_path)
    seen = visit(tmp_path, "http://dashboards.example", "/")
    assert seen["wrong"] == []
    assert seen["count"] > 30
