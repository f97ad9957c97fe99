"""Who has a lock is waited for, and whoever waits can say so."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from localfaas import cli
from localfaas.locks import locked
from localfaas.settings import Settings


def test_a_lock_that_another_has_is_told_of_and_waited_for(tmp_path: Path) -> None:
    told, order = threading.Event(), list[str]()

    def second() -> None:
        with locked(tmp_path / "lock", told.set):
            order.append("second")

    waiting = threading.Thread(target=second)
    with locked(tmp_path / "lock"):
        waiting.start()
        assert told.wait(10)
        order.append("first")
    waiting.join(10)
    assert order == ["first", "second"]


def test_a_free_lock_is_not_told_of(tmp_path: Path) -> None:
    with locked(tmp_path / "lock", lambda: pytest.fail("nobody has it")):
        pass


@pytest.mark.parametrize(
    ("work", "verb"),
    [
        ("up", ["up"]),
        ("down", ["down"]),
        ("reset", ["reset", "--yes"]),
        ("restore", ["restore", "--yes", "folder"]),
    ],
)
def test_what_starts_or_stops_a_platform_does_so_alone(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    work: str,
    verb: list[str],
) -> None:
    settings, told = Settings.load({}, tmp_path), threading.Event()
    began = threading.Event()

    def works(*_: object) -> None:
        began.set()
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, work, works)
    monkeypatch.setattr(cli, "print", lambda *_, **__: told.set(), raising=False)
    for name in ("STATE_DIR", "PORT_OFFSET"):
        monkeypatch.delenv(name, raising=False)
    one = threading.Thread(target=cli.main, args=(["--project", str(tmp_path), *verb],))
    with locked(settings.state / "up.lock"):
        one.start()
        assert told.wait(10)
        assert not began.is_set()
    one.join(10)
    assert began.is_set()
