"""What `up` starts from when nothing runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from localfaas import up
from localfaas.settings import Settings
from localfaas.stack import Stack
from localfaas.supervisor import Program, Supervisor, abouts, write_program


class Started(Exception):
    """Holds the programs that supervisord would find."""


def test_no_program_of_the_last_time_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be for other ports, or for a Python that is gone."""

    def start(settings: Settings) -> None:
        raise Started(abouts(settings))

    monkeypatch.setattr(up, "start_supervisord", start)
    settings = Settings.load({}, tmp_path)
    about: dict[str, Any] = {"function": "cart", "generation": "1", "port": 8008}
    write_program(settings, Program("cart-1", ["true"], tmp_path, about=about))
    write_program(settings, Program("api", ["true"], tmp_path))
    with pytest.raises(Started) as found:
        up.start_processes(settings, Supervisor(settings), Stack(tmp_path, "", {}))
    assert found.value.args == ({},)
