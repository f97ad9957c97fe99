"""Sixty-four buyers after one SKU, at once, against several replicas; and the check of what they were given.

A round knows nothing of how inventory works: it adds up what buyers were told and compares that with the tables.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import uuid4

from benchmarks.http_client import KeepAlive, render_request
from tests.support.functions import Secrets
from tests.support.postgres import Database

BUYERS = 64
Mix = Literal["reserve", "issue", "mixed"]


@dataclass(frozen=True)
class Round:
    """`units` of one SKU at one location; each buyer wants `quantity`."""

    sku: str
    units: int
    quantity: int
    mix: Mix

    @property
    def location(self) -> str:
        return "S1" if self.mix == "issue" else "W1"


@dataclass
class Told:
    """What the buyers of a round were told."""

    statuses: Counter[str] = field(default_factory=Counter)
    taken: int = 0
    """Units that left, or are promised to somebody who keeps them."""
    adjusted: int = 0
    """Units that counts have found to be more (or fewer)."""
    served: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, status: str, taken: int = 0, adjusted: int = 0) -> None:
        with self.lock:
            self.statuses[status] += 1
            self.taken += taken
            self.adjusted += adjusted
            self.served += taken > 0


class Crowd:
    """The buyers, each with a connection of its own to one of the replicas."""

    def __init__(self, ports: Sequence[int], secrets: Secrets, database: Database) -> None:
        self._tokens = {
            who: secrets.bearer(*roles, subject=who)["Authorization"]
            for who, roles in {"sales": ("service",), "maintenance": ("service",), "head": ("hq",)}.items()
        }
        self._clients = [KeepAlive(ports[number % len(ports)]) for number in range(BUYERS)]
        self._pool = ThreadPoolExecutor(BUYERS)
        self._own = database.connect()
        self._own.autocommit = True
        self._own_lock = threading.Lock()

    def close(self) -> None:
        self._pool.shutdown()
        self._own.close()
        for client in self._clients:
            client.close()

    def stock_up(self, rounds: Sequence[Round]) -> None:
        """Receive the units of all rounds."""
        for start in range(0, len(rounds), 1000):
            lines = [
                {"location": one.location, "sku": one.sku, "quantity": one.units}
                for one in rounds[start : start + 1000]
            ]
            status, body = self.send(
                0, "/receipts/bulk", {"reference": f"round:{uuid4()}", "lines": lines}, "head"
            )
            assert status == 201, body

    def send(self, buyer: int, path: str, body: Any = None, who: str = "sales") -> tuple[int, dict[str, Any]]:
        content = b"" if body is None else json.dumps(body).encode()
        headers = {"Authorization": self._tokens[who], "Idempotency-Key": str(uuid4())}
        if body is None:
            headers["Content-Length"] = "0"
        reply = self._clients[buyer].send(render_request("inventory", "POST", path, content, headers))
        return reply.status, json.loads(reply.body)

    def play(self, one: Round) -> Told:
        """All buyers at once; then, calmly, whoever got nothing tries again until there is too little."""
        told, start = Told(), threading.Barrier(BUYERS)

        def buy(buyer: int) -> None:
            start.wait(20)
            _ACTS[one.mix](self, one, buyer, told)

        list(self._pool.map(buy, range(BUYERS)))
        if one.mix == "mixed":
            while self.send(0, "/expire", who="maintenance")[1].get("more"):
                pass
            while told.served < BUYERS and self._reserve(one, 0, told) is not None:
                pass
        return told

    def _reserve(self, one: Round, buyer: int, told: Told) -> str | None:
        """Reserve for a buyer who keeps the reservation; its id if there was enough."""
        status, answer = self.send(
            buyer, "/reservations", {"location": one.location, "lines": self._lines(one)}
        )
        told.add(_outcome(status, answer), taken=one.quantity if status == 201 else 0)
        return answer["reservation_id"] if status == 201 else None

    def _issue(self, one: Round, buyer: int, told: Told) -> None:
        body = {"location": one.location, "reference": str(uuid4()), "lines": self._lines(one)}
        status, answer = self.send(buyer, "/issues", body)
        told.add(_outcome(status, answer), taken=one.quantity if status == 201 else 0)

    def _mix(self, one: Round, buyer: int, told: Told) -> None:
        """One in eight counts the shelf; of the others some buy, some give up, some walk away and return late."""
        if buyer % 8 == 0:
            return self._adjust(one, buyer, told)
        status, answer = self.send(
            buyer, "/reservations", {"location": one.location, "lines": self._lines(one)}
        )
        if status != 201:
            return told.add(_outcome(status, answer))
        path = f"/reservations/{answer['reservation_id']}"
        if buyer % 8 in (1, 2):
            return self._settle(one, buyer, told, f"{path}/commit")
        if buyer % 8 in (3, 4):
            return self._settle(one, buyer, told, f"{path}/release")
        self._let_time_pass(answer["reservation_id"])
        if buyer % 8 == 5:
            self.send(buyer, "/expire", who="maintenance")
            return self._settle(one, buyer, told, f"{path}/commit")
        return told.add("walked away")

    def _settle(self, one: Round, buyer: int, told: Told, path: str) -> None:
        status, answer = self.send(buyer, path)
        left = status == 200 and answer["state"] == "committed"
        told.add(_outcome(status, answer), taken=one.quantity if left else 0)

    def _adjust(self, one: Round, buyer: int, told: Told) -> None:
        quantity = 2 if buyer % 16 else -1
        body = {"location": one.location, "reason": "count", "lines": self._lines(one, quantity)}
        status, answer = self.send(buyer, "/adjustments", body, "head")
        told.add(_outcome(status, answer), adjusted=quantity if status == 201 else 0)

    def _let_time_pass(self, reservation_id: str) -> None:
        with self._own_lock, self._own.cursor() as cursor:
            cursor.execute(
                "UPDATE inventory.reservations SET expires_at = now() - interval '1 second'"
                " WHERE reservation_id = %s AND state = 'open'",
                (reservation_id,),
            )

    @staticmethod
    def _lines(one: Round, quantity: int | None = None) -> list[dict[str, Any]]:
        return [{"sku": one.sku, "quantity": one.quantity if quantity is None else quantity}]


_ACTS: Mapping[Mix, Callable[[Crowd, Round, int, Told], Any]] = {
    "reserve": Crowd._reserve,
    "issue": Crowd._issue,
    "mixed": Crowd._mix,
}


def _outcome(status: int, answer: Mapping[str, Any]) -> str:
    return str(answer.get("state", "done")) if status < 300 else f"{status} {answer.get('code')}"


ALLOWED = {
    "done", "open", "issued", "committed", "released", "expired", "walked away",
    "409 insufficient_stock", "409 reservation_expired",
}  # fmt: skip
"""All that a buyer may be told; a deadlock, a busy database or an error is none of it."""


def faults(one: Round, told: Told, database: Database) -> list[str]:
    """What is wrong with a round that has been played: nothing, if stock is safe."""
    on_hand, reserved, ledger, promised, sold = _books(one, database)
    supply, available = one.units + told.adjusted, on_hand - reserved
    found = [f"a buyer was told {status}" for status in sorted(set(told.statuses) - ALLOWED)]
    if told.taken > supply:
        found.append(f"oversold: {told.taken} of {supply}")
    if told.served < BUYERS and supply - told.taken >= one.quantity:
        found.append(f"undersold: {told.taken} of {supply}")
    if available != supply - told.taken:
        found.append(f"{available} available, but {supply} less {told.taken}")
    if ledger != on_hand:
        found.append(f"ledger {ledger}, on hand {on_hand}")
    if promised != reserved:
        found.append(f"open reservations {promised}, reserved {reserved}")
    if sold + promised != told.taken:
        found.append(f"{sold} sold and {promised} promised, but buyers were told of {told.taken}")
    return found


def _books(one: Round, database: Database) -> tuple[int, ...]:
    with closing(database.connect()) as connection, connection.cursor() as cursor:
        cursor.execute(_BOOKS, {"sku": one.sku, "location": one.location})
        row: tuple[int, ...] = cursor.fetchone() or ()
        return row


_BOOKS = """
SELECT on_hand, reserved,
  (SELECT coalesce(sum(quantity), 0) FROM inventory.ledger WHERE sku = stock.sku AND location = stock.location)::int,
  (
    SELECT coalesce(sum(quantity), 0)
    FROM inventory.reservation_lines
    JOIN inventory.reservations USING (reservation_id)
    WHERE sku = stock.sku AND state = 'open'
  )::int,
  (SELECT coalesce(-sum(quantity), 0) FROM inventory.ledger WHERE sku = stock.sku AND kind = 'sale')::int
FROM inventory.stock
WHERE sku = %(sku)s AND location = %(location)s
"""


def rounds_of(count: int) -> list[Round]:
    """`count` rounds: 1, 10 and 100 units equally often, every fourth one mixed."""
    mixes: list[Mix] = ["reserve", "issue", "reserve", "mixed"]
    kinds = [(units, mix) for units in (1, 10, 100) for mix in mixes]
    return [
        Round(f"R{number}-{uuid4().hex[:8]}", units, 1 if units < 100 else 3, mix)
        for number, (units, mix) in ((number, kinds[number % len(kinds)]) for number in range(count))
    ]


@contextmanager
def crowd(ports: Sequence[int], secrets: Secrets, database: Database) -> Iterator[Crowd]:
    buyers = Crowd(ports, secrets, database)
    try:
        yield buyers
    finally:
        buyers.close()
