"""Where scenes are played: who asks, what is seen meanwhile, and how long a scene lasts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from localfaas.client import ClientError, GatewayClient
from tests.load.demo.drawing import Claim, Replicas, View
from tests.load.demo.goods import Goods
from tests.load.demo.record import Record, Sum
from tests.load.demo.shop import Shop, replicas
from tests.load.demo.visits import Caller

BEFORE, AFTER = "before", "after"
"""As which is counted what is asked to make ready, and to put all back."""
TICK_SECONDS = 0.15
WATCH_SECONDS = 1.0
SPARKLINE_SECONDS = 50
UNREAD = suppress(OSError)
"""A terminal that is gone is no reason to leave anything half-way."""


class Screen(Protocol):
    """Where a tour is shown."""

    def begin(self, view: Callable[[], View]) -> None:
        """A scene begins; `view` is what there is to be seen of it, now and later."""

    def note(self, text: str) -> None:
        """Something was done, or has happened."""

    def tick(self) -> None:
        """A moment has passed."""

    def end(self, claims: Sequence[Claim]) -> None:
        """What the scene has shown."""

    def close(self) -> None:
        """Nothing moves from now on."""


class Watch:
    """Asks the gateway every second how many replicas there are; `seen` is empty while it does not say."""

    def __init__(self, client: GatewayClient) -> None:
        self.seen: dict[str, Replicas] = {}
        self._client = client
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._done.set()
        if self._thread.is_alive():
            self._thread.join()
        self._client.close()

    def _look(self) -> None:
        while not self._done.is_set():
            try:
                self.seen = replicas(self._client)
            except ClientError:
                self.seen = {}
            self._done.wait(WATCH_SECONDS)


@dataclass
class Stage:
    """One tour's. `seconds` is how long a scene lasts at least."""

    shop: Shop
    record: Record
    client: GatewayClient
    screen: Screen
    watch: Watch
    seconds: float
    goods: Goods = field(default_factory=Goods)
    scene: str = BEFORE
    _fixed: View = field(default_factory=lambda: View(0, 0, "", ""))
    _began: float = 0.0
    _notes: Sequence[str] = ()

    def begin(self, scene: str, fixed: View) -> None:
        """From now on what is asked is counted for this scene; `fixed` is what does not change on its picture."""
        self.scene, self._fixed, self._notes, self._began = scene, fixed, (), time.monotonic()
        with UNREAD:
            self.screen.begin(self.view)

    def view(self) -> View:
        """What there is to be seen now."""
        now = time.monotonic()
        return replace(
            self._fixed, window=self.record.window(now), seconds=self.record.seconds(now, SPARKLINE_SECONDS),
            sum=self.sum, replicas=self.watch.seen, notes=self._notes,
        )  # fmt: skip

    def note(self, text: str) -> None:
        self._notes = (*self._notes, text)
        with UNREAD:
            self.screen.note(text)

    def caller(self, role: str = "", subject: str = "") -> Caller:
        """Somebody who asks through the edge; a customer is a new one each time."""
        token = self.shop.bearer(role, subject) if role else ""
        return Caller(self.shop.edge, self.record, lambda: self.scene, token)

    def hold(self, share: float = 1.0) -> None:
        """Let the scene go on until this share of its time has passed."""
        while time.monotonic() < self._began + share * self.seconds:
            self.pause()

    def pause(self, seconds: float = TICK_SECONDS) -> None:
        time.sleep(seconds)
        with UNREAD:
            self.screen.tick()

    def until(self, condition: Callable[[], Any], seconds: float) -> float | None:
        """Seconds until the condition held, or None when it did not within `seconds`."""
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            if condition():
                return time.monotonic() - began
            self.pause()
        return None

    def replicas_of(self, function: str) -> Replicas:
        """As the gateway tells now. Raises ClientError."""
        return replicas(self.client).get(function, Replicas(0, 0))

    @property
    def sum(self) -> Sum:
        """Of the scene so far."""
        return self.record.sum_of(self.scene)
