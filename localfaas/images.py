"""Images: what an image name stands for on a machine without a registry, and how it is run.

In this order:

| found | what is run |
|---|---|
| an entry of `images.yml`, beside stack.yml | its command, in a copy of its folder if it names one |
| a function of stack.yml with a `lang` | what `build` makes of it |
| `build/<function>/`, as `faas-cli build --shrinkwrap` leaves it | a copy of it |
| a function of stack.yml with an `fprocess` and no `lang` | that command, once per request |

Whatever is found becomes a layout below the builds, as build.py makes them, so that replicas run in what does not change.
`images.yml` maps names, with or without registry and tag, to a command or to `command`, `mode` and `folder`.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from localfaas.build import BuildError, Layout, Source, build, lay_out, resolve_image
from localfaas.deployment import FunctionDeployment
from localfaas.placed_yaml import PlacedYamlError, Value, read_yaml
from localfaas.stack import Stack, StackFunction

IMAGES_FILE = "images.yml"
SHRINKWRAPPED = "build"
WORKLOAD = "workload.json"
"""In a layout of ours: the command of the image, and its mode."""
HTTP, FORK = "http", "fork"
"""A workload serves HTTP on `$PORT`, or is started once for each request (watchdog.py)."""
SEARCHED = "/usr/local/bin:/usr/bin:/bin"
"""Where a command is looked for, after the programs of the Python that runs the function."""
_PORT = "$PORT"
_TAG = re.compile(r"(:[\w.-]+)?(@[\w:]+)?$", re.ASCII)
_ENV_MODE = re.compile(r"\bmode[ =]\"?(\w+)", re.ASCII)


@dataclass(frozen=True)
class Workload:
    """How one replica is run."""

    command: tuple[str, ...]
    mode: str

    def at(self, port: int) -> list[str]:
        """The words of the command; in those of a server `$PORT` is the port to listen on."""
        return [word.replace(_PORT, str(port)) if self.mode == HTTP else word for word in self.command]


@dataclass(frozen=True)
class _Entry:
    """One image of images.yml."""

    command: str
    mode: str
    folder: Path | None


def prepare(function: StackFunction, stack: Stack, project: Path, builds: Path) -> Layout | None:
    """Lay out what a function of stack.yml runs; None when all there is to know is the image's name.

    Raises BuildError, and StackError when its template is not there.
    """
    entry = _entry(project, function.image)
    if entry:
        return _lay_out_entry(function.name, function.image, entry, builds)
    if function.is_built:
        return build(function, stack, project, builds)
    folder = project / SHRINKWRAPPED / function.name
    if folder.is_dir():
        return lay_out(function.name, function.image, [Source(folder, PurePath())], builds)
    if function.fprocess and not function.language:
        mode = HTTP if function.environment.get("mode") == HTTP else FORK
        work = Workload(tuple(function.fprocess.split()), mode)
        return _lay_out_command(function.name, function.image, work, builds)
    return None


def resolve(project: Path, builds: Path, image: str) -> Path | None:
    """The layout of an image that is deployed by its name alone, or None when it is not known here.

    Raises BuildError when it is known and cannot be used.
    """
    entry, name = _entry(project, image), _without_tag(image).rpartition("/")[2]
    if entry:
        return _lay_out_entry(name, image, entry, builds).path
    built = resolve_image(builds, image)
    folder = project / SHRINKWRAPPED / name
    if built or not name or not folder.is_dir():
        return built
    return lay_out(name, image, [Source(folder, PurePath())], builds).path


def workload(layout: Path, deployment: FunctionDeployment) -> Workload:
    """How a deployment runs in a layout: its `fprocess`, or else the image's own command. Raises BuildError."""
    given, mode = _given(layout), _mode(layout, deployment)
    process = deployment.env_process or ("" if given else _template_process(layout))
    if not process and not given:
        raise BuildError(f"{deployment.service}: neither the deployment nor its image has an fprocess")
    if not process:
        return Workload(tuple(given["command"]), mode)
    # The classic watchdog knows of no quotes, so what works here works there.
    return Workload(tuple(process.split()) if mode == FORK else _words(process), mode)


def _words(command: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(command))
    except ValueError as exc:
        raise BuildError(f"the command {command!r} cannot be read: {exc}") from exc


def _given(layout: Path) -> dict[str, Any]:
    path = layout / WORKLOAD
    content: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    return content


def _mode(layout: Path, deployment: FunctionDeployment) -> str:
    """What the deployment says, else the image: its entry, or the watchdog that its Dockerfile would start."""
    asked = deployment.env_vars.get("mode") or _given(layout).get("mode")
    if not asked:
        dockerfile = layout / "Dockerfile"
        text = dockerfile.read_text(errors="replace") if dockerfile.is_file() else ""
        named = _ENV_MODE.findall("\n".join(_environment_lines(text)))
        asked = named[-1] if named else FORK if "watchdog" in text else HTTP
    return HTTP if asked == HTTP else FORK


def _environment_lines(dockerfile: str) -> Iterator[str]:
    for line in dockerfile.replace("\\\n", " ").splitlines():
        if line.lstrip().upper().startswith("ENV "):
            yield line


def _template_process(layout: Path) -> str:
    path = layout / "template.yml"
    return read_yaml(path.read_text(), path.name).mapping()["fprocess"].text() if path.is_file() else ""


def _entry(project: Path, image: str) -> _Entry | None:
    path = project / IMAGES_FILE
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as exc:
        raise BuildError(f"{path}: cannot be read ({exc})") from exc
    try:
        entries = read_yaml(text, IMAGES_FILE).mapping()
        found = next((name for name in _spellings(image) if name in entries), None)
        return _read_entry(entries[found], project) if found else None
    except PlacedYamlError as exc:
        raise BuildError(str(exc)) from exc


def _spellings(image: str) -> Iterator[str]:
    """The names under which an image may be listed, the most exact first: fewer of its folders, then no tag."""
    bare = _without_tag(image)
    tag, parts = image.removeprefix(bare) or ":latest", bare.split("/")
    for begin in range(len(parts)):
        name = "/".join(parts[begin:])
        yield name + tag
        yield name


def _read_entry(value: Value, project: Path) -> _Entry:
    try:
        return _Entry(value.text(), FORK, None)
    except PlacedYamlError:
        keys = value.mapping()
    for name, key in keys.items():
        if name not in {"command", "mode", "folder"}:
            raise key.fault("is not a key of an image: command, mode or folder")
    mode, folder = keys["mode"].text() or FORK, keys["folder"].text()
    if mode not in {HTTP, FORK}:
        raise keys["mode"].fault(f"must be {HTTP} or {FORK}, not {mode}")
    if folder and not (project / folder).is_dir():
        raise keys["folder"].fault(f"names no folder: {project / folder}")
    return _Entry(keys["command"].text(), mode, project / folder if folder else None)


def _lay_out_entry(name: str, image: str, entry: _Entry, builds: Path) -> Layout:
    if entry.folder and not entry.command:  # the folder says itself how it is run
        return lay_out(name, image, [Source(entry.folder, PurePath())], builds)
    work = Workload(_words(entry.command), entry.mode)
    return _lay_out_command(name, image, work, builds, entry.folder)


def _lay_out_command(
    name: str, image: str, work: Workload, builds: Path, folder: Path | None = None
) -> Layout:
    words = work.command
    if not words:
        raise BuildError(f"{name}: the image {image} has neither a command nor a folder")
    places = f"{Path(sys.executable).parent}:{SEARCHED}"
    if "/" not in words[0] and not shutil.which(words[0], path=places):
        raise BuildError(f"{name}: there is no program {words[0]} in {places}")
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / WORKLOAD
        path.write_text(json.dumps({"command": words, "mode": work.mode}, indent=1))
        path.chmod(0o644)  # a layout's name follows from modes, too: it is the same whoever makes it
        sources = [Source(folder, PurePath())] if folder else []
        return lay_out(name, image, [*sources, Source(path, PurePath(WORKLOAD))], builds)


def _without_tag(image: str) -> str:
    return _TAG.sub("", image, count=1)
