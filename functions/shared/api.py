"""Routes as data: what each takes and answers is declared once, checked on the way in, and shown in /openapi.json."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from pydantic import BaseModel

from .errors import Problem

Handler = TypeVar("Handler", bound=Callable[..., Any])
Idempotency = Literal["required", "optional", "own"]
"""`own`: a key is required, and the function itself keeps the answers under it."""


@dataclass(frozen=True)
class Answer:
    """A response: `body` is written as JSON (None: no body)."""

    body: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Route:
    """One method on one path, with all that a client must know of it."""

    method: str
    path: str
    handler: Callable[..., Any]
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    answers: Mapping[int, Any] = field(default_factory=dict)
    """Status of a success to what it is: a model (JSON), a media type, a tuple of these, or None: no body."""
    roles: frozenset[str] = frozenset()
    idempotency: Idempotency | None = None
    principal: Callable[[], str] | None = None
    if_match: bool = False
    problems: tuple[int, ...] = ()
    request_headers: Mapping[str, str] = field(default_factory=dict)
    """Headers that a client may send, beside those that the fields above bring: name to what it means."""
    response_headers: Mapping[str, str] = field(default_factory=dict)
    """Headers that a success may bear: name to what it means."""
    links: Mapping[str, str] = field(default_factory=dict)
    """For a POST: the parameter of the paths below it to the member of its answer that it takes, if their names differ."""

    @property
    def name(self) -> str:
        return self.handler.__name__

    @property
    def is_internal(self) -> bool:
        """Whether only other functions may call it; then it is not there (404) for what comes through the edge."""
        return self.roles == {"service"}


class Api:
    """The routes of one function.

    `refusals` translates database constraints by name; `migration` is the version that must be applied
    before a replica is ready; `warm_up` are paths that a new replica asks itself for, with GET and every role.
    """

    def __init__(
        self,
        name: str,
        *,
        title: str,
        refusals: Mapping[str, Problem] | None = None,
        migration: str | None = None,
        warm_up: Sequence[str] = ("/openapi.json",),
    ) -> None:
        self.name = name
        self.title = title
        self.refusals = dict(refusals or {})
        self.migration = migration
        self.warm_up = tuple(warm_up)
        self.routes: list[Route] = []

    def get(self, path: str, **declared: Any) -> Callable[[Handler], Handler]:
        """Declare a GET route; keywords are the fields of `Route`."""
        return self._declare("GET", path, declared)

    def post(self, path: str, **declared: Any) -> Callable[[Handler], Handler]:
        """Declare a POST route; with `idempotency` the handler also gets `connection`, in whose transaction
        its change and its stored answer are committed together."""
        return self._declare("POST", path, declared)

    def put(self, path: str, **declared: Any) -> Callable[[Handler], Handler]:
        return self._declare("PUT", path, declared)

    def patch(self, path: str, **declared: Any) -> Callable[[Handler], Handler]:
        return self._declare("PATCH", path, declared)

    def delete(self, path: str, **declared: Any) -> Callable[[Handler], Handler]:
        return self._declare("DELETE", path, declared)

    def _declare(self, method: str, path: str, declared: dict[str, Any]) -> Callable[[Handler], Handler]:
        declared["roles"] = frozenset(declared.get("roles", ()))
        declared["problems"] = tuple(declared.get("problems", ()))

        def add(handler: Handler) -> Handler:
            self.routes.append(Route(method, path, handler, **declared))
            return handler

        return add
