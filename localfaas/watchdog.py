"""A function that is a command: one process for each request, as OpenFaaS' classic watchdog runs it.

The body is its standard input; its standard output is the answer. What CGI would call the request's variables is in
its environment: `Http_Method`, `Http_Path`, `Http_Query` (if there is one), `Http_Host`, `Http_Content_Length`, and
`Http_<Name>` for each header. Two lines of the log tell of each request.

| variable | default | meaning |
|---|---|---|
| `exec_timeout` | none | seconds, or a duration such as `1m30s`, after which the process is killed: 408 |
| `combine_output` | `true` | standard error is part of the answer; `false`: it goes to the log |
| `content_type` | the request's | of the answer |
| `cgi_headers` | `true` | `false`: nothing of the request in the environment |

Source: github.com/openfaas/classic-watchdog. Ours: the request's `Proxy` header is left out, because many programs
would take `Http_Proxy` for the address of a proxy (httpoxy.org).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any
from wsgiref.util import FileWrapper

from localfaas.drain import serve

THREADS = 32
"""Processes that one replica runs at once; further requests wait."""
METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})
HEALTH = frozenset({"/_/health", "/_/ready"})
_UNITS = {"": 1.0, "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = r"(\d+(?:\.\d+)?)(us|ms|s|m|h)"


def command_line(command: Sequence[str]) -> list[str]:
    """What supervisord starts for a function that is `command`: this Python, apart from the function's own settings."""
    root = str(Path(__file__).parents[1])
    start = f"import sys; sys.path.append({root!r}); from localfaas.watchdog import main; main()"
    return [sys.executable, "-I", "-c", start, *command]


def main() -> None:
    host, port = os.environ.get("HOST") or "127.0.0.1", int(os.environ.get("PORT") or "8080")
    try:
        watchdog = Watchdog(sys.argv[1:], os.environ)
    except ValueError as exc:
        raise SystemExit(str(exc)) from exc
    serve(watchdog, host, port, THREADS)
    watchdog.kill()


class Watchdog:
    """The WSGI application in front of one command."""

    def __init__(self, command: Sequence[str], environ: Mapping[str, str]) -> None:
        """`environ` is what every process gets, and holds the settings above. Raises ValueError for a bad one."""
        if not command:
            raise ValueError("the function has no fprocess, and its image no command")
        self._command = list(command)
        self._environ = dict(environ)
        self._timeout = seconds(environ.get("exec_timeout") or "0")
        self._combined = environ.get("combine_output", "true") != "false"
        self._tells = environ.get("cgi_headers", "true") != "false"
        self._running: set[subprocess.Popen[bytes]] = set()

    def kill(self) -> None:
        """End what still runs: in an image it would end with the container."""
        for process in list(self._running):
            process.kill()

    def __call__(self, request: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        method = request["REQUEST_METHOD"]
        if request["PATH_INFO"] in HEALTH:
            healthy = method == "GET"
            return _answer(start_response, "200 OK" if healthy else _NOT_ALLOWED, b"OK" if healthy else b"")
        if method not in METHODS:
            return _answer(start_response, _NOT_ALLOWED, b"")
        return self._run(request, start_response)

    def _run(self, request: Mapping[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        began = time.perf_counter()
        _log("Forking fprocess.")
        output = tempfile.TemporaryFile()  # noqa: SIM115 - waitress closes it when it has been sent
        try:
            with tempfile.TemporaryFile() as body:
                shutil.copyfileobj(request["wsgi.input"], body)
                body.seek(0)
                failure, killed = self._process(request, body, output)
        except OSError as exc:
            failure, killed = f"{self._command[0]}: {exc.strerror}", False
        duration, size = time.perf_counter() - began, output.seek(0, os.SEEK_END)
        output.seek(0)
        if killed:
            output.close()
            _log(f"Killed process: {' '.join(self._command)} - Duration: {duration:f}s")
            return _answer(start_response, "408 Request Timeout", b"Killed process.\n")
        if failure:
            _log(f"{failure} - Duration: {duration:f}s")
            with output:
                return _answer(
                    start_response, "500 Internal Server Error", f"{failure}\n".encode() + output.read()
                )
        _log(f"Wrote {size} Bytes - Duration: {duration:f}s")
        kind = self._environ.get("content_type") or request.get("CONTENT_TYPE") or "text/plain; charset=utf-8"
        headers = [("Content-Type", kind), ("Content-Length", str(size))]
        start_response("200 OK", [*headers, ("X-Duration-Seconds", f"{duration:f}")])
        sent: Iterable[bytes] = request.get("wsgi.file_wrapper", FileWrapper)(output)
        return sent

    def _process(self, request: Mapping[str, Any], body: IO[bytes], output: IO[bytes]) -> tuple[str, bool]:
        """Run the command once; return how it failed ('' if it did not), and whether it took too long.

        It reads from a file and writes to one, so neither side can wait for the other, however much there is.
        """
        environ: dict[str, str | bytes] = {**self._environ, **(variables(request) if self._tells else {})}
        process = subprocess.Popen(
            self._command,
            stdin=body,
            stdout=output,
            stderr=subprocess.STDOUT if self._combined else None,
            env=environ,
        )
        late = threading.Event()

        def kill() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(self._timeout, kill)
        if self._timeout:
            timer.start()
        self._running.add(process)
        code = process.wait()
        self._running.discard(process)
        timer.cancel()
        if code < 0:
            return f"signal: {-code}", late.is_set()
        return (f"exit status {code}" if code else ""), False


_NOT_ALLOWED = "405 Method Not Allowed"


def _answer(start_response: Callable[..., Any], status: str, body: bytes) -> list[bytes]:
    start_response(status, [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


def variables(request: Mapping[str, Any]) -> dict[str, bytes]:
    """The request as environment variables; values are the bytes that were sent."""
    given = {f"Http_{_header(name)}": value for name, value in request.items() if name.startswith("HTTP_")}
    given.pop("Http_Proxy", None)
    given |= {
        "Http_Method": request["REQUEST_METHOD"],
        "Http_Path": request["PATH_INFO"],
        "Http_Query": request.get("QUERY_STRING", ""),
        "Http_Host": request.get("HTTP_HOST", ""),
        "Http_Content_Type": request.get("CONTENT_TYPE", ""),
    }
    length = request.get("CONTENT_LENGTH") or "0"
    given = {name: value for name, value in given.items() if value}
    given |= {"Http_Content_Length": length, "Http_ContentLength": length}
    return {name: value.encode("latin-1") for name, value in given.items() if "\0" not in value}


def _header(name: str) -> str:
    return "_".join(word.capitalize() for word in name.removeprefix("HTTP_").split("_"))


def seconds(duration: str) -> float:
    """Seconds of a whole number, or of a duration as Go writes it; raises ValueError."""
    if duration.isascii() and duration.isdecimal():
        return float(duration)
    if not re.fullmatch(f"(?:{_PART})+", duration):
        raise ValueError(f"exec_timeout: {duration!r} is not a duration such as 10s")
    return sum(float(number) * _UNITS[unit] for number, unit in re.findall(_PART, duration))


def _log(text: str) -> None:
    """One line in the form of Go's log package, written at once so that lines of requests do not mix."""
    sys.stderr.write(f"{time.strftime('%Y/%m/%d %H:%M:%S', time.gmtime())} {text}\n")
    sys.stderr.flush()
