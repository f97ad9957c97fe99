"""Nothing is left behind: by scaling and deploying nothing in the long-lived processes, by `down` nothing at all.

In the suite the shop that other tests use is scaled and deployed a few times, and is not taken down; what `down` leaves
is looked at where a platform goes down anyway (test_localfaas.py). LEAK_CYCLES=200 has a platform of its own, with a
PostgreSQL, go up and down that often, with scaling and deploying between, and every 20th time a shop; the shop that other
tests use is changed ten times then.
"""

from __future__ import annotations

import multiprocessing.shared_memory
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import requests

from localfaas.settings import Settings
from localfaas.supervisor import PLATFORM_MARK
from tests.support.leaks import (
    LONG_LIVED,
    Descriptors,
    Growth,
    Held,
    beside_replicas,
    by_process,
    check_gone,
    descriptors,
    grown,
    held,
    is_at_rest,
)
from tests.support.platform import PROJECT, Platform, discard, new_platform
from tests.support.ports import free_offset
from tests.support.waiting import LONGEST_PAUSE_SECONDS, wait_for

pytestmark = pytest.mark.e2e

LONG_CYCLES = int(os.environ.get("LEAK_CYCLES", "0"))
SHORT_CYCLES = 2
SHOP_CYCLES = max(SHORT_CYCLES, min(LONG_CYCLES, 10))
"""Ten are enough to find what grows with each."""
SHOP_EVERY = 20
"""Of so many ups and downs the first is of a shop, which takes longer."""
OF_THE_SHOP = ("products", "/api/products?limit=1")
OF_OWN = ("slow", "/api/slow")
"""A function, and its path at the edge."""
SHARED = Path("/tmp")
SECONDS_PER_CYCLE = 60
"""Far more than one takes."""
NEIGHBOURS = max(2, LONG_CYCLES // 16)
"""Files that others may add to /tmp in half of the cycles; who leaves one in every eighth of many leaves as many."""
CONNECTIONS_REST_SECONDS = 10
"""The shop's maintenance comes every five."""

only_long = pytest.mark.skipif(LONG_CYCLES == 0, reason="takes some half a minute a cycle: LEAK_CYCLES=200")
bounded = pytest.mark.timeout(SECONDS_PER_CYCLE * (LONG_CYCLES + 3))


def in_traffic(platform: Platform, function: str) -> dict[str, int]:
    """Replicas that take traffic, with their pids."""
    rows = platform.processes().items()
    return {
        name: row["pid"] for name, row in rows if name.startswith(f"{function}-") and row["traffic"] == "yes"
    }


def scale(platform: Platform, function: str, count: int) -> None:
    platform.run("scale", function, str(count))
    wait_for(lambda: settled(platform, function, count), 60, f"{function} at {count} replicas")


def settled(platform: Platform, function: str, count: int) -> bool:
    """Whether there are so many replicas, all in traffic, and none that is on its way in or out."""
    there = [name for name in platform.processes() if name.startswith(f"{function}-")]
    return len(there) == count == len(in_traffic(platform, function))


def deploy(platform: Platform, function: str) -> None:
    before = in_traffic(platform, function)
    platform.run("deploy", function)
    wait_for(
        lambda: (
            settled(platform, function, len(before))
            and not set(before.values()) & set(in_traffic(platform, function).values())
        ),
        60,
        f"new replicas of {function}",
    )


def change(platform: Platform, function: str, path: str) -> None:
    """Three replicas and back to one, a new deployment, and requests after each."""
    for act in (
        lambda: scale(platform, function, 3),
        lambda: scale(platform, function, 1),
        lambda: deploy(platform, function),
    ):
        act()
        for _ in range(5):
            assert requests.get(platform.edge(path), timeout=10).status_code == 200


def open_files(platform: Platform) -> Descriptors:
    """Of all that is no replica."""
    pids = {name: row["pid"] for name, row in platform.processes().items() if not row["traffic"]}
    supervisord = int((platform.settings.run / "supervisord.pid").read_text())
    return descriptors({**pids, "supervisord": supervisord})


def fewest_open_files(platform: Platform) -> Counter[str]:
    """The least that there is of each for a while, in which connections that nobody needs are closed."""
    fewest, end = by_process(open_files(platform)), time.monotonic() + CONNECTIONS_REST_SECONDS
    while time.monotonic() < end:
        time.sleep(LONGEST_PAUSE_SECONDS)  # nobody tells when a connection that rests is closed
        fewest &= by_process(open_files(platform))
    return fewest


def held_beside_replicas(platform: Platform) -> Held:
    return beside_replicas(held(platform.settings), platform.processes())


def held_at_rest(platform: Platform) -> Held:
    """What is the same at two looks, and is not about to become something else."""
    looks = [held_beside_replicas(platform)]

    def steady() -> bool:
        looks.append(held_beside_replicas(platform))
        return looks[-1] == looks[-2] and is_at_rest(looks[-1])

    wait_for(steady, 30, "a platform at rest")
    return looks[-1]


def check_as_before(platform: Platform, before: Descriptors, held_before: Held) -> None:
    """No open file more, and beside replicas exactly what there was, once what is on its way out is out."""
    with suppress(AssertionError):
        wait_for(
            lambda: not grown(before, open_files(platform)) and held_beside_replicas(platform) == held_before,
            30,
        )
        return
    assert grown(before, open_files(platform)) == {}
    assert held_beside_replicas(platform) == held_before


def check_changes_leave_nothing(
    platform: Platform, function: str, path: str, cycles: int, tell: Callable[[str], None]
) -> None:
    """So many changes in one life of a platform; after each it holds what it held after the first, and nothing grows."""
    change(platform, function, path)  # whatever is opened once is open now
    held_before, before = held_at_rest(platform), open_files(platform)
    assert set(before) >= set(LONG_LIVED)
    assert all(before.values())
    growth = Growth(cycles)
    for number in range(2, cycles + 1):
        change(platform, function, path)
        check_as_before(platform, before, held_before)
        growth.after(number, lambda: fewest_open_files(platform))
        total = by_process(open_files(platform)).total()
        tell(f"change {number} of {cycles} of {function}: {total} open files")
    assert growth.found == {}


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Shows at once how far the long form is."""

    def show(line: str) -> None:
        with capsys.disabled():
            print(line, flush=True)

    return show


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A TMPDIR of this test's own commands."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Platform]:
    """A platform with two functions, a PostgreSQL and all that watches."""
    project = tmp_path / "project"
    shutil.copytree(Path(__file__).parent / "two_functions", project)
    for folder in ("template", "monitoring/alertmanager"):
        shutil.copytree(PROJECT / folder, project / folder, dirs_exist_ok=True)
    migrations = project / "db" / "migrations"
    migrations.mkdir(parents=True)
    (migrations / "0001_nothing.sql").write_text("-- migrate:up\nSELECT;\n-- migrate:down\nSELECT;\n")
    platform = new_platform(project)
    try:
        yield platform
    finally:
        discard(platform)


@pytest.fixture
def own_shop() -> Iterator[Platform]:
    """A shop that no other test uses."""
    platform = new_platform(PROJECT)
    try:
        yield platform
    finally:
        discard(platform)


@only_long
@bounded
def test_a_long_life_of_scaling_and_deploying_leaves_nothing(own: Platform, tell: Callable[[str], None]):
    own.run("up")
    check_changes_leave_nothing(own, *OF_OWN, LONG_CYCLES, tell)


@only_long
@bounded
def test_cycles_of_up_and_down_leave_nothing_behind(
    own: Platform, own_shop: Platform, temporary: Path, tell: Callable[[str], None]
):
    first: dict[str, tuple[Descriptors, Held]] = {}
    left: dict[str, set[str]] = {}
    before = set(SHARED.iterdir())
    growth = Growth(LONG_CYCLES, spare=NEIGHBOURS)
    for number in range(1, LONG_CYCLES + 1):
        is_shop = number % SHOP_EVERY == 1
        platform, (function, path) = (own_shop, OF_THE_SHOP) if is_shop else (own, OF_OWN)
        platform.run("up")
        change(platform, function, path)
        if function not in first:
            held_first = held_at_rest(platform)
            first[function] = open_files(platform), held_first
        check_as_before(platform, *first[function])
        up = held(platform.settings)
        platform.run("down")
        down = check_gone(platform.settings, up)
        assert list(temporary.iterdir()) == []
        assert down.files == left.setdefault(function, down.files)
        growth.after(number, lambda: Counter({"files": len(set(SHARED.iterdir()) - before)}))
        tell(
            f"cycle {number} of {LONG_CYCLES}, {function}: {len(up.processes)} processes, {len(down.files)} files left"
        )
    assert growth.found == {}, set(SHARED.iterdir()) - before


@bounded
def test_scaling_and_deploying_leave_nothing_in_what_lives_on(shop: Platform, tell: Callable[[str], None]):
    """Last of these, so that the shop does not run beside the long forms."""
    check_changes_leave_nothing(shop, *OF_THE_SHOP, SHOP_CYCLES, tell if LONG_CYCLES else lambda _: None)


@pytest.fixture
def down(tmp_path: Path) -> Settings:
    """A platform that is not there."""
    return Settings(project=tmp_path, state=tmp_path / "state", port_offset=free_offset())


def stray_process(settings: Settings, stack: ExitStack) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE,
        env={**os.environ, PLATFORM_MARK: str(settings.state)},
    )  # fmt: skip
    stack.callback(process.wait)
    assert process.stdin is not None
    stack.callback(process.stdin.close)


def open_port(settings: Settings, stack: ExitStack) -> None:
    listener = stack.enter_context(socket.socket())
    listener.bind(("127.0.0.1", settings.port("edge")))
    listener.listen()


def temporary_file(settings: Settings, _: ExitStack) -> None:
    settings.state.mkdir()
    with tempfile.NamedTemporaryFile(dir=settings.state, delete=False):
        pass


@pytest.mark.parametrize(
    ("leak", "where"),
    [(stray_process, "processes"), (open_port, "ports"), (temporary_file, "files")],
)
def test_what_is_left_behind_is_found(
    down: Settings, leak: Callable[[Settings, ExitStack], None], where: str
):
    assert held(down) == Held()
    with ExitStack() as stack:
        leak(down, stack)
        found = held(down)
    assert len(getattr(found, where)) == 1
    assert {name for name, value in vars(found).items() if value} == {where}


def test_secrets_of_another_deployment_are_the_same_and_those_of_two_are_more(down: Settings):
    def hand_out(generation: str) -> None:
        (down.state / "secrets-of" / "one" / generation).mkdir(parents=True)

    hand_out("5")
    before = held(down)
    (down.state / "secrets-of" / "one" / "5").rmdir()
    hand_out("7")
    assert held(down) == before
    hand_out("8")
    assert held(down).files - before.files == {"secrets-of/one/1"}


def test_shared_memory_that_outlives_its_platform_is_found(down: Settings):
    memory = multiprocessing.shared_memory.SharedMemory(create=True, size=1)
    try:
        seen = Held(shared_memory={f"/dev/shm/{memory.name}"})
        assert held(down, seen).shared_memory == seen.shared_memory
    finally:
        memory.close()
        memory.unlink()
    assert held(down, seen).shared_memory == set()


def test_what_belongs_to_no_replica_that_is_there_is_found():
    """A replica may come and go, and so may PostgreSQL's connections; what one has left behind may not."""
    programs = {
        "api": {"traffic": "", "port": 0, "pid": 1},
        "cart-1": {"traffic": "yes", "port": 8008, "pid": 0},
        "cart-2": {"traffic": "no", "port": 8018, "pid": 0},
    }
    forgotten = {"supervisor/conf.d/cart-3.sh", "run/starts/cart-3", "envoy/gateway/eds/old/eds.json"}
    own = {"supervisor/conf.d/cart-1.conf", "supervisor/conf.d/cart-2.json", "run/starts/cart-2"}
    found = Held(
        processes=["11 envoy -c edge", "12 postgres: cart shop [local] idle", "13 python replica"],
        ports={8000, 8008, 8018, 8028},
        files=forgotten | own,
    )
    assert beside_replicas(found, programs) == Held(
        processes=["envoy -c edge", "python replica"], ports={8000, 8028}, files=forgotten
    )


@pytest.mark.parametrize(
    ("file", "rests"),
    [
        ("run/starts/cart-1", True),
        ("build/cart/0123456789abcdef/handler.py", True),
        ("supervisor/conf.d/cart-1.sh", True),
        ("envoy/edge/bootstrap.json", True),
        ("supervisor/conf.d/.cart-1.sh", False),
        ("build/cart/.tmp-x1y2/handler.py", False),
        ("envoy/gateway/eds/cart/eds.json.tmp", False),
        ("envoy/edge/tmpab12.json", False),
    ],
)
def test_a_half_written_file_is_no_rest(file: str, rests: bool):
    assert is_at_rest(Held(files={file})) is rests


def test_files_that_a_process_keeps_open_are_found(tmp_path: Path):
    before = descriptors({"api": os.getpid()})
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context((tmp_path / "kept").open("w"))
        assert grown(before, descriptors({"api": os.getpid()})) == {"api": {str(tmp_path / "kept"): 3}}
    assert grown(before, descriptors({"api": os.getpid()})) == {}
