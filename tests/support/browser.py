"""A real browser: headless Chromium, driven by nothing but the page that it opens.

The page posts what it has seen to the server that it came from. No driver, no protocol: a browser is there if Debian's
`chromium` is, and what is tested is what a page can see.
"""

from __future__ import annotations

import json
import queue
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.support.waiting import wait_for

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
LONGEST_VISIT_SECONDS = 120
LONGEST_DUMP_SECONDS = 75
_KINDS = {".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css"}


def chromium() -> str | None:
    """The browser's program, if there is one."""
    return next((found for name in PROGRAMS if (found := shutil.which(name))), None)


class _Pages(BaseHTTPRequestHandler):
    """Sends the files of a folder and takes what a page posts to /seen."""

    server: _Server

    def do_GET(self) -> None:
        name = self.path.partition("?")[0].strip("/") or "index.html"
        file = self.server.folder / name
        if file.suffix not in _KINDS or not file.is_file():
            self._answer(404, "text/plain", b"")
            return
        self._answer(200, _KINDS[file.suffix], file.read_bytes())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path == "/seen":
            self.server.seen.put(json.loads(body))
        self._answer(204, "text/plain", b"")

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        return


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Pages)
        self.folder = folder
        self.seen: queue.Queue[dict[str, Any]] = queue.Queue()


@contextmanager
def _serving(folder: Path) -> Iterator[_Server]:
    server = _Server(folder)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def visit(folder: Path, origin: str, path: str) -> dict[str, Any]:
    """Open `path` of the pages in `folder` as if they came from `origin` (`http://host:port`), and return what they saw."""
    with _serving(folder) as server, _profile() as profile:
        host = origin.removeprefix("http://")
        place = f"{host if ':' in host else f'{host}:80'} 127.0.0.1:{server.server_port}"
        with (Path(profile) / "said.log").open("wb") as log:
            command = [*_command(profile), f"--host-resolver-rules=MAP {place}", origin + path]
            browser = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            return server.seen.get(timeout=LONGEST_VISIT_SECONDS)
        except queue.Empty:
            raise AssertionError(f"the page at {origin} did not finish: {_said(profile)}") from None
        finally:
            browser.terminate()
            browser.wait(20)


def render(
    url: str, size: tuple[int, int] = (800, 600), picture: Path | None = None, *options: str
) -> tuple[str, list[str]]:
    """The page at `url` once its scripts have come to rest, as HTML, and what they and the browser said of it.

    `size` is the window's, in pixels; `picture` is where a PNG of it goes.
    """
    more = [f"--window-size={size[0]},{size[1]}", *options]
    if picture:
        more.append(f"--screenshot={picture}")
    try:
        done = _dumped(more, url)
    except subprocess.TimeoutExpired:
        print(f"The browser hung at {url}; it is asked once more.")
        done = _dumped(more, url)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def _dumped(options: Sequence[str], url: str) -> subprocess.CompletedProcess[str]:
    with _profile() as profile:
        return subprocess.run(
            [*_command(profile), *options, "--dump-dom", "--virtual-time-budget=15000", url],
            capture_output=True, text=True, errors="replace", timeout=LONGEST_DUMP_SECONDS, check=True,
        )  # fmt: skip


@contextmanager
def _profile() -> Iterator[str]:
    """A new directory for a browser. Its processes may write into it for a moment after the first has ended."""
    directory = tempfile.mkdtemp(prefix="browser-")
    try:
        yield directory
    finally:
        wait_for(lambda: _is_removed(directory), what=f"the end of {directory}")


def _is_removed(directory: str) -> bool:
    shutil.rmtree(directory, ignore_errors=True)
    return not Path(directory).exists()


def _command(profile: str) -> list[str]:
    program = chromium()
    assert program is not None
    return [
        program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--enable-logging=stderr",
        f"--user-data-dir={profile}",
    ]  # fmt: skip


def _said(profile: str) -> str:
    return (Path(profile) / "said.log").read_text(errors="replace")[-2000:]
