"""Cuts connections to PostgreSQL while they are in use, above all where it is hardest to bear: at the commit.

A function that connects through here is cut off before its COMMIT arrives (nothing is done), or when the answer
to it is on its way back (all is done, and the function never hears of it), or between other statements.
Neither the function nor its client can tell these apart.
"""

from __future__ import annotations

import random
import select
import socket
import socketserver
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Literal

from tests.support.postgres import Database

Fate = Literal["before the commit", "after the commit", "between"]
COMMIT = b"Q\x00\x00\x00\x0bCOMMIT\x00"
"""As libpq sends it: type, length, text (PostgreSQL's manual, "Message Formats")."""
BUFFER_BYTES = 65_536


@dataclass
class Cutter:
    """Decides which connections are cut, and counts them."""

    choices: random.Random
    database: Database
    """The database as it is reached through here."""
    commits_cut: float = 0.0
    """How many of the commits are cut off; before and after by halves."""
    others_cut: float = 0.0
    planned: list[Fate] = field(default_factory=list)
    """What happens to the next commits, whatever chance says."""
    cuts: Counter[Fate] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def cutting(self, commits: float = 0.1, others: float = 0.005) -> Iterator[None]:
        """Connections are cut in the block, and left alone after it."""
        self.commits_cut, self.others_cut = commits, others
        try:
            yield
        finally:
            self.commits_cut = self.others_cut = 0.0

    def fate_of(self, sent: bytes) -> Fate | None:
        """What happens to a connection on which the function has just sent this."""
        with self.lock:
            fate = self._fate_of(sent)
            if fate is not None:
                self.cuts[fate] += 1
            return fate

    def _fate_of(self, sent: bytes) -> Fate | None:
        if COMMIT not in sent:
            # A login is left alone: the function would wait before it tried another.
            is_statement = sent[:1] in {b"Q", b"P"}
            return "between" if is_statement and self.choices.random() < self.others_cut else None
        if self.planned:
            return self.planned.pop(0)
        if self.choices.random() >= self.commits_cut:
            return None
        return self.choices.choice(("before the commit", "after the commit"))


@contextmanager
def running_cutter(database: Database, seed: int = 1) -> Iterator[Cutter]:
    """A Cutter in front of `database`; it cuts nothing until it is told to."""
    upstream = ("127.0.0.1", database.server.port)
    with _Server(("127.0.0.1", 0), _Handler) as server:
        through = Database(replace(database.server, port=server.server_address[1]), database.name)
        server.cutter, server.upstream = Cutter(random.Random(seed), through), upstream
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server.cutter
        finally:
            server.shutdown()
            thread.join()


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    cutter: Cutter
    upstream: tuple[str, int]


class _Handler(socketserver.BaseRequestHandler):
    """One connection, until either side ends it or it is cut."""

    server: _Server

    def handle(self) -> None:
        with suppress(OSError), socket.create_connection(self.server.upstream) as upstream:
            for end in (self.request, upstream):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._pass_on(self.request, upstream)

    def _pass_on(self, client: socket.socket, upstream: socket.socket) -> None:
        fate: Fate | None = None
        while True:
            ready, _, _ = select.select([client, upstream], [], [])
            for end in ready:
                received = end.recv(BUFFER_BYTES)
                if end is client and received:
                    fate = self.server.cutter.fate_of(received)
                    if fate in {"before the commit", "between"}:
                        return
                    upstream.sendall(received)
                elif received and fate is None:
                    client.sendall(received)
                else:  # somebody has gone, or this is the answer that gets lost
                    return
