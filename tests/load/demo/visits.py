"""Requests to the shop's edge, each recorded, and visits of the load tests' scenario (scenario.json) made of them."""

from __future__ import annotations

import itertools
import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from benchmarks.http_client import BadAnswerError, KeepAlive, Reply, render_request
from tests.load.demo.record import UNANSWERED, Answer, Record
from tests.load.scenario import Ask, Scenario, fill

ANSWER_SECONDS = 20.0
PACE = 80
"""Requests a second of all visitors together: less than half of what the edge lets one address ask."""
VISITORS = 6
PURCHASE_SECONDS = 4.0
"""From one purchase to the next: a quarter of the checkouts that the edge lets one address begin."""
LOOKS = 3
"""How often visitors look at their carts again."""
WORDS = 8
SHOWN = 200
"""Characters of an answer that is not right."""

Judge = Callable[[Reply], str]
"""What is wrong with an answer; an empty text when nothing is."""


def succeeds(reply: Reply) -> str:
    """Any success will do."""
    return "" if reply.status < 300 else said(reply)


def said(reply: Reply) -> str:
    return f"{reply.status} {' '.join(reply.body[:SHOWN].decode(errors='replace').split())}"


def document(reply: Reply) -> Any:
    """Its JSON, or None."""
    with suppress(ValueError):
        return json.loads(reply.body)
    return None


@dataclass
class Caller:
    """Somebody with a connection of his own to the edge. `scene` says for which scene what he asks is counted."""

    port: int
    record: Record
    scene: Callable[[], str]
    token: str = ""
    connection: KeepAlive = field(init=False)

    def __post_init__(self) -> None:
        self.connection = KeepAlive(self.port, ANSWER_SECONDS)

    def close(self) -> None:
        self.connection.close()

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        judge: Judge = succeeds,
        *,
        name: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> Reply | None:
        """The answer, or None when there was none; a POST bears a key of its own unless `headers` has one."""
        own = {"Idempotency-Key": str(uuid4())} if method == "POST" else {}
        own |= {"Authorization": self.token} if self.token else {}
        content = b"" if body is None else json.dumps(body).encode()
        return self._sent(
            name or f"{method} {path}",
            method,
            render_request("localhost", method, path, content, own | dict(headers or {})),
            judge,
        )

    def _sent(self, name: str, method: str, request: bytes, judge: Judge) -> Reply | None:
        scene, started = self.scene(), time.monotonic()
        reply: Reply | None = None
        fault = "the tour was stopped"
        self.record.sending(scene, method)
        try:
            reply = self.connection.send(request)
            fault = judge(reply)
        except (OSError, BadAnswerError) as exc:
            fault = f"no answer ({exc})"
        finally:
            now = time.monotonic()
            status, replica = (reply.status, reply.header("X-Served-By")) if reply else (UNANSWERED, "")
            self.record.add(Answer(now, scene, name, method, status, now - started, fault, replica))
        return reply


def perform(caller: Caller, ask: Ask, values: dict[str, Any]) -> bool:
    """One request of the scenario; whether its answer is right. Adds what it takes of the answer to `values`."""
    reply = caller.ask(
        ask.method, fill(ask.path, values), None if ask.body is None else fill(ask.body, values),
        lambda reply: fault_of(ask, values, reply), name=ask.name, headers=fill(ask.headers, values),
    )  # fmt: skip
    if reply is None or fault_of(ask, values, reply):
        return False
    found = document(reply)
    for name, source in ask.take.items():
        header = source.removeprefix("header ")
        values[name] = reply.header(header) if header != source else at(found, source)
    return True


def fault_of(ask: Ask, values: Mapping[str, Any], reply: Reply) -> str:
    """What of an answer is not as the scenario says; an empty text when all is."""
    if reply.status not in ask.status:
        return said(reply)
    found = document(reply)
    for path, wanted in ask.answer.items():
        there = _text(at(found, path))
        if there is None or (wanted != "*" and there != str(fill(wanted, values))):
            return f"{path} is {there!r}: {said(reply)}"
    if ask.contains and fill(ask.contains, values) not in reply.body.decode(errors="replace"):
        return f"does not contain {fill(ask.contains, values)!r}: {said(reply)}"
    return ""


def at(found: Any, path: str) -> Any:
    """What is at `items.0.sku` of a JSON document, or None."""
    for name in path.split("."):
        try:
            found = found[int(name)] if isinstance(found, list) else found[name]
        except (KeyError, IndexError, TypeError, ValueError):
            return None
    return found


def _text(value: Any) -> str | None:
    """As the scenario writes it."""
    return None if value is None else value if isinstance(value, str) else json.dumps(value)


def products(caller: Caller) -> list[dict[str, Any]]:
    """What visits may begin with: each product on the first page, with a word that finds something."""
    reply = caller.ask("GET", "/api/products?limit=100")
    items = at(document(reply), "items") if reply else None
    words = list(itertools.islice(_findable(caller, items or []), WORDS))
    return [
        {"sku": item["sku"], "product_id": item["product_id"], "word": word, "query": word}
        for item, word in zip(items or [], itertools.cycle(words))
    ]


def _findable(caller: Caller, items: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Words that need no quoting in an address, and are written in what they find."""
    words = (re.search(r"\b[A-Za-z]{4,}\b", str(item["name"])) for item in items)
    for word in dict.fromkeys(found[0] for found in words if found):
        reply = caller.ask("GET", f"/api/products?limit=20&q={word}")
        if reply and at(document(reply), "items.0.sku") and word.encode() in reply.body:
            yield word


class Trade:
    """Visitors, who browse and fill carts at a bounded pace, and one who buys, from `start` to `stop`.

    A visitor waits for an answer before asking again, so the pace is the most that is asked, not what is.
    """

    def __init__(
        self,
        caller: Callable[[], Caller],
        scenario: Scenario,
        rows: Sequence[Mapping[str, Any]],
        buyers: Callable[[], tuple[str, Mapping[str, Any]]],
    ) -> None:
        """`buyers` gives for each purchase a new customer's authorization, and the values of what is bought."""
        self._caller, self._buyers = caller, buyers
        self._rows, self._rows_lock = itertools.cycle(rows), threading.Lock()
        self._visits = visits_of(scenario)
        self._purchase = scenario.actions["checkout"]
        self._done = threading.Event()
        self._threads = [
            threading.Thread(target=self._visit, args=(place,), daemon=True) for place in range(VISITORS)
        ]
        self._threads.append(threading.Thread(target=self._buy, daemon=True))

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """No more is asked, and all that was is answered or given up."""
        self._done.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(ANSWER_SECONDS + 5)

    def _visit(self, place: int) -> None:
        caller, pause = self._caller(), VISITORS / PACE
        due = time.monotonic() + pause * place / VISITORS
        for visit in itertools.islice(itertools.cycle(self._visits), place, None):
            values = self._row()
            for ask in visit:
                if self._done.wait(max(0.0, due - time.monotonic())):
                    return caller.close()
                due = max(due, time.monotonic() - pause) + pause
                if not perform(caller, ask, values):
                    break
        return None

    def _buy(self) -> None:
        caller = self._caller()
        while True:
            caller.token, product = self._buyers()
            values = dict(product)
            all(perform(caller, ask, values) for ask in self._purchase)
            if self._done.wait(PURCHASE_SECONDS):
                return caller.close()

    def _row(self) -> dict[str, Any]:
        with self._rows_lock:
            return dict(next(self._rows))


def visits_of(scenario: Scenario) -> tuple[Sequence[Ask], Sequence[Ask]]:
    """Two kinds, in turn: one looks around, one fills a cart and looks at it again and again."""
    does = scenario.actions
    return (
        (*does["browse"], *does["search"], *does["view"]),
        (*does["view"], *does["cart"], *does["cart"][-1:] * LOOKS),
    )
