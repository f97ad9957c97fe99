"""Documents that are run: what a Markdown file has its reader type, and what the reader then sees.

| block | what it is |
|---|---|
| `sh` | commands, run by `bash -e` from the top of a copy of the project; folder and variables stay for the blocks after it |
| `text` | what the commands before it show: its lines occur in their output, in this order |
| any with `title="PATH"` | a file of that content |
| `diff` | a patch, for `patch -p1` |

In what is shown `…` stands for anything within a line, a line of `…` for any lines, a time (`0.4 s`, `12 ms`, `2 min`) for
any other in its unit, and a space for any number of spaces.
`<!-- not run: REASON -->` on the line before a block leaves it out, and with it what it shows.
The ports 8000 to 8499 of this machine are those of a platform without PORT_OFFSET.
A README may leave the kind of a block out: then its first line tells commands, what they show, and drawings apart.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from markdown_it import MarkdownIt
from markdown_it.token import Token

BLOCK_SECONDS = 120.0
Kind = Literal["commands", "shown", "file", "patch", "drawing"]
KINDS: Mapping[str, Kind] = {"sh": "commands", "text": "shown", "diff": "patch"}
KEYWORDS = frozenset({"cd", "export", "for", "if", "until", "while"})
"""What a command may begin with, beside a program and an assignment."""

_TITLE = re.compile(r'\btitle="([^"]+)"')
_REMARK = re.compile(r"<!--\s*not run\b:?\s*(.*?)\s*-->", re.DOTALL)
_DRAWN = re.compile("[─│┌┐└┘├┤┬┴▶◀]")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
_LOCAL_PORT = re.compile(r"\b(localhost|127\.0\.0\.1):(8[0-4]\d\d)\b")
_LOOSE = re.compile(r"…|\b\d+(?:\.\d+)?(?P<unit> ?(?:ms|s|min))\b")


class DocumentFault(AssertionError):
    """A document is not what it says, or cannot be read as one: where, what was expected, and what came instead."""

    def __init__(self, name: str, line: int, what: str, expected: str, came: str) -> None:
        super().__init__(f"{name}:{line}: {what}\nexpected: {expected}\ncame: {came}")


@dataclass(frozen=True)
class Block:
    """A block of code; `line` is where its content begins, `path` the file that it is, `not_run` why it is left out."""

    kind: Kind
    line: int
    text: str
    path: str = ""
    not_run: str = ""


@dataclass(frozen=True)
class Command:
    """One command of a block, on as many lines as it takes, with its comment."""

    line: int
    text: str


# Reading


def parse(name: str, text: str, *, may_be_bare: bool = False) -> list[Block]:
    """The blocks of a document, in order. Raises DocumentFault for one that is of no known kind.

    `may_be_bare`: a block may be of a kind that is not named.
    """
    blocks: list[Block] = []
    remark: _Remark | None = None
    for token in MarkdownIt().parse(text):
        if token.type in ("fence", "code_block"):
            reason = remark.reason if remark else ""
            if remark and _first(token) > remark.next_line + 1:
                raise _stray(name, remark)
            blocks.append(_block(name, token, blocks[-1] if blocks else None, reason, may_be_bare))
            remark = None
        elif token.type == "html_block" and (found := _REMARK.search(token.content)):
            if remark:
                raise _stray(name, remark)
            remark = _Remark(_first(token), token.map[1] if token.map else 0, found[1])
            if not remark.reason:
                raise DocumentFault(name, remark.line + 1, found[0], "a reason, `not run: REASON`", "none")
    if remark:
        raise _stray(name, remark)
    return blocks


@dataclass(frozen=True)
class _Remark:
    line: int
    next_line: int
    reason: str


def _stray(name: str, remark: _Remark) -> DocumentFault:
    return DocumentFault(name, remark.line + 1, "`not run`", "a block on the next line", "something else")


def _first(token: Token) -> int:
    """The line on which it begins, from 0."""
    return token.map[0] if token.map else 0


def _block(name: str, token: Token, before: Block | None, reason: str, may_be_bare: bool) -> Block:
    title = _TITLE.search(token.info)
    language = "" if token.info.startswith("title=") else token.info.partition(" ")[0]
    line = _first(token) + (2 if token.type == "fence" else 1)
    if title:
        return Block("file", line, token.content, title[1], reason)
    kind = KINDS.get(language)
    if may_be_bare and not language and token.type == "fence":
        kind = _guessed(token.content, before)
    if kind == "shown" and (before is None or before.kind != "commands") and _DRAWN.search(token.content):
        kind = "drawing"
    if kind is None:
        known = f"one of {', '.join(KINDS)}, or with a title"
        raise DocumentFault(
            name, _first(token) + 1, "a block of code", known, language or "one that names no kind"
        )
    if kind == "shown" and (before is None or before.kind != "commands"):
        raise DocumentFault(name, _first(token) + 1, "what is shown", "commands before it", "none")
    if kind == "shown" and before and before.not_run:
        reason = reason or before.not_run
    return Block(kind, line, token.content, not_run=reason)


def _guessed(content: str, before: Block | None) -> Kind | None:
    first = content.strip().partition("\n")[0]
    word = first.partition(" ")[0]
    if _DRAWN.search(first):
        return "drawing"
    if _ASSIGNMENT.match(word) or word in KEYWORDS or (word and shutil.which(word)):
        return "commands"
    return "shown" if before and before.kind == "commands" else None


def left_out(blocks: Iterable[Block]) -> list[Block]:
    """Those that say that they are not run; what they would show is not among them."""
    return [block for block in blocks if block.not_run and block.kind != "shown"]


def commands(block: Block) -> Iterator[Command]:
    """The commands of a block, one by one."""
    lines: list[str] = []
    for number, line in enumerate(block.text.splitlines(), block.line):
        if not lines and (not line.strip() or line.lstrip().startswith("#")):
            continue
        lines.append(line)
        text = "\n".join(lines)
        if _is_whole(text):
            yield Command(number - len(lines) + 1, text)
            lines = []
    if lines:
        yield Command(number - len(lines) + 1, "\n".join(lines))


def _is_whole(text: str) -> bool:
    """Whether bash would begin with it rather than wait for more; of a here-document without an end it only warns."""
    if text.endswith("\\"):
        return False
    read = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False, timeout=10)
    return read.returncode == 0 and not read.stderr


# Running


@dataclass(frozen=True)
class Ran:
    """What came of a block: the exit code (None: it did not end), the line that failed (from 1), all that was shown."""

    code: int | None
    line: int
    output: str


class Shell:
    """bash as a reader has it: block after block, each in the folder and with the variables that the one before left."""

    def __init__(self, folder: Path, environ: Mapping[str, str], scratch: Path) -> None:
        """`scratch` is a folder outside of `folder` for what the shell keeps between blocks."""
        self.folder = folder
        self._environ = dict(environ)
        self._scratch = scratch
        self._kept = scratch / "kept"
        for name, lines in _CURL.items():
            (scratch / name).mkdir()
            (scratch / name / ".curlrc").write_text(lines)

    def run(self, text: str, *, is_shown: bool) -> Ran:
        """Run one block. Where no output is shown to compare with, a request that is refused has failed."""
        block, failed, output = (self._scratch / name for name in ("block", "failed", "output"))
        block.write_text(text)
        failed.unlink(missing_ok=True)
        with output.open("wb") as file:
            process = subprocess.Popen(
                ["bash", "-e", "-c", _WRAPPER, "bash", str(block), str(self._kept), str(failed)],
                cwd=self.folder,
                env={
                    **self._environ,
                    "CURL_HOME": str(self._scratch / ("shown" if is_shown else "not-shown")),
                },
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            code = _ended(process, BLOCK_SECONDS)
        line = int(failed.read_text()) if failed.exists() else 1
        return Ran(code, line, output.read_text(errors="replace"))


def _ended(process: subprocess.Popen[bytes], seconds: float) -> int | None:
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return None


_AS_ON_A_TERMINAL = "silent\nshow-error\n"
_CURL = {
    "shown": _AS_ON_A_TERMINAL,
    # What is not there yet, as just after a deploy, is asked for again, as a person would.
    "not-shown": _AS_ON_A_TERMINAL + "fail\nretry = 5\nretry-delay = 1\n",
}

_WRAPPER = r"""
__keep() {
  local __name
  for __name in $(compgen -A variable); do
    case $__name in
      __*|_|BASH*|COMP_*|CURL_HOME|DIRSTACK|EPOCH*|EUID|FUNCNAME|GROUPS|IFS|LINENO|OLDPWD|OPT*|PIPESTATUS) ;;
      PPID|PS4|PWD|RANDOM|SECONDS|SHELLOPTS|SHLVL|SRANDOM|UID) ;;
      *) declare -p "$__name" 2>/dev/null || : ;;
    esac
  done
  declare -f
  printf 'cd -- %q\n' "$PWD"
}
if [ -e "$2" ]; then . "$2"; fi
trap 'echo "$LINENO" > "$3"' ERR
trap 'if [ $? -eq 0 ]; then __keep > "$2"; fi' EXIT
. "$1"
"""


def run(
    name: str,
    blocks: Sequence[Block],
    shell: Shell,
    *,
    offset: int = 0,
    is_run: Callable[[Command], bool] = lambda _: True,
    read_as: Mapping[str, str] | None = None,
) -> None:
    """Do what the document says, block by block. Raises DocumentFault at the first that does not come out as it says.

    Commands for which `is_run` says no are left out; `read_as` has texts in commands and what they stand for.
    """
    for place, block in enumerate(blocks):
        if block.not_run:
            continue
        if block.kind == "file":
            _write(name, block, shell.folder, offset)
        elif block.kind == "patch":
            _patch(name, block, shell.folder, offset)
        elif block.kind == "commands":
            after = blocks[place + 1] if place + 1 < len(blocks) else None
            shown = after if after and after.kind == "shown" and not after.not_run else None
            text = _without(block, [one for one in commands(block) if not is_run(one)])
            for given, meant in (read_as or {}).items():
                text = text.replace(given, meant)
            if text.strip():
                _run(name, replace(block, text=text), shown, shell, offset)


def shifted(text: str, offset: int) -> str:
    """The text with this machine's ports as they are with PORT_OFFSET."""
    return _LOCAL_PORT.sub(lambda match: f"{match[1]}:{int(match[2]) + offset}", text)


def missing(expected: str, output: str) -> int | None:
    """The number, from 0, of the first line of `expected` that the output does not have where it should; None: it has all."""
    lines = iter([_spaced(line) for line in output.splitlines()])
    for number, line in enumerate(expected.splitlines()):
        wanted = _spaced(line)
        if wanted in ("", "…"):
            continue
        pattern = re.compile(_pattern(wanted))
        if not any(pattern.fullmatch(one) for one in lines):
            return number
    return None


def _spaced(line: str) -> str:
    return " ".join(line.split())


def _pattern(wanted: str) -> str:
    parts, end = [], 0
    for match in _LOOSE.finditer(wanted):
        parts += [
            re.escape(wanted[end : match.start()]),
            ".*" if match["unit"] is None else r"\d+(?:\.\d+)?" + re.escape(match["unit"]),
        ]
        end = match.end()
    return "".join([*parts, re.escape(wanted[end:])])


def _without(block: Block, those: Iterable[Command]) -> str:
    """The block's text with empty lines in place of some of its commands, so that all others keep their lines."""
    lines = block.text.splitlines()
    for one in those:
        for number in range(len(one.text.splitlines())):
            lines[one.line - block.line + number] = ""
    return "\n".join(lines) + "\n"


def _run(name: str, block: Block, shown: Block | None, shell: Shell, offset: int) -> None:
    ran = shell.run(shifted(block.text, offset), is_shown=shown is not None)
    if ran.code != 0:
        line = block.line + ran.line - 1
        came = f"no end within {BLOCK_SECONDS:g} s" if ran.code is None else f"exit code {ran.code}"
        command = [one.text for one in commands(block) if one.line <= line]
        raise DocumentFault(
            name, line, command[-1] if command else block.text, "exit code 0", f"{came}\n{ran.output}"
        )
    number = missing(shifted(shown.text, offset), ran.output) if shown else None
    if shown and number is not None:
        wanted = shifted(shown.text, offset).splitlines()
        after = "".join(f"\nafter: {line}" for line in wanted[:number][-1:])
        raise DocumentFault(
            name,
            shown.line + number,
            block.text.strip(),
            f"the line {wanted[number]}{after}",
            f"\n{ran.output}",
        )


def _write(name: str, block: Block, folder: Path, offset: int) -> None:
    path = (folder / block.path).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise DocumentFault(name, block.line - 1, block.path, "a path inside the project", str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(shifted(block.text, offset))


def _patch(name: str, block: Block, folder: Path, offset: int) -> None:
    done = subprocess.run(
        ["patch", "-p1", "--batch", "--forward", "--no-backup-if-mismatch", "--reject-file=-"],
        cwd=folder, input=shifted(block.text, offset), capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    if done.returncode != 0:
        first = block.text.partition("\n")[0]
        raise DocumentFault(name, block.line, first, "a patch that fits", done.stdout + done.stderr)
