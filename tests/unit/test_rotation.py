"""Logs stay bounded while their programs go on writing."""

import errno
import subprocess

from localfaas import rotation
from localfaas.rotation import rotate_logs
from localfaas.settings import Settings
from localfaas.supervisor import Program, write_program


def test_grown_log_is_set_aside_and_emptied(tmp_path):
    log = tmp_path / "cart-1.log"
    log.write_text("x" * 100)
    assert rotate_logs(tmp_path, largest=50) == [log]
    assert log.read_text() == ""
    assert (tmp_path / "cart-1.log.1").read_text() == "x" * 100


def test_small_log_is_left_alone(tmp_path):
    (tmp_path / "cart-1.log").write_text("x")
    assert rotate_logs(tmp_path, largest=50) == []


def test_two_older_files_are_kept(tmp_path):
    log = tmp_path / "cart-1.log"
    for text in ("first", "second", "third", "fourth"):
        log.write_text(text)
        rotate_logs(tmp_path, largest=1)
    kept = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert kept == {"cart-1.log": "", "cart-1.log.1": "fourth", "cart-1.log.2": "third"}


def test_log_that_cannot_be_copied_stays_and_so_do_the_older_ones(tmp_path, monkeypatch, caplog):
    for name, text in (("cart-1.log", "third"), ("cart-1.log.1", "second"), ("cart-1.log.2", "first")):
        (tmp_path / name).write_text(text)

    def full(source, target):
        target.write_text("thi")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(rotation.shutil, "copyfile", full)
    assert rotate_logs(tmp_path, largest=1) == []
    kept = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert kept == {"cart-1.log": "third", "cart-1.log.1": "second", "cart-1.log.2": "first"}
    assert "cart-1.log goes on growing" in caplog.text


def test_program_goes_on_in_the_emptied_file(tmp_path):
    settings = Settings(project=tmp_path, state=tmp_path)
    settings.logs.mkdir()
    write_program(settings, Program("talker", ["sh", "-c", "echo one; read go; echo two"], tmp_path))
    script = settings.supervisor / "conf.d" / "talker.sh"
    with subprocess.Popen(["sh", script], stdin=subprocess.PIPE, text=True) as talker:
        log = settings.logs / "talker.log"
        while not (log.exists() and log.read_text()):
            assert talker.poll() is None
        rotate_logs(settings.logs, largest=1)
        talker.communicate("go\n", timeout=10)
    assert log.read_text() == "two\n"
