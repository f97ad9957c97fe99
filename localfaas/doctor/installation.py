"""What the checks look at: each part is looked up once, when a check first asks for it, and nothing is changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import psycopg2
import psycopg2.extensions
import requests

from localfaas import database, loopback
from localfaas.doctor.finding import NotLookedAt
from localfaas.platform import postgres_cluster
from localfaas.postgres import Cluster, PostgresError
from localfaas.project import Hooks, ProjectError, load_hooks
from localfaas.registry import Registry
from localfaas.replicas import lacking
from localfaas.settings import Settings
from localfaas.stack import Stack, StackError, load_stack, stack_file
from localfaas.status import traces_sent
from localfaas.supervisor import Process, Supervisor, SupervisorError, abouts
from localfaas.up import admin_url, needs_database, secret_names

ANSWER_SECONDS = 5.0
CONNECT_SECONDS = 3
STATEMENT_SECONDS = 30


class Installation:
    """One platform as it is found. What is not there raises NotLookedAt."""

    def __init__(self, settings: Settings, environ: Mapping[str, str]) -> None:
        self.settings = settings
        self.environ = environ
        self._session = loopback.session()

    def close(self) -> None:
        self._session.close()

    @property
    def exists(self) -> bool:
        """Whether it was ever started."""
        return self.settings.secrets.is_dir()

    @cached_property
    def stack(self) -> Stack:
        """stack.yml as the platform reads it, with the traces that it was started with."""
        settings = replace(self.settings, traces=traces_sent(self.settings))
        try:
            return load_stack(stack_file(settings.project), settings.stack_variables(self.environ))
        except StackError as exc:
            raise NotLookedAt("stack.yml cannot be read") from exc

    @cached_property
    def hooks(self) -> Hooks:
        try:
            return load_hooks(self.settings.project)
        except ProjectError as exc:
            raise NotLookedAt("localfaas.yml cannot be read") from exc

    @cached_property
    def supervisord(self) -> int | None:
        """The pid of supervisord, or None when it is away."""
        try:
            return Supervisor(self.settings).pid()
        except SupervisorError:
            return None

    @cached_property
    def processes(self) -> dict[str, Process]:
        """Every program that supervisord knows."""
        if self.supervisord is None:
            raise NotLookedAt("the platform is not running")
        return Supervisor(self.settings).processes()

    @cached_property
    def abouts(self) -> dict[str, dict[str, Any]]:
        """What is written down of every program."""
        return abouts(self.settings)

    @cached_property
    def registry(self) -> Registry:
        """What is deployed."""
        if not self.settings.deployments.is_dir():
            raise NotLookedAt("nothing is deployed yet")
        return Registry(self.settings.deployments)

    @cached_property
    def serving(self) -> set[str]:
        """The replicas that take traffic and are of what is deployed."""
        return {
            f"{one.name}-{slot}" for one in self.registry.all() for slot in range(1, one.replicas + 1)
        } - {name for one in self.registry.all() for name in lacking(self.settings, one)}

    @property
    def needs_database(self) -> bool:
        return needs_database(self.settings, self.stack)

    @property
    def secret_names(self) -> set[str]:
        """The secrets that functions and what watches them need."""
        return secret_names(self.settings, self.stack)

    @property
    def keeps_database(self) -> bool:
        """Whether the database is the platform's own."""
        return self.needs_database and not self.settings.database_url

    @property
    def cluster(self) -> Cluster:
        """The platform's own PostgreSQL, whose programs are there."""
        if not self.keeps_database:
            raise NotLookedAt("the platform keeps no database")
        try:
            return postgres_cluster(self.settings)
        except PostgresError as exc:
            raise NotLookedAt("PostgreSQL's programs are not there") from exc

    @property
    def admin_url(self) -> str:
        """The superuser's address of the project's database, while there is something to answer there."""
        if not self.needs_database:
            raise NotLookedAt("the project has no use for a database")
        if self.settings.database_url:
            return self.settings.database_url
        if "postgres" not in self.processes:
            raise NotLookedAt("no PostgreSQL of the platform's own; name yours in DATABASE_URL")
        try:
            return admin_url(self.settings)
        except (FileNotFoundError, PostgresError) as exc:
            raise NotLookedAt("there is nothing to log in with") from exc

    @contextmanager
    def database(self, url: str | None = None) -> Iterator[psycopg2.extensions.cursor]:
        """Ask the database, as the superuser or at the address of a login; read only.

        Raises psycopg2.OperationalError when nobody can log in.
        """
        options = f"-c default_transaction_read_only=on -c statement_timeout={STATEMENT_SECONDS}s"
        connection = psycopg2.connect(
            url or self.admin_url,
            connect_timeout=CONNECT_SECONDS,
            application_name="localfaas doctor",
            options=options,
        )
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                yield cursor
        finally:
            connection.close()

    def login(self, role: str) -> str:
        """The address under which a role of the project logs in."""
        path = self.settings.secrets / f"{role}{database.SECRET_SUFFIX}"
        try:
            return path.read_text().strip()
        except OSError as exc:
            raise NotLookedAt(f"{path} cannot be read") from exc

    def get(self, url: str) -> requests.Response:
        """Raises requests.RequestException when nothing answers in time."""
        return self._session.get(url, timeout=ANSWER_SECONDS)

    def log_end(self, program: str) -> str:
        """The last line that a program wrote, shortened."""
        path = self.settings.logs / f"{program}.log"
        if not path.exists():
            return "nothing"
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 4096))
            lines = file.read().decode(errors="replace").split("\n")
        written = [line.strip() for line in lines if line.strip()]
        return written[-1][:160] if written else "nothing"


def shown(settings: Settings, path: Path) -> str:
    """A path as one would type it in the project's folder."""
    return str(path.relative_to(settings.project) if path.is_relative_to(settings.project) else path)
