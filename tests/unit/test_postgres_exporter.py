"""PostgreSQL's exporter: what it is started with, and that its password is nowhere but in its file."""

from __future__ import annotations

from pathlib import Path

import pytest

from localfaas.monitoring import PARTS, postgres_exporter, secret_names
from localfaas.monitoring.postgres_exporter import login
from localfaas.monitoring.prometheus import PARTS_WATCHED
from localfaas.settings import Settings
from localfaas.supervisor import render_program, render_script, write_program

OPTIONS = "sslmode=disable&application_name=postgres-exporter"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    found = Settings(project=tmp_path / "project", state=tmp_path / "state", port_offset=1000)
    (found.project / "monitoring" / "postgres_exporter").mkdir(parents=True)
    (found.project / postgres_exporter.QUERIES).write_text("{}")
    found.secrets.mkdir(parents=True)
    (found.secrets / "monitoring-db").write_text("postgresql://monitoring:hush%2F@127.0.0.1:9432/shop\n")
    return found


def test_project_without_queries_needs_no_exporter_and_no_login(tmp_path: Path) -> None:
    settings = Settings(project=tmp_path, state=tmp_path)
    assert postgres_exporter.program(settings, Path("/exporter"), ()) is None
    assert secret_names(settings) == set()


def test_project_with_queries_needs_both(settings: Settings) -> None:
    assert secret_names(settings) == {"monitoring-db"}
    program = postgres_exporter.program(settings, Path("/exporter"), ())
    assert program
    assert program.command[:2] == ["/exporter", "--web.listen-address=127.0.0.1:9094"]
    assert program.environment["DATA_SOURCE_URI"] == f"127.0.0.1:9432/shop?{OPTIONS}"


def test_password_is_in_a_file_of_its_own_and_nowhere_else(settings: Settings) -> None:
    program = postgres_exporter.program(settings, Path("/exporter"), ())
    assert program
    path = Path(program.environment["DATA_SOURCE_PASS_FILE"])
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("hush/", 0o600)
    assert "hush" not in render_script(settings, program) + render_program(settings, program)


def test_new_queries_or_another_password_make_it_another_program(settings: Settings) -> None:
    def written() -> bool:
        program = postgres_exporter.program(settings, Path("/exporter"), ())
        assert program
        return write_program(settings, program)

    assert [written(), written()] == [True, False]
    (settings.project / postgres_exporter.QUERIES).write_text("{a: {}}")
    assert [written(), written()] == [True, False]
    (settings.secrets / "monitoring-db").write_text("postgresql://monitoring:other@127.0.0.1:9432/shop")
    assert [written(), written()] == [True, False]


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("postgresql://m:p@db:5432/shop", f"db:5432/shop?{OPTIONS}"),
        (
            "postgresql://m:p@db/shop?sslmode=verify-full",
            "db/shop?sslmode=verify-full&application_name=postgres-exporter",
        ),
        ("postgresql://m:p@db/shop?sslmode=prefer", f"db/shop?{OPTIONS}"),
        (
            "postgresql://m:p@[::1]:5432/shop?connect_timeout=3",
            f"[::1]:5432/shop?{OPTIONS}&connect_timeout=3",
        ),
    ],
)
def test_address_of_somebody_elses_server_is_kept(url: str, address: str) -> None:
    assert login(url) == ("m", "p", address)


def test_prometheus_starts_after_what_it_watches() -> None:
    names = [part.name for part in PARTS]
    assert all(names.index(watched) < names.index("prometheus") for watched in PARTS_WATCHED)
