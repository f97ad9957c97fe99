"""What requests leave to be done later is done once, soon, in order, and by whoever asks for it to be done."""

from __future__ import annotations

import multiprocessing
import threading
from typing import Any

import pytest

from functions.shared import later
from functions.shared.later import Later
from tests.support.waiting import wait_for


def test_it_is_done_soon_and_in_order_by_another_thread() -> None:
    waiting, done = Later(), list[tuple[int, str]]()
    for number in range(100):
        waiting.do(lambda number=number: done.append((number, threading.current_thread().name)))
    assert done == []
    wait_for(lambda: len(done) == 100)
    assert done == [(number, "later") for number in range(100)]
    waiting.do(done.clear)
    wait_for(lambda: not done)


def test_who_settles_finds_all_done(capsys: pytest.CaptureFixture[str]) -> None:
    waiting = Later()
    for number in range(3):
        waiting.do(lambda number=number: f"{number}\n")
    waiting.settle()
    assert capsys.readouterr().out == "0\n1\n2\n"


def test_what_fails_is_told_and_keeps_nothing_else_from_being_done(caplog: pytest.LogCaptureFixture) -> None:
    waiting, done = Later(), list[int]()
    waiting.do(lambda: 1 // 0)  # type: ignore[arg-type,return-value]
    waiting.do(done.append, 1)
    waiting.settle()
    assert done == [1]
    assert "ZeroDivisionError" in caplog.text


def test_no_more_waits_than_memory_should_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(later, "MOST", 10)
    waiting, done = Later(), list[int]()
    for number in range(12):
        waiting.do(done.append, number)
    assert len(done) >= 11


def test_many_threads_lose_nothing() -> None:
    waiting, done = Later(), list[int]()

    def work() -> None:
        for number in range(1_000):
            waiting.do(done.append, number)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    waiting.settle()
    assert len(done) == 8_000


def _in_a_fork(waiting: Later, pipe: Any) -> None:
    waiting.do(pipe.send, "done")
    wait_for(lambda: not waiting._waiting)
    waiting.settle()  # comes back when what the thread has in hand is done


def test_a_forked_process_has_a_thread_of_its_own() -> None:
    waiting, done = Later(), list[int]()
    waiting.do(done.append, 1)
    wait_for(lambda: done)
    here, there = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(target=_in_a_fork, args=(waiting, there))
    child.start()
    assert here.poll(30)
    assert here.recv() == "done"
    child.join(30)
    assert child.exitcode == 0
