"""Programs that are no Python packages, such as Prometheus: those on PATH, else Debian's packages unpacked below `.local/tools` (no root)."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from localfaas.locks import locked
from localfaas.settings import Settings

DOWNLOAD_SECONDS = 120
GOGC = "50"
"""For tools in Go: they collect their garbage when memory has grown by half, and not when it has doubled.

What watches a shop does little, so that costs next to nothing (https://tip.golang.org/doc/gc-guide).
"""


@dataclass(frozen=True)
class Tool:
    """A program, the names it goes by, and the Debian package that has it."""

    name: str
    package: str
    commands: tuple[str, ...]


class ToolMissingError(RuntimeError):
    """The tool is neither installed nor to be had; the message says why and what to do."""


def find(tool: Tool, settings: Settings) -> Path | None:
    """The tool on PATH, else the unpacked one, else None."""
    for command in tool.commands:
        on_path = shutil.which(command)
        if on_path:
            return Path(on_path)
        unpacked = settings.tools / tool.package / "usr" / "bin" / command
        if unpacked.is_file():
            return unpacked
    return None


def fetch(tool: Tool, settings: Settings) -> Path:
    """Find the tool, or download and unpack its package. Raises ToolMissingError."""
    found = find(tool, settings)
    if found:
        return found
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        raise ToolMissingError(f"{tool.name} is not on PATH and this is no Debian or Ubuntu: install it")
    with locked(settings.tools / f"{tool.package}.lock"):  # platforms of one checkout share what is unpacked
        return find(tool, settings) or _unpacked(tool, settings)


def _unpacked(tool: Tool, settings: Settings) -> Path:
    unfinished = settings.tools / f"{tool.package}.new"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    _run(["apt-get", "download", tool.package], unfinished, tool)
    package = next(unfinished.glob("*.deb"))
    _run(["dpkg", "-x", str(package), str(unfinished)], unfinished, tool)
    package.unlink()
    target = settings.tools / tool.package
    shutil.rmtree(target, ignore_errors=True)
    unfinished.replace(target)
    unpacked = find(tool, settings)
    if unpacked is None:
        raise ToolMissingError(f"the package {tool.package} has none of {', '.join(tool.commands)}")
    return unpacked


def _run(command: list[str], directory: Path, tool: Tool) -> None:
    try:
        result = subprocess.run(
            command, cwd=directory, capture_output=True, text=True, check=False, timeout=DOWNLOAD_SECONDS
        )
    except subprocess.TimeoutExpired as exc:
        raise ToolMissingError(f"{tool.name}: `{' '.join(command)}` took over {DOWNLOAD_SECONDS} s") from exc
    if result.returncode != 0:
        reason = (result.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ToolMissingError(
            f"{tool.name}: `{' '.join(command)}` failed ({reason}); try `sudo apt-get update`, or install {tool.name}"
        )
