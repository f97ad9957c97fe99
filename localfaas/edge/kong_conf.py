"""kong.conf: what Kong reads of its node. The subset that the embedded edge has; every other key is refused by line.

Written as Kong 3.9 reads it: `key = value`, `#` begins a comment, `\\#` is a `#`. There `nginx_proxy_x` and
`nginx_http_x` become nginx directives; here each is read for what it makes nginx do.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

PLAIN_PORT, TLS_PORT = 8000, 8443
"""The ports that `proxy_listen` names; PORT_OFFSET shifts both."""

_KEYS = (
    "database",
    "proxy_listen",
    "nginx_proxy_gzip",
    "nginx_proxy_gzip_types",
    "nginx_proxy_gzip_min_length",
    "nginx_proxy_gzip_comp_level",
    "nginx_proxy_gzip_proxied",
    "nginx_proxy_gzip_vary",
    "nginx_http_map",
    "nginx_proxy_add_header",
)
_LINE = re.compile(r"^\s*([a-z0-9_]+)\s*=\s*(.*?)\s*$")
_COMMENT = re.compile(r"(?<!\\)#.*$")
_LISTEN = re.compile(r"^(?:[0-9.]+|\[[0-9a-fA-F:]+\]):([0-9]+)((?: [a-z0-9=_]+)*)$")
_MEDIA_TYPE = re.compile(r"^[\w.+-]+/[\w.+-]+$")
_ON_TLS = re.compile(r'^\$https \$([a-z_]+) \{ on "([^"]*)"; \} #$')
_ADDED = re.compile(r"^([A-Za-z0-9-]+) \$([a-z_]+) always$")

T = TypeVar("T")


class KongConfError(ValueError):
    """kong.conf cannot be used; the message names every line at fault."""


@dataclass(frozen=True)
class Gzip:
    """What is compressed: these media types, from this length on; `level` 1 is the fastest, 9 the smallest."""

    types: tuple[str, ...]
    min_length: int
    level: int


@dataclass(frozen=True)
class Listen:
    """Which of the two ports are served, and on which of them a client may speak HTTP/2."""

    tls: bool = True
    plain_http2: bool = False
    tls_http2: bool = True


@dataclass(frozen=True)
class Node:
    """The edge beyond its routes. The defaults are Kong's own."""

    listen: Listen = Listen()
    gzip: Gzip | None = None
    tls_header: tuple[str, str] | None = None
    """Name and value of a header that every answer over TLS has."""


def read_node(path: Path) -> Node:
    """The node that the file at `path` describes; without a file, Kong's defaults.

    Raises KongConfError with every fault.
    """
    if not path.exists():
        return Node()
    try:
        return parse_node(path.read_text())
    except KongConfError as error:
        raise KongConfError(f"{path} was refused:\n{error}") from None


def parse_node(text: str) -> Node:
    """The node that `text` describes. Raises KongConfError with every fault, each with its line."""
    reader = _Reader()
    for number, line in enumerate(text.splitlines(), start=1):
        reader.line(number, _COMMENT.sub("", line).replace("\\#", "#").strip())
    node = reader.node()
    if reader.faults:
        raise KongConfError("\n".join(f"line {number}: {fault}" for number, fault in sorted(reader.faults)))
    return node


@dataclass
class _Reader:
    faults: list[tuple[int, str]] = field(default_factory=list)
    values: dict[str, tuple[int, str]] = field(default_factory=dict)

    def line(self, number: int, text: str) -> None:
        matched = _LINE.match(text)
        if matched is None:
            if text:
                self.faults.append((number, f"expected `key = value`, not {text!r}"))
        elif matched[1] not in _KEYS:
            self.faults.append(
                (number, f"{matched[1]} is not supported by the embedded edge; use only {', '.join(_KEYS)}")
            )
        else:
            self.values[matched[1]] = (number, matched[2])

    def node(self) -> Node:
        """What the lines say together; what is wrong with them is left in `faults`."""
        self.value("database", _one_of("off"), "off")
        return Node(self.value("proxy_listen", _listen, Listen()), self._gzip(), self._tls_header())

    def value(self, key: str, read: Callable[[str], T], default: T) -> T:
        number, text = self.values.get(key, (0, ""))
        if not number:
            return default
        try:
            return read(text)
        except ValueError as error:
            self.faults.append((number, f"{key}: {error}"))
            return default

    def _gzip(self) -> Gzip | None:
        none: tuple[str, ...] = ()
        gzip = Gzip(
            types=("text/html", *self.value("nginx_proxy_gzip_types", _media_types, none)),  # nginx: always
            min_length=self.value("nginx_proxy_gzip_min_length", _number(0, 1 << 30), 20),
            level=self.value("nginx_proxy_gzip_comp_level", _number(1, 9), 1),
        )
        if self.value("nginx_proxy_gzip", _one_of("on", "off"), "off") == "off":
            return None
        for key, needed in (("nginx_proxy_gzip_proxied", "any"), ("nginx_proxy_gzip_vary", "on")):
            self.value(key, _one_of(needed), needed)
            if key not in self.values:
                number = self.values["nginx_proxy_gzip"][0]
                self.faults.append(
                    (
                        number,
                        f"nginx_proxy_gzip: needs `{key} = {needed}`, which the embedded edge always does",
                    )
                )
        return gzip

    def _tls_header(self) -> tuple[str, str] | None:
        variable, value = self.value("nginx_http_map", _on_tls, ("", ""))
        name, wanted = self.value("nginx_proxy_add_header", _added, ("", ""))
        if variable != wanted:
            number = max(
                self.values.get(key, (0, ""))[0] for key in ("nginx_http_map", "nginx_proxy_add_header")
            )
            text = "nginx_http_map and nginx_proxy_add_header are supported together, with the same variable"
            self.faults.append((number, text))
        return (name, value) if name else None


def _one_of(*choices: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in choices:
            raise ValueError(f"the embedded edge supports only {' or '.join(choices)}")
        return text

    return read


def _number(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not (text.isascii() and text.isdecimal()) or not low <= int(text) <= high:
            raise ValueError(f"expected a number from {low} to {high}")
        return int(text)

    return read


def _listen(text: str) -> Listen:
    flags: dict[int, list[str]] = {}
    for entry in text.split(","):
        matched = _LISTEN.match(entry.strip())
        if matched is None:
            raise ValueError(f"{entry.strip()!r} is not an address with a port and flags")
        flags[int(matched[1])] = matched[2].split()
    unknown = {flag for given in flags.values() for flag in given} - {"ssl", "http2"}
    if unknown:
        raise ValueError(f"the embedded edge knows the flags ssl and http2, not {', '.join(sorted(unknown))}")
    if not {PLAIN_PORT} <= set(flags) <= {PLAIN_PORT, TLS_PORT}:
        raise ValueError(f"the embedded edge listens on {PLAIN_PORT} and, with ssl, on {TLS_PORT}")
    if "ssl" in flags[PLAIN_PORT] or "ssl" not in flags.get(TLS_PORT, ["ssl"]):
        raise ValueError(f"ssl belongs to {TLS_PORT} alone")
    return Listen(TLS_PORT in flags, "http2" in flags[PLAIN_PORT], "http2" in flags.get(TLS_PORT, []))


def _media_types(text: str) -> tuple[str, ...]:
    for word in text.split():
        if not _MEDIA_TYPE.match(word):
            raise ValueError(f"{word!r} is not a media type")
    return tuple(text.split())


def _on_tls(text: str) -> tuple[str, str]:
    matched = _ON_TLS.match(text)
    if matched is None:
        raise ValueError('the embedded edge supports only `$https $name { on "value"; } \\#`')
    return matched[1], matched[2]


def _added(text: str) -> tuple[str, str]:
    matched = _ADDED.match(text)
    if matched is None:
        raise ValueError("the embedded edge supports only `Name $variable always`")
    return matched[1], matched[2]
