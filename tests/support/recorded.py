"""Clients of stock and of carts, whose every operation is recorded as it was asked and answered.

They ask the functions in this process. What is answered 503 because the database went away is of unknown outcome;
about half of what bears a key is then asked again, with the same key, until its outcome is known.
"""

from __future__ import annotations

import itertools
import random
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4, uuid5

from tests.support.carts import Shop
from tests.support.histories import Asked, Recorder
from tests.support.models import Cart
from tests.support.stockroom import Stockroom, lines

MOST_TRIES = 100
"""Of one request; the server may take some milliseconds to see that a connection was cut."""
NOTHING_DONE = frozenset({"database_busy", "database_slow", "reservation_in_flight"})
"""Refusals that say nothing about stock or cart, and after which nothing has changed."""
ASK_AGAIN = frozenset({"idempotency_key_in_flight"})
REUSED = 0.1
"""So many of the reservations are asked for under a name that another has."""
LATEST_NAMES = 6
"""Reservations are settled by anybody, but only the latest: so clients meet."""
NAMES = UUID("00000000-0000-0000-0000-0000000000aa")


class Clients(ABC):
    """Some clients that ask at random, at once."""

    recorder: Recorder
    targets: list[str]

    @abstractmethod
    def act(self, choice: random.Random, target: str) -> None:
        """Ask one thing."""

    def play(self, count: int, each: int, seed: int) -> None:
        """`count` clients at once ask `each` things each."""

        def one(number: int) -> None:
            choice = random.Random(seed * 1000 + number)
            for _ in range(each):
                self.act(choice, choice.choice(self.targets))

        with ThreadPoolExecutor(count, "client") as pool:
            list(pool.map(one, range(count)))


def together(*acts: Callable[[], Any]) -> None:
    """Do all of these at once."""
    with ThreadPoolExecutor(len(acts), "client") as pool:
        for future in [pool.submit(act) for act in acts]:
            future.result()


def note(asked: Asked, send: Callable[[], Any], show: Callable[[Any], Any], tries: int) -> None:
    """Send up to `tries` times until the outcome is known; an answer is kept as `show` makes it of its body."""
    may_be_done = False
    for _ in range(tries):
        response = send()
        body = response.get_json()
        if response.status_code < 400:
            asked.answer = show(body)
            return
        if response.status_code == 503 and body["code"] not in NOTHING_DONE:
            may_be_done = True
        elif body["code"] not in NOTHING_DONE | ASK_AGAIN:
            assert response.status_code in {404, 409}, body
            asked.answer = body["code"]
            return
    asked.nothing_done = not may_be_done


@dataclass
class StockClients(Clients):
    """Clients of some SKUs at one location; those are the objects."""

    room: Stockroom
    targets: list[str]
    recorder: Recorder = field(default_factory=Recorder)
    location: str = "W1"
    names: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Reservations that somebody has made or is making."""
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def act(self, choice: random.Random, target: str) -> None:
        tries = choice.choice((1, MOST_TRIES))
        kinds = ("reserve", "confirm", "release", "receive", "adjust", "read")
        [kind] = choice.choices(kinds, (28, 22, 10, 14, 6, 20))
        if kind == "reserve":
            name, quantity = self._name(choice, target), choice.randint(1, 3)
            self.ask(target, "reserve", name, quantity, tries=tries)
        elif kind in {"confirm", "release"}:
            name = choice.choice([*self.names[target][-LATEST_NAMES:], "never"])
            self.ask(target, kind, name, tries=tries)
        elif kind == "read":
            self.ask(target, "read")
        else:
            quantity = choice.randint(1, 4) if kind == "receive" else choice.choice((-2, -1, 1))
            self.ask(target, kind, quantity, tries=tries)

    def _name(self, choice: random.Random, target: str) -> str:
        """Mostly a new one, as `r17`; or one that somebody has used, or is using."""
        names = self.names[target]
        if names and choice.random() < REUSED:
            return choice.choice(names[-LATEST_NAMES:])
        names.append(f"r{next(self.numbers)}")
        return names[-1]

    def ask(self, target: str, kind: str, *arguments: Any, tries: int = 1) -> None:
        """Ask one thing, and record it."""
        send = self._sender(kind, target, arguments)
        with self.recorder.asking(target, kind, *arguments) as asked:
            note(asked, send, lambda body: self._shown(kind, body), tries)

    def _sender(self, kind: str, sku: str, arguments: tuple[Any, ...]) -> Callable[[], Any]:
        room, key = self.room, str(uuid4())
        if kind == "read":
            return lambda: room.get(f"/stock/{sku}")
        if kind == "reserve":
            name, quantity = arguments
            body = {**self._lines(sku, quantity), "reservation_id": _id_of(sku, name)}
            return lambda: room.post("/reservations", body, room.sales, key)
        if kind in {"confirm", "release"}:
            path = f"/reservations/{_id_of(sku, *arguments)}/{'commit' if kind == 'confirm' else 'release'}"
            return lambda: room.post(path, None, room.sales, key)
        path = "/receipts" if kind == "receive" else "/adjustments"
        reason = {"reason": "count"}
        return lambda: room.post(path, {**self._lines(sku, arguments[0]), **reason}, key=key)

    def _lines(self, sku: str, quantity: int) -> dict[str, Any]:
        return {"location": self.location, "lines": lines(**{sku: quantity})}

    def _shown(self, kind: str, body: dict[str, Any]) -> Any:
        if kind == "read":
            [row] = [row for row in body["locations"] if row["location"] == self.location]
            return row["on_hand"], row["reserved"]
        if kind in {"receive", "adjust"}:
            return body["movements"][0]["on_hand"]
        if kind == "confirm":
            return body["state"], body["movements"][0]["on_hand"]
        return body["state"]


def _id_of(sku: str, name: str) -> str:
    return str(uuid5(NAMES, f"{sku} {name}"))


@dataclass
class CartClients(Clients):
    """Clients that share the carts of some customers; those are the objects."""

    shop: Shop
    targets: list[str]
    recorder: Recorder = field(default_factory=Recorder)
    skus: str = "ABC"

    def act(self, choice: random.Random, target: str) -> None:
        sku, quantity = choice.choice(self.skus), choice.randint(1, 3)
        kinds = ("add", "set", "remove", "clear", "read")
        match choice.choices(kinds, (40, 20, 14, 2, 24)):
            case ["add"]:
                self.ask(target, "add", sku, quantity, tries=choice.choice((1, MOST_TRIES)))
            case ["set"]:
                self.ask(target, "set", sku, quantity)
            case ["remove"]:
                self.ask(target, "remove", sku)
            case [kind]:
                self.ask(target, kind)

    def ask(self, target: str, kind: str, *arguments: Any, tries: int = 1) -> None:
        """Ask one thing, and record it; only what is added may be asked again."""
        method, path, body = request_of(kind, arguments)
        headers = self.shop.customer(target)
        if kind == "add":
            headers = {**headers, "Idempotency-Key": str(uuid4())}
        content = {} if body is None else {"json": body}
        client = self.shop.program()
        with self.recorder.asking(target, kind, *arguments) as asked:
            note(asked, lambda: client.open(path, method=method, headers=headers, **content), shown, tries)


def request_of(kind: str, arguments: tuple[Any, ...]) -> tuple[str, str, Any]:
    """Method, path and body of what is asked of a cart."""
    match kind, arguments:
        case "add", (sku, quantity):
            return "POST", "/items", {"sku": sku, "quantity": quantity}
        case "set", (sku, quantity):
            return "PUT", f"/items/{sku}", {"quantity": quantity}
        case "remove", (sku,):
            return "DELETE", f"/items/{sku}", None
        case "clear", ():
            return "DELETE", "/", None
        case "read", ():
            return "GET", "/", None
        case _:
            raise ValueError(f"carts know no {kind}")


def shown(body: dict[str, Any]) -> Cart:
    """The cart that an answer shows."""
    return Cart(body["version"], tuple(sorted((item["sku"], item["quantity"]) for item in body["items"])))
