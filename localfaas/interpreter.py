"""Which Python runs a layout: this one when it has all that the layout asks for, else one made for it.

A made one holds exactly what the layout's requirements.txt files name and nothing of ours, as its image would.
It is shared by all layouts with the same requirements.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path

import uv
from packaging.requirements import InvalidRequirement, Requirement

from localfaas.locks import locked
from localfaas.placed_yaml import read_yaml

REQUIREMENTS = "requirements.txt"
INSTALL_SECONDS = 600
_ENVIRONMENTS = ".venvs"
"""Below the builds; the dot keeps it apart from the functions' own folders."""
_COMPLETE = "complete"
_COMMENT = re.compile(r"(^|\s+)#.*$")
_INCLUDE = re.compile(r"(?:-r|--requirement)[\s=]*(.+)")
_LINE_OPTIONS = re.compile(r"\s--?\w.*$")
"""Options of one requirement, such as `--hash=…`."""


class InterpreterError(RuntimeError):
    """What a layout requires cannot be installed; the message ends with the installer's own words."""


def find_interpreter(layout: Path, builds: Path) -> Path:
    """The Python for a layout, made below `builds` if need be (which may take a minute, the first time).

    Raises InterpreterError when its requirements cannot be read or had.
    """
    try:
        files = requirement_files(layout)
        lines = list(_lines(files))
    except (OSError, ValueError) as exc:
        raise InterpreterError(f"requirements cannot be read: {exc}") from exc
    if all(_is_met(line) for line in lines):
        return Path(sys.executable)
    directory = builds / _ENVIRONMENTS / _key([sys.version, *lines, *(file.read_text() for file in files)])
    if not (directory / _COMPLETE).exists():
        with locked(directory.with_suffix(".lock")):
            if not (directory / _COMPLETE).exists():
                _make(directory, files)
    return directory / "bin" / "python"


def requirement_files(layout: Path) -> list[Path]:
    """The template's requirements.txt and the handler's, those that exist."""
    template = layout / "template.yml"
    keys = read_yaml(template.read_text(), template.name).mapping() if template.exists() else {}
    folder = keys["handler_folder"].text() if "handler_folder" in keys else ""
    candidates = (layout / REQUIREMENTS, layout / (folder or "function") / REQUIREMENTS)
    return [path for path in candidates if path.is_file()]


def _lines(files: Sequence[Path]) -> Iterator[str]:
    """Every requirement in the files and in what they include, without comments and options of the installer."""
    waiting, seen = list(files), set[Path]()
    while waiting:
        file = waiting.pop(0).resolve()
        if file in seen:
            continue
        seen.add(file)
        for raw in file.read_text().replace("\\\n", " ").splitlines():
            line = _COMMENT.sub("", raw).strip()
            if include := _INCLUDE.fullmatch(line):
                waiting.append(file.parent / include.group(1))
            elif line and not line.startswith("-"):
                yield _LINE_OPTIONS.sub("", line)


def _is_met(line: str) -> bool:
    try:
        return _is_installed(Requirement(line))
    except InvalidRequirement:
        return False  # the installer says what is wrong with it


def _is_installed(requirement: Requirement) -> bool:
    """Whether this interpreter has the distribution, in a version asked for, with what its extras need."""
    if requirement.marker and not requirement.marker.evaluate():
        return True
    if requirement.url:
        return False
    try:
        found = metadata.distribution(requirement.name)
    except metadata.PackageNotFoundError:
        return False
    if not requirement.specifier.contains(found.version, prereleases=True):
        return False
    needed = [Requirement(line) for line in found.requires or ()] if requirement.extras else []
    return all(
        _is_installed(_without_marker(one))
        for one in needed
        if one.marker and any(one.marker.evaluate({"extra": extra}) for extra in requirement.extras)
        if not one.marker.evaluate({"extra": ""})
    )


def _without_marker(requirement: Requirement) -> Requirement:
    requirement.marker = None
    return requirement


def _key(texts: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


def _make(directory: Path, files: Sequence[Path]) -> None:
    """Make an environment in place (its programs hold its path), marked when it is complete."""
    shutil.rmtree(directory, ignore_errors=True)
    _run_uv("venv", "--python", sys.executable, str(directory))
    options = [option for file in files for option in ("-r", str(file))]
    _run_uv("pip", "install", "--python", str(directory / "bin" / "python"), *options)
    (directory / _COMPLETE).touch()


def _run_uv(*arguments: str) -> None:
    command = [uv.find_uv_bin(), "--quiet", *arguments]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    except subprocess.TimeoutExpired as exc:
        raise InterpreterError(f"installing requirements took longer than {INSTALL_SECONDS} s") from exc
    if result.returncode != 0:
        raise InterpreterError(f"requirements cannot be installed: {' '.join(result.stderr.split())}")
