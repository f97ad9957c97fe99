"""The registry never loses, doubles or half-writes what was deployed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from localfaas.deployment import MAX_FUNCTIONS, FunctionDeployment
from localfaas.registry import (
    AlreadyDeployed,
    Desired,
    NotDeployed,
    Registry,
    RegistryError,
    TooManyFunctions,
)

LAYOUT = Path("/layouts/cart/abc")


def cart(**changes: object) -> FunctionDeployment:
    return FunctionDeployment(**{"service": "cart", "image": "cart:1", **changes})  # type: ignore[arg-type]


def test_a_new_registry_finds_what_an_old_one_stored(tmp_path: Path) -> None:
    stored = Registry(tmp_path).put(cart(env_vars={"A": "é\n"}, secrets=("s",)), LAYOUT, 3)
    assert Registry(tmp_path).all() == [stored]


def test_every_put_is_a_new_generation_of_the_same_function(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    first, second = registry.create(cart(), LAYOUT), registry.update(cart(), LAYOUT)
    assert first.generation != second.generation
    assert first.created_at == second.created_at


def test_scaling_keeps_the_generation(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    first = registry.create(cart(), LAYOUT)
    assert registry.scale("cart", 4).generation == first.generation
    assert Registry(tmp_path).all()[0].replicas == 4


def test_replicas_follow_the_minimum_label_and_else_stay(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    assert registry.create(cart(), LAYOUT).replicas == 1
    registry.scale("cart", 4)
    assert registry.update(cart(), LAYOUT).replicas == 4
    assert registry.update(cart(labels={"com.openfaas.scale.min": "2"}), LAYOUT).replicas == 2


@pytest.mark.parametrize("replicas", [-1, 0, 6])
def test_replicas_outside_the_limits_are_refused(tmp_path: Path, replicas: int) -> None:
    registry = Registry(tmp_path)
    registry.create(cart(), LAYOUT)
    with pytest.raises(ValueError, match="from 1 to 5"):
        registry.scale("cart", replicas)


def test_an_unknown_function_is_not_deployed(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    assert registry.get("cart") is None
    for act in (lambda: registry.scale("cart", 1), lambda: registry.delete("cart")):
        with pytest.raises(NotDeployed):
            act()
    with pytest.raises(NotDeployed):
        registry.update(cart(), LAYOUT)


def test_a_deleted_function_is_gone_and_its_name_is_free_at_once(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    registry.create(cart(), LAYOUT)
    registry.delete("cart")
    assert Registry(tmp_path).all() == []
    registry.create(cart(), LAYOUT)


def test_the_sixteenth_function_is_refused_and_updates_still_work(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    for number in range(MAX_FUNCTIONS):
        registry.create(cart(service=f"f{number}"), LAYOUT)
    with pytest.raises(TooManyFunctions):
        registry.create(cart(), LAYOUT)
    registry.update(cart(service="f0"), LAYOUT)


def test_of_many_simultaneous_deploys_one_wins(tmp_path: Path) -> None:
    registry, together = Registry(tmp_path), threading.Barrier(8)

    def deploy(_: int) -> Desired | None:
        together.wait()
        try:
            return registry.create(cart(), LAYOUT)
        except AlreadyDeployed:
            return None

    with ThreadPoolExecutor(8) as pool:
        winners = [desired for desired in pool.map(deploy, range(8)) if desired]
    assert len(winners) == 1
    assert Registry(tmp_path).all() == winners


def test_subscribers_hear_each_change_and_may_read(tmp_path: Path) -> None:
    registry, heard = Registry(tmp_path), list[tuple[str, int]]()
    registry.subscribe(lambda name: heard.append((name, len(registry.all()))))
    registry.create(cart(), LAYOUT)
    registry.scale("cart", 1)
    registry.scale("cart", 2)
    registry.delete("cart")
    assert heard == [("cart", 1), ("cart", 1), ("cart", 0)]


def test_a_name_that_leaves_the_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot name a function"):
        Registry(tmp_path).put(cart(service="../cart"), LAYOUT, 1)


def test_a_foreign_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "cart.json").write_text('{"deployment": {}}')
    with pytest.raises(RegistryError, match=r"cart\.json is not a deployment record"):
        Registry(tmp_path)


def test_records_are_private(tmp_path: Path) -> None:
    Registry(tmp_path).create(cart(), LAYOUT)
    assert (tmp_path / "cart.json").stat().st_mode & 0o777 == 0o600


WRITE_FOR_EVER = """
import sys
from pathlib import Path
from localfaas.deployment import FunctionDeployment
from localfaas.registry import Registry
registry = Registry(Path(sys.argv[1]))
deployment = FunctionDeployment(service="cart", image="cart:1", env_vars={"A": "x" * 100_000})
print("go", flush=True)
while True:
    registry.put(deployment, Path("/layout"), 2)
"""


def test_a_kill_in_the_middle_of_writing_leaves_a_whole_record(tmp_path: Path) -> None:
    for _ in range(5):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITE_FOR_EVER, str(tmp_path)],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        assert writer.stdout is not None
        writer.stdout.readline()
        first, deadline = _generation(tmp_path), time.monotonic() + 20
        while _generation(tmp_path) == first:
            assert time.monotonic() < deadline, "the writer does not write"
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        assert [desired.replicas for desired in Registry(tmp_path).all()] == [2]


def _generation(directory: Path) -> str:
    try:
        return str(json.loads((directory / "cart.json").read_text())["generation"])
    except FileNotFoundError:
        return ""
