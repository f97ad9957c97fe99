"""Builds: each function laid out on disk exactly as `faas-cli build --shrinkwrap` does.

A layout is `<builds>/<function>/<digest of its content>/` and never changes; an image name is an entry of
`<builds>/images.json` that says which layout it stands for. Building twice gives the same layout. A layout is made
beside its place and renamed into it, under a lock, so nobody sees half of one, whoever builds or is killed meanwhile.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from localfaas.interpreter import InterpreterError, find_interpreter
from localfaas.locks import locked
from localfaas.settings import Settings
from localfaas.stack import DOCKERFILE, Stack, StackError, StackFunction, load_template

IMAGES = "images.json"
_TEMPORARY = ".tmp-"
_COMPILED = "__pycache__"
"""Never copied, nor part of what a layout is: a replica that runs in it leaves there what Python compiled."""
_NOT_FROM_HANDLERS = {"build", "template"}
"""Top-level entries of a handler that faas-cli skips."""
_TAG = re.compile(r"(:[\w.-]+|@[\w:]+)$", re.ASCII)


class BuildError(RuntimeError):
    """A function cannot be built; the message is one line that names what is wrong and where."""


@dataclass(frozen=True)
class Layout:
    """One built function; `path` is what its replicas run in."""

    function: str
    image: str
    path: Path
    digest: str


@dataclass(frozen=True)
class Source:
    """A file or folder, and where below the layout it goes."""

    path: Path
    target: PurePath
    skipped: frozenset[str] = frozenset()


@dataclass(frozen=True)
class _Entry:
    """One file or folder of a layout; folders have no content."""

    name: str
    mode: int
    content: str


def build(function: StackFunction, stack: Stack, project: Path, builds_dir: Path) -> Layout:
    """Lay a function out, see that a Python with its requirements exists, and give its image name to the layout.

    Raises BuildError, and StackError when its template is not there; what was built before then stays as it was.
    """
    return lay_out(function.name, function.image, _sources(function, stack, project), builds_dir)


def lay_out(name: str, image: str, sources: Sequence[Source], builds_dir: Path) -> Layout:
    """Make one layout of `sources`, of which later covers earlier, and give the image name to it; raises BuildError."""
    for source in sources:
        if builds_dir.resolve().is_relative_to(source.path.resolve()):
            raise BuildError(f"{name}: {source.path} contains {builds_dir}, where builds are made")
    with locked(builds_dir / ".lock"):
        layout = _lay_out(name, image, sources, builds_dir)
    try:
        find_interpreter(layout.path, builds_dir)
    except InterpreterError as exc:
        raise BuildError(f"{name}: {exc}") from exc
    with locked(builds_dir / ".lock"):
        _record_image(builds_dir, layout)
    return layout


def present_digest(function: StackFunction, stack: Stack, project: Path) -> str:
    """The name of the layout that `build` would make now; nothing is written but a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        _assemble(_sources(function, stack, project), Path(folder))
        return _digest(list(_entries(Path(folder))))


def resolve_image(builds_dir: Path, image: str) -> Path | None:
    """The layout that an image name stands for, or None when it has not been built here."""
    known = _read_images(builds_dir).get(_with_tag(image))
    path = builds_dir / known if known else None
    return path if path and path.is_dir() else None


def interpreter_for(layout_path: Path, settings: Settings) -> Path:
    """The Python that has what the layout requires: this one, or one made for it when it was built."""
    return find_interpreter(layout_path, settings.builds)


def _sources(function: StackFunction, stack: Stack, project: Path) -> list[Source]:
    """What goes into a layout, in the order in which later covers earlier."""
    if not function.language:
        raise StackError(
            f"{stack.path.name}: functions.{function.name} has no lang, so there is nothing to build"
        )
    if function.language == DOCKERFILE and not function.fprocess:
        raise BuildError(
            f"{function.name}: without a container a Dockerfile is not run; give the function an fprocess"
        )
    handler = project / function.handler
    if not handler.is_dir():
        raise BuildError(
            f"{stack.path.name}: functions.{function.name}.handler: {function.handler} is no directory"
        )
    sources, folder = [], PurePath()
    if function.language != DOCKERFILE:
        template = load_template(project, function.language)
        sources.append(Source(template.directory, PurePath()))
        folder = PurePath(template.handler_folder)
    sources.append(Source(handler, folder, frozenset(_NOT_FROM_HANDLERS)))
    return sources + [_copied(path, project, folder, stack) for path in stack.copy]


def _copied(path: str, project: Path, folder: PurePath, stack: Stack) -> Source:
    """A path of `configuration.copy`, which must lie inside the project and not be it."""
    source, target = project / path, PurePath(os.path.normpath(path))
    place = f"{stack.path.name}: configuration.copy: {path}"
    inside = source.resolve().is_relative_to(project.resolve()) and not target.is_absolute()
    if not inside or target.parts[:1] in {(), ("..",)}:
        raise BuildError(f"{place} must be a path inside the project")
    if not source.exists():
        raise BuildError(f"{place} does not exist")
    return Source(source, folder / target)


def _lay_out(name: str, image: str, sources: Sequence[Source], builds_dir: Path) -> Layout:
    home = builds_dir / name
    home.mkdir(parents=True, exist_ok=True)
    for leftover in home.glob(f"{_TEMPORARY}*"):  # of a build that was killed: nobody else builds now
        shutil.rmtree(leftover)
    temporary = Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=home))
    temporary.chmod(0o755)
    try:
        _assemble(sources, temporary)
        entries = list(_entries(temporary))
        digest = _digest(entries)
        _adopt(temporary, home / digest, entries)
    except OSError as exc:
        raise BuildError(f"{name}: {exc.filename or home}: {exc.strerror}") from exc
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return Layout(name, image, home / digest, digest)


def _assemble(sources: Sequence[Source], folder: Path) -> None:
    for source in sources:
        _copy(source.path, folder / source.target, source.skipped)


def _copy(
    source: Path, target: Path, skipped: frozenset[str] = frozenset(), within: tuple[Path, ...] = ()
) -> None:
    """Copy a file or a folder over what is there: the union of both. Links are followed, modes are kept."""
    mode = source.stat().st_mode
    if stat.S_ISDIR(mode):
        _copy_folder(source, target, skipped, within)
    elif not stat.S_ISREG(mode):
        raise BuildError(f"{source} is neither a file nor a folder")
    elif target.is_dir():
        raise BuildError(f"{source} is a file, but the layout has a folder of that name")
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        shutil.copyfile(source, target)
        target.chmod(stat.S_IMODE(mode))


def _copy_folder(source: Path, target: Path, skipped: frozenset[str], within: tuple[Path, ...]) -> None:
    real = source.resolve()
    if real in within:
        raise BuildError(f"{source} is a link to a folder that it lies in")
    if target.exists() and not target.is_dir():
        raise BuildError(f"{source} is a folder, but the layout has a file of that name")
    if not target.exists():
        target.mkdir(parents=True)
        target.chmod(stat.S_IMODE(source.stat().st_mode) | stat.S_IRWXU)
    for child in sorted(source.iterdir()):
        if child.name not in skipped | {_COMPILED}:
            _copy(child, target / child.name, within=(*within, real))


def _entries(root: Path) -> Iterator[_Entry]:
    for path in sorted(root.rglob("*")):
        if _COMPILED in path.relative_to(root).parts:
            continue
        content = "" if path.is_dir() else hashlib.sha256(path.read_bytes()).hexdigest()
        yield _Entry(path.relative_to(root).as_posix(), stat.S_IMODE(path.stat().st_mode), content)


def _digest(entries: Sequence[_Entry]) -> str:
    lines = (f"{entry.mode:o} {entry.content} {entry.name}\0" for entry in entries)
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _adopt(temporary: Path, path: Path, entries: Sequence[_Entry]) -> None:
    """Put a finished layout in its place; one that is there and whole is kept, as replicas may run in it."""
    if path.exists():
        if set(entries) <= set(_entries(path)):
            return
        path.rename(temporary.with_name(temporary.name + "-damaged"))
    temporary.rename(path)


def _record_image(builds_dir: Path, layout: Layout) -> None:
    images = _read_images(builds_dir)
    images[_with_tag(layout.image)] = str(layout.path.relative_to(builds_dir))
    temporary = builds_dir / f"{IMAGES}.tmp"
    with temporary.open("w") as file:
        json.dump(images, file, indent=1, sort_keys=True)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(builds_dir / IMAGES)


def _read_images(builds_dir: Path) -> dict[str, str]:
    path = builds_dir / IMAGES
    try:
        images: dict[str, str] = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except ValueError as exc:
        raise BuildError(f"{path} is damaged ({exc}); remove it and build again") from exc
    return images


def _with_tag(image: str) -> str:
    """An image name as a registry reads it: without a tag it means `:latest`."""
    return image if _TAG.search(image) else f"{image}:latest"
