"""The migrations Job of deploy/kubernetes, done by hand: its dbmate and its script against a real PostgreSQL."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
import yaml

from localfaas.postgres import new_password
from tests.conftest import running_server
from tests.support.postgres import PROJECT

FOLDER = PROJECT / "deploy" / "kubernetes" / "database" / "migrations"
ROLES = ("cart", "products", "monitoring")


def job() -> dict[str, object]:
    objects = list(yaml.safe_load_all((FOLDER / "job.yaml").read_text()))
    spec: dict[str, object] = next(item for item in objects if item["kind"] == "Job")["spec"]["template"][
        "spec"
    ]
    return spec


def test_job_migrates_an_empty_database_and_lets_roles_in(tmp_path: Path) -> None:
    passwords = tmp_path / "passwords"
    passwords.mkdir()
    for role in ROLES:
        (passwords / role).write_text(new_password())
    arguments = job()["initContainers"][0]["args"]  # type: ignore[index]
    with running_server() as server:
        with closing(psycopg2.connect(server.url("postgres"))) as connection:
            connection.autocommit = True
            connection.cursor().execute("CREATE DATABASE magasin")
        environment = {
            "DATABASE_URL": server.url("magasin") + "?sslmode=disable",
            "PASSWORDS": str(passwords),
            "PATH": f"{server.cluster.programs}{os.pathsep}{os.environ['PATH']}",
        }
        migrations = PROJECT / "db" / "migrations"
        dbmate = Path(sys.executable).parent / "dbmate"
        shown = [str(migrations) if word == "/migrations" else str(word) for word in arguments]
        for _ in range(2):  # a second run changes nothing
            subprocess.run([dbmate, *shown], env=environment, check=True, capture_output=True, timeout=120)
            subprocess.run(["sh", FOLDER / "set-passwords.sh"], env=environment, check=True, timeout=60)
        for role in ROLES:
            password = (passwords / role).read_text()
            address = f"postgresql://{role}:{password}@127.0.0.1:{server.port}/magasin"
            psycopg2.connect(address).close()
        with pytest.raises(psycopg2.OperationalError):
            psycopg2.connect(f"postgresql://cart:wrong@127.0.0.1:{server.port}/magasin")
