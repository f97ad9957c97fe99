"""docs/images/session.svg: the first commands of README.md, typed into a shell on a terminal, and what that was shown.

The picture scrolls as the terminal did, with pauses cut short; it needs no font and no script but what a browser has.
"""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import select
import shutil
import struct
import subprocess
import tempfile
import termios
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

COLUMNS, ROWS = 108, 30
LONGEST_COMMAND_SECONDS = 300
LONGEST_PAUSE_SECONDS = 0.6
READING_SECONDS = 0.9
"""A person takes this long before the next command."""
END_SECONDS = 6.0
BEGINNINGS = ("make up", "shop=")
"""What the recorded blocks of README.md begin with."""

_READY = "\x1b]0;ready\x07"
_SHELL = f"""
PS1='{_READY}\\[\\e[1;32m\\]$\\[\\e[0m\\] '
PS2='{_READY}\\[\\e[1;32m\\]>\\[\\e[0m\\] '
unset PROMPT_COMMAND HISTFILE
make() {{ command make --no-print-directory -C "$PROJECT" "$@"; }}
"""
"""The shell works in a folder of its own, where the commands leave their files."""
_PROMPT = re.compile(r"^(\x1b\[[0-9;]*m)*[$>](\x1b\[[0-9;]*m)* ")
_PIECE = re.compile(
    r"\x1b\[([?0-9;]*)([A-Za-z])|\x1b\][^\x07]*\x07|\x1b.|([\r\n\x07\x08])|([^\x1b\r\n\x07\x08]+)"
)


class SessionError(RuntimeError):
    """The session cannot be recorded; the message says why."""


@dataclass
class Screen:
    """A terminal without a bottom, as far as a shell and spinners use one: lines with their colours, and when they came."""

    lines: list[str] = field(default_factory=lambda: [""])
    row: int = 0
    times: list[tuple[float, int]] = field(default_factory=list)
    """Moments, and how many lines there were then."""
    _returned: bool = False

    def show(self, text: str, at: float) -> None:
        for found in _PIECE.finditer(text):
            arguments, command, control, printed = found.groups()
            if printed:
                self._print(printed)
            elif command:
                self._obey(command, arguments, found[0])
            elif control == "\n":
                self._down()
            elif control == "\r":
                self._returned = True
            elif found[0] == _READY and self.lines[self.row]:
                self._down()
        if not self.times or self.times[-1][1] < len(self.lines):
            self.times.append((at, len(self.lines)))

    def _print(self, text: str) -> None:
        """What is printed after a return to the line's beginning is all that stays of the line."""
        if self._returned:
            self.lines[self.row] = ""
        self._returned = False
        self.lines[self.row] += text

    def _obey(self, command: str, arguments: str, whole: str) -> None:
        if command == "m":
            self._print(whole)
        elif command == "A":
            self.row = max(0, self.row - int(arguments or 1))
        elif command == "K" and arguments == "2":
            self.lines[self.row] = ""

    def _down(self) -> None:
        self._returned = False
        self.row += 1
        if self.row == len(self.lines):
            self.lines.append("")


def commands(readme: str) -> list[str]:
    """The lines to type: those of the blocks that begin with BEGINNINGS. Raises SessionError when one is missing."""
    blocks = re.findall(r"^```\n(.*?)^```$", readme, re.DOTALL | re.MULTILINE)
    found = [next((block for block in blocks if block.startswith(begin)), None) for begin in BEGINNINGS]
    if None in found:
        raise SessionError(f"README.md has no block that begins with {BEGINNINGS[found.index(None)]!r}")
    return [line for block in found if block for line in block.splitlines()]


def recorded(project: Path, typed: Sequence[str]) -> Screen:
    """What a terminal shows when `typed` is typed, line by line, beside a state that is new and deleted afterwards."""
    with tempfile.TemporaryDirectory(prefix="session-") as folder:
        state = Path(folder) / "state"
        rc, place = Path(folder) / "rc", Path(folder) / "place"
        rc.write_text(_SHELL)
        place.mkdir()
        environ = {
            **os.environ, "PROJECT": str(project), "STATE_DIR": str(state), "TERM": "xterm-256color",
            "COLUMNS": str(COLUMNS), "LINES": "1000", "LC_ALL": "C.UTF-8",
        }  # fmt: skip
        try:
            return _typed(["bash", "--noediting", "--rcfile", str(rc), "-i"], place, environ, typed)
        finally:
            subprocess.run(
                ["make", "-C", str(project), "down"], env=environ, check=False, capture_output=True
            )
            shutil.rmtree(state, ignore_errors=True)


def _typed(shell: Sequence[str], place: Path, environ: dict[str, str], typed: Sequence[str]) -> Screen:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 1000, COLUMNS, 0, 0))
    process = subprocess.Popen(
        shell, cwd=place, env=environ, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    screen = Screen()
    try:
        _read(ours, screen)
        for line in typed:
            os.write(ours, f"{line}\n".encode())
            _read(ours, screen)
        return screen
    finally:
        os.close(ours)
        process.kill()
        process.wait()


def _read(terminal: int, screen: Screen) -> None:
    """Show what comes until the shell waits for the next line."""
    deadline = time.monotonic() + LONGEST_COMMAND_SECONDS
    text = ""
    while not re.search(re.escape(_READY) + r"[^\n]*[$>]\S* $", text):
        if time.monotonic() > deadline:
            raise SessionError(
                f"the shell has not come back after {LONGEST_COMMAND_SECONDS} s: {text[-300:]}"
            )
        if select.select([terminal], [], [], 1)[0]:
            piece = os.read(terminal, 65536).decode(errors="replace")
            screen.show(piece, time.monotonic())
            text += piece


def drawn(screen: Screen) -> str:
    """The picture."""
    while not screen.lines[-1] or _PROMPT.sub("", screen.lines[-1]) == "":
        screen.lines.pop()
    printed = io.StringIO()
    console = Console(width=COLUMNS, record=True, file=printed, force_terminal=True, color_system="truecolor")
    rows = []
    for line in screen.lines:
        typed = _PROMPT.match(line) is not None
        text = Text.from_ansi(line) or Text(" ")
        console.print(text, overflow="fold" if typed else "ellipsis", no_wrap=not typed, highlight=False)
        rows.append(printed.getvalue().count("\n"))
    moments = list(_moments(screen, rows))
    return console.export_svg(title="", theme=_THEME, code_format=_format(moments), unique_id="session")


def _moments(screen: Screen, rows: Sequence[int]) -> Iterator[tuple[float, int]]:
    """Seconds from the beginning, and how many rows are there then; who waits longer than is needed is cut short."""
    passed, before, shown = 0.0, screen.times[0][0], 0
    yield passed, 0
    for at, lines in screen.times:
        count = min(lines, len(rows))
        passed += min(at - before, LONGEST_PAUSE_SECONDS)
        if any(_PROMPT.match(line) for line in screen.lines[shown:count]):
            passed += READING_SECONDS
        before, shown = at, count
        yield passed, rows[count - 1]
    yield passed + END_SECONDS, rows[-1]


_LINE = 20 * 1.22
_THEME = TerminalTheme(
    (17, 23, 21), (230, 237, 234),
    [(51, 64, 59), (224, 108, 117), (111, 211, 174), (229, 192, 123), (97, 175, 239), (198, 120, 221), (86, 182, 194), (230, 237, 234)],
)  # fmt: skip
_FORMAT = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} @height@" role="img" aria-labelledby="session-title">
<title id="session-title">A terminal: make up starts the shop, and a first purchase is made</title>
<style>
.session-matrix {{ font: {char_height}px ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; }}
#scroll {{ animation: scroll @seconds@s step-end infinite; }}
#cover {{ animation: cover @seconds@s step-end infinite; }}
@frames@
@media (prefers-reduced-motion: reduce) {{ #scroll, #cover {{ animation: none; }} }}
{styles}
</style>
<defs><clipPath id="window"><rect width="{terminal_width}" height="@window@"/></clipPath>
{lines}
</defs>
<rect fill="#111715" stroke="#33403b" x="1" y="1" width="99.8%" height="@frame@" rx="8"/>
<g transform="translate(10, 12)" clip-path="url(#window)"><g id="scroll" transform="translate(0, @end@)">
{backgrounds}
<g class="session-matrix">
{matrix}
</g>
<rect id="cover" fill="#111715" y="0" width="100%" height="100000" transform="translate(0, 100000)"/>
</g></g>
</svg>
"""


def _format(moments: Sequence[tuple[float, int]]) -> str:
    """The frame for rich's picture: a window of ROWS rows, through which the text moves."""
    seconds = moments[-1][0] or 1.0
    frames = {"scroll": "", "cover": ""}
    for at, rows in moments:
        percent = f"{100 * at / seconds:.2f}%"
        frames["scroll"] += (
            f"{percent} {{{{ transform: translateY({-_LINE * max(0, rows - ROWS):.1f}px); }}}}\n"
        )
        frames["cover"] += f"{percent} {{{{ transform: translateY({_LINE * rows + 2:.1f}px); }}}}\n"
    text = "\n".join(f"@keyframes {name} {{{{\n{body}}}}}" for name, body in frames.items())
    values = {
        "frames": text, "seconds": f"{seconds:.1f}", "window": f"{ROWS * _LINE:.0f}",
        "height": f"{ROWS * _LINE + 26:.0f}", "frame": f"{ROWS * _LINE + 24:.0f}", "end": f"{-_LINE * max(0, moments[-1][1] - ROWS):.1f}",
    }  # fmt: skip
    found = _FORMAT
    for name, value in values.items():
        found = found.replace(f"@{name}@", value)
    return found


def record(project: Path) -> Path:
    """Record the session into its picture. Raises SessionError."""
    picture = project / "docs" / "images" / "session.svg"
    typed = commands((project / "README.md").read_text())
    picture.write_text(drawn(recorded(project, typed)))
    return picture
