"""What k6 sends for the experiments: a request with one before it, in turns, in proportion, and insisted on."""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.experiments.common.driving import Block, Driven, Kept, Request, drive, kept
from tests.experiments.common.folder import Folder
from tests.experiments.common.validity import Limits

RATE = 40.0
JSON = {"Content-Type": "application/json", "Authorization": "$who"}
FIRST = Request("http://127.0.0.1:{port}/cart/$sku", "PUT", JSON)


@dataclass
class Desk:
    """A server that gives a number to who asks for a cart, and answers the first try to buy with 503."""

    carts: list[tuple[str, str]] = field(default_factory=list)
    bought: list[tuple[str, str, int]] = field(default_factory=list)
    """Key, who, version."""
    looked: int = 0
    asked: list[str] = field(default_factory=list)
    undone: list[str] = field(default_factory=list)
    shown: list[str | None] = field(default_factory=list)
    """The cookie of who asks to be shown a cart."""
    returned: list[str] = field(default_factory=list)
    """The cookies of those who come for a cart."""


@dataclass(frozen=True)
class Seen:
    desk: Desk
    driven: Driven
    kept: list[Kept]


@contextmanager
def running(desk: Desk) -> Iterator[int]:
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            name = self.path.split("/")[1]
            with lock:
                desk.looked += name == "look"
                desk.asked.append(self.path)
                if name == "shown":
                    desk.shown.append(self.headers["Cookie"])
            self.answer(200, {"looked": True, name: f"{name}-told"})

        def do_DELETE(self) -> None:
            with lock:
                desk.undone.append(self.path)
            self.answer(200, {})

        def do_PUT(self) -> None:
            with lock:
                desk.carts.append((self.path, self.headers["Authorization"]))
                desk.returned += self.headers.get_all("Cookie", [])
                version = len(desk.carts)
            self.answer(200, {"version": version}, cookie=f"cart={version}")

        def do_POST(self) -> None:
            version = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["version"]
            key, who = self.headers["Idempotency-Key"], self.headers["Authorization"]
            with lock:
                again = any(one[0] == key for one in desk.bought)
                desk.bought.append((key, who, version))
            self.answer(201 if again else 503, {"order": f"order of {key}"})

        def answer(self, status: int, document: object, cookie: str = "") -> None:
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            if cookie:
                self.send_header("Set-Cookie", f"{cookie}; HttpOnly; Path=/; SameSite=Lax")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    folder, desk = Folder(tmp_path_factory.mktemp("driven")), Desk()
    with running(desk) as port:
        base = f"http://127.0.0.1:{port}"
        turns = [{"who": f"Bearer {name}", "sku": f"sku-{name}"} for name in ("ada", "bob", "eve")]
        buy = Request(
            f"{base}/buy", "POST", JSON, json.dumps({"version": "$version"}), statuses=(201,), key=True, turns=turns,
            first=Request(f"{base}/cart/$sku", "PUT", JSON), keep="order", insist=5.0,
        )  # fmt: skip
        look = Request(f"{base}/look", contains="looked")
        undo = Request(
            f"{base}/undo/$one/$two",
            "DELETE",
            first=Request(f"{base}/two/$one", first=Request(f"{base}/one")),
        )
        blocks = [
            Block("buy", buy, 1.0, rate=6, start=0.3),
            Block("undo", undo, 1.0, rate=6, start=0.3),
            Block(
                "show",
                Request(f"{base}/shown", first=Request(f"{base}/cart/some", "PUT")),
                1.0,
                rate=6,
                start=0.3,
            ),
            Block("mix", [(3, look), (1, Request(f"{base}/cart/some", "PUT"))], 1.0, rate=RATE, start=0.3),
        ]
        driven = drive(folder, blocks, limits=Limits(late_seconds=None, steal=None, wrong_answers=None))
        return Seen(desk, driven, kept(folder))


def test_what_the_first_request_answers_is_in_the_body_of_the_second(seen: Seen) -> None:
    versions = {version for _, _, version in seen.desk.bought}
    mine = {place for place, (path, _) in enumerate(seen.desk.carts, 1) if path != "/cart/some"}
    assert versions == mine
    assert len(versions) == len(seen.kept)


def test_each_of_several_that_come_before_fills_what_follows(seen: Seen) -> None:
    [undos] = seen.driven.of("undo")
    assert undos.ok.all()
    assert seen.desk.undone == ["/undo/one-told/two-told"] * len(undos)
    assert seen.desk.asked.count("/one") == seen.desk.asked.count("/two/one-told") == len(undos)


def test_a_cookie_of_the_first_answer_comes_with_the_second_request_and_with_no_other(seen: Seen) -> None:
    """By it a visitor is shown the cart that was filled just before, as each comes without one."""
    assert len(seen.desk.shown) >= 6
    assert len(set(seen.desk.shown)) == len(seen.desk.shown)
    assert all(re.fullmatch(r"cart=\d+", cookie or "") for cookie in seen.desk.shown)
    assert seen.desk.returned == []


def test_turns_fill_address_and_headers_together(seen: Seen) -> None:
    carts = [(path, who) for path, who in seen.desk.carts if path != "/cart/some"]
    assert set(carts) == {(f"/cart/sku-{name}", f"Bearer {name}") for name in ("ada", "bob", "eve")}
    assert max(Counter(carts).values()) <= min(Counter(carts).values()) + 1
    assert {who for _, who, _ in seen.desk.bought} == {"Bearer ada", "Bearer bob", "Bearer eve"}


def test_what_is_insisted_on_is_sent_again_with_its_key_and_the_final_answer_kept(seen: Seen) -> None:
    assert len(seen.kept) >= 6
    assert {(one.arm, one.status, one.tries) for one in seen.kept} == {("buy", 201, 2)}
    assert {one.value for one in seen.kept} == {f"order of {key}" for key, _, _ in seen.desk.bought}
    assert set(Counter(key for key, _, _ in seen.desk.bought).values()) == {2}


def test_only_the_first_answer_counts_as_the_request(seen: Seen) -> None:
    [buys] = seen.driven.of("buy")
    assert buys.status.tolist() == [503] * len(seen.kept)
    assert not buys.ok.any()


def test_several_requests_come_in_their_proportion(seen: Seen) -> None:
    [mix] = seen.driven.of("mix")
    assert mix.ok.all()
    assert abs(seen.desk.looked / len(mix) - 0.75) <= 1.5 / len(mix)
