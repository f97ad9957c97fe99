"""Data directories are made once, whole, and served with a password."""

import subprocess

import psycopg2
import pytest

from localfaas.postgres import Cluster, PostgresError, programs_directory, wait_until_ready
from localfaas.settings import Settings
from tests.support.ports import free_port


@pytest.fixture
def cluster(tmp_path):
    programs = programs_directory(Settings(project=tmp_path, state=tmp_path))
    return Cluster(programs, tmp_path / "pg" / "data", free_port())


def test_directory_half_made_by_a_crash_is_made_again(cluster):
    cluster.data.mkdir(parents=True)
    (cluster.data / "PG_VERSION").write_text("18")
    (cluster.data.with_name("data.new")).mkdir()
    cluster.create("secret", durable=False)
    server = subprocess.Popen(cluster.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until_ready(cluster.url("secret"))
        with pytest.raises(psycopg2.OperationalError, match="password"):
            psycopg2.connect(cluster.url("wrong"))
    finally:
        server.send_signal(2)
        assert server.wait(20) == 0


def test_damaged_directory_with_data_is_refused_and_left_alone(cluster):
    (cluster.data / "base" / "1").mkdir(parents=True)
    (cluster.data / "base" / "1" / "rows").write_text("of a shop")
    with pytest.raises(PostgresError, match="damaged"):
        cluster.create("secret", durable=False)
    assert (cluster.data / "base" / "1" / "rows").read_text() == "of a shop"


def test_existing_directory_is_left_alone(cluster):
    cluster.create("secret", durable=False)
    before = (cluster.data / "global" / "pg_control").stat().st_mtime_ns
    cluster.create("another", durable=False)
    assert (cluster.data / "global" / "pg_control").stat().st_mtime_ns == before


def test_wrong_pg_bin_says_what_to_set(tmp_path):
    with pytest.raises(PostgresError, match="PG_BIN"):
        programs_directory(Settings(project=tmp_path, state=tmp_path, pg_bin=tmp_path))
