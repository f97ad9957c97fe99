"""Programs from Debian's packages: fetched once, however many ask at the same time."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from localfaas import tools
from localfaas.settings import Settings
from localfaas.tools import Tool, fetch

TOOL = Tool("Thing", "thing", ("thing-of-this-test",))
AT_ONCE = 8


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings whose tools lie in a directory of this test's own, on a machine with apt-get and dpkg."""
    monkeypatch.setattr(Settings, "tools", tmp_path / "tools")
    monkeypatch.setattr(
        tools.shutil, "which", lambda name: None if name == TOOL.commands[0] else f"/usr/bin/{name}"
    )
    return Settings(tmp_path, tmp_path / "state")


def test_a_package_is_downloaded_once_when_many_platforms_start_together(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    downloads, together = [], threading.Barrier(AT_ONCE)

    def run(command: list[str], directory: Path, tool: Tool) -> None:
        if command[0] == "apt-get":
            downloads.append(directory)
            time.sleep(0.05)  # a download takes a moment, in which the others come
            (directory / "thing_1_all.deb").touch()
        else:
            (directory / "usr" / "bin").mkdir(parents=True)
            (directory / "usr" / "bin" / TOOL.commands[0]).touch()

    def start(_: int) -> Path:
        together.wait()
        return fetch(TOOL, settings)

    monkeypatch.setattr(tools, "_run", run)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = set(pool.map(start, range(AT_ONCE)))
    assert found == {settings.tools / "thing" / "usr" / "bin" / TOOL.commands[0]}
    assert len(downloads) == 1
