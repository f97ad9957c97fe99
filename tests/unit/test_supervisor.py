"""supervisord's files: what a program's script really starts, and what its configuration says."""

import configparser
import json
import socket
import subprocess

import pytest

from localfaas import supervisor
from localfaas.settings import Settings
from localfaas.supervisor import (
    Program,
    Supervisor,
    SupervisorError,
    abouts,
    delete_program,
    render_program,
    restarts,
    starts_file,
    write_program,
)


@pytest.fixture
def settings(tmp_path):
    return Settings(project=tmp_path, state=tmp_path / "state 100%")


def run_script(settings):
    """Run the script of cart-1; return what its log holds then."""
    settings.logs.mkdir(parents=True, exist_ok=True)
    subprocess.run(["sh", settings.supervisor / "conf.d" / "cart-1.sh"], check=True)
    return (settings.logs / "cart-1.log").read_text()


def program(tmp_path, **environment):
    return Program("cart-1", ["env"], tmp_path, environment, about={"port": 8008})


@pytest.mark.parametrize(
    "value", ["plain", "two words", "'single' \"double\"", "100%", "$HOME `id`", "a\nb", "é;#", ""]
)
def test_script_passes_every_value_unchanged(settings, tmp_path, value):
    write_program(settings, program(tmp_path, VALUE=value))
    assert f"VALUE={value}\n" in run_script(settings)


def test_script_inherits_nothing_of_its_starter(settings, tmp_path, monkeypatch):
    monkeypatch.setenv("LEAKED", "yes")
    write_program(settings, program(tmp_path))
    printed = run_script(settings)
    assert "LEAKED" not in printed
    assert f"LOCALFAAS_STATE={settings.state}\n" in printed


def test_each_start_leaves_one_line(settings, tmp_path):
    write_program(settings, program(tmp_path))
    for _ in range(3):
        run_script(settings)
    assert starts_file(settings, "cart-1").read_text() == "\n\n\n"


def test_percent_signs_in_paths_survive_supervisords_expansion(settings, tmp_path):
    parsed = configparser.RawConfigParser()
    parsed.read_string(render_program(settings, program(tmp_path)))
    assert "state 100%%" in parsed["program:cart-1"]["command"]


def test_writing_the_same_program_again_changes_nothing(settings, tmp_path):
    assert write_program(settings, program(tmp_path))
    assert not write_program(settings, program(tmp_path))
    assert write_program(settings, program(tmp_path, NEW="1"))


def test_program_is_another_when_a_file_that_it_reads_has_changed(settings, tmp_path):
    (tmp_path / "read").write_text("one")
    reading = Program("cart-1", ["env"], tmp_path, reads=(tmp_path / "read",))
    assert [write_program(settings, reading) for _ in range(2)] == [True, False]
    (tmp_path / "read").write_text("two")
    assert [write_program(settings, reading) for _ in range(2)] == [True, False]


def test_restarts_are_starts_but_the_first(settings, tmp_path):
    write_program(settings, program(tmp_path))
    assert restarts(settings, "cart-1") == 0
    for expected in (0, 1, 2):
        run_script(settings)
        assert restarts(settings, "cart-1") == expected


def test_deleted_program_leaves_no_file(settings, tmp_path):
    write_program(settings, program(tmp_path))
    assert abouts(settings) == {"cart-1": {"port": 8008}}
    delete_program(settings, "cart-1")
    assert abouts(settings) == {}
    assert list((settings.supervisor / "conf.d").iterdir()) == []


def test_half_written_program_is_not_seen(settings, tmp_path):
    write_program(settings, program(tmp_path))
    (settings.supervisor / "conf.d" / ".cart-2.json").write_text(json.dumps({"port": 1})[:4])
    assert list(abouts(settings)) == ["cart-1"]


def test_a_supervisord_that_is_frozen_is_told_of(settings, monkeypatch):
    monkeypatch.setattr(supervisor, "ANSWER_SECONDS", 0.05)
    settings.run.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as frozen:
        frozen.bind(str(settings.supervisor_socket))
        frozen.listen()
        with pytest.raises(SupervisorError, match="does not answer getAllProcessInfo: timed out"):
            Supervisor(settings).processes()


def test_a_program_whose_file_a_loss_of_power_has_emptied_is_about_nothing(settings):
    write_program(settings, Program("cart-1", ["true"], settings.state, about={"port": 8008}))
    (settings.supervisor / "conf.d" / "cart-1.json").write_text("")
    assert abouts(settings) == {"cart-1": {}}
