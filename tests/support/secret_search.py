"""Secrets by name, and what is found of them in a text, in a folder, in the command lines of this machine.

And what looks like a secret, whoever's it is: for files that must have none.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

NO_SECRETS = frozenset({"basic-auth-user", "token-public-keys"})
SHORTEST = 8
"""Characters; a shorter secret would be found by chance."""
LARGEST_FILE_BYTES = 64 * 1024 * 1024

_RANDOM = r"(?=[\w+/%.-]*\d)(?=[\w+/%.-]*[A-Za-z])"
"""What follows has a digit and a letter: words of an example have no digits."""
SHAPES = {
    "private key": r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----(?:\s|\\+n|\\+r)*[A-Za-z0-9+/]{40}",
    "token": r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{20,}",
    "password hash": r"\$argon2id?\$v=\d+\$m=\d+,t=\d+,p=\d+\$[A-Za-z0-9+/]{16,}\$[A-Za-z0-9+/]{32,}",
    "password in an address": rf"://[\w.-]*:{_RANDOM}[\w+/%.-]{{12,}}@",
    "named secret": rf"(?i:password|passwd|secret|token|api_?key)\\*[\"']?\s*[:=]\s*\\*[\"']?{_RANDOM}[\w+/-]{{24,}}",
    "key of a service": r"\b(?:AKIA[0-9A-Z]{16}|gh[pousr]_\w{30,}|github_pat_\w{30,}|glpat-[\w-]{20,}|xox[abprs]-[\w-]{20,}|[rs]k_live_\w{20,})",
}
"""What secrets look like, by kind; within a text of JSON too, that of a log."""
_SHAPES = {kind: re.compile(shape.encode()) for kind, shape in SHAPES.items()}

Values = Mapping[str, str]
"""Each secret text by what it is."""


def values_in(directory: Path) -> dict[str, str]:
    """What is secret in a folder of secrets: passwords, those in addresses too, and the lines of private keys."""
    return {
        f"{path.name}.{number}": text
        for path in sorted(directory.iterdir())
        if path.is_file() and path.name not in NO_SECRETS
        for number, text in enumerate(_texts(path.read_text().strip()))
        if len(text) >= SHORTEST
    }


def _texts(content: str) -> Iterator[str]:
    if "PRIVATE KEY-----" in content:
        lines = content.partition("PRIVATE KEY-----")[2].partition("-----END")[0].split()
        yield from (line for line in lines if len(line) >= 40)
    elif "://" in content:
        yield urlsplit(content).password or ""
    else:
        yield content


def found(values: Values, content: bytes | str) -> list[str]:
    """Which of the secrets are in it, by what they are."""
    raw = content if isinstance(content, bytes) else content.encode()
    return [name for name, text in values.items() if text.encode() in raw]


def found_in_files(values: Values, files: Iterable[Path]) -> dict[str, list[str]]:
    """File to the secrets in it; of a file that has gone meanwhile, none."""
    told = {str(path): found(values, content) for path in files if (content := _content(path))}
    return {path: names for path, names in told.items() if names}


def _content(path: Path) -> bytes:
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > LARGEST_FILE_BYTES:
            return b""
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def shapes_in(files: Iterable[Path]) -> dict[str, list[str]]:
    """File to the kinds of secrets that something in it looks like."""
    told = {
        str(path): [kind for kind, shape in _SHAPES.items() if shape.search(content)]
        for path in files
        if (content := _content(path))
    }
    return {path: kinds for path, kinds in told.items() if kinds}


def given_away(values: Values, logs: Iterable[Path], project: Path) -> dict[str, list[str]]:
    """Logs and files of the repository to the secrets in them.

    In logs that is also what only looks like one: nobody lists each token that was signed for somebody.
    """
    logs = list(logs)
    named = found_in_files(values, [*logs, *tracked_files(project)])
    looks = shapes_in(logs)
    return {path: named.get(path, []) + looks.get(path, []) for path in named.keys() | looks.keys()}


def left_open(values: Values, directory: Path, without: Iterable[str] = ()) -> list[str]:
    """Files below `directory` that hold a secret, and that others than their owner can come by and read.

    Folders named in `without` are left out. What lies in a folder that only its owner may enter is closed.
    """
    files = [path for path in _files(directory, frozenset(without)) if _is_open(path)]
    return sorted(found_in_files(values, files))


def _files(directory: Path, without: frozenset[str]) -> Iterator[Path]:
    for path in directory.iterdir():
        if path.is_symlink() or path.name in without:
            continue
        if not path.is_dir():
            yield path
        elif _is_open(path):
            yield from _files(path, without)


def _is_open(path: Path) -> bool:
    """Whether others than its owner may do anything with it; not what has gone meanwhile."""
    try:
        return bool(path.stat().st_mode & 0o077)
    except FileNotFoundError:
        return False


def command_lines() -> dict[str, str]:
    """What anybody on this machine can see of every process: its id to its command line."""
    lines = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines[path.parent.name] = path.read_text(errors="replace").replace("\0", " ")
        except OSError:
            continue  # it has ended
    return lines


def tracked_files(project: Path) -> list[Path]:
    """The files of the repository; where there is none, those of the project that have no dot before their name."""
    listed = subprocess.run(
        ["git", "-C", str(project), "ls-files", "-z"], capture_output=True, text=True, check=False
    )
    if listed.returncode == 0:
        return [project / name for name in listed.stdout.split("\0") if name]
    folders = [path for path in project.iterdir() if not path.name.startswith(".")]
    return [path for folder in folders for path in ([folder] if folder.is_file() else folder.rglob("*"))]
