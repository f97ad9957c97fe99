"""What a function needs to run in a test: secrets in a directory, tokens signed with them, a client."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from db.seed.keys import (
    PUBLIC_KEYS_FILE,
    USER_KEY_FILE,
    ensure_private_key,
    load_private_key,
    merge_jwks,
    service_key_file,
    service_key_id,
    user_key_id,
)
from db.seed.token import TokenRequest, mint


@dataclass(frozen=True)
class Secrets:
    """A `secret_mount_path` with signing keys, and whatever else a function reads."""

    directory: Path

    @classmethod
    def make(cls, directory: Path, services: tuple[str, ...] = (), **files: str) -> Secrets:
        """Keys of users and of `services`; `files` are further secrets, with `_` for `-` in the name."""
        directory.mkdir(parents=True, exist_ok=True)
        user_key = ensure_private_key(directory / USER_KEY_FILE)[0]
        keys = {user_key_id(user_key): user_key}
        for service in services:
            keys[service_key_id(service)] = ensure_private_key(directory / service_key_file(service))[0]
        (directory / PUBLIC_KEYS_FILE).write_text(merge_jwks("", keys))
        for name, text in files.items():
            (directory / name.replace("_", "-")).write_text(text)
        return cls(directory)

    @property
    def user_kid(self) -> str:
        """The name of the key that signs users' tokens."""
        return user_key_id(load_private_key(self.directory / USER_KEY_FILE))

    @property
    def environ(self) -> dict[str, str]:
        return {"secret_mount_path": str(self.directory), "HOSTNAME": "test-1", "log_level": "WARNING"}

    def bearer(self, *roles: str, subject: str = "someone", store: str | None = None) -> dict[str, str]:
        """The Authorization header of a token with `roles`."""
        request = TokenRequest(roles, subject, store)
        return {"Authorization": f"Bearer {mint(request, self.directory, time.time())}"}


def problem(response: Any) -> tuple[int, str]:
    """Status and code of a refusal, after checking that it has the whole shape."""
    assert response.mimetype == "application/problem+json", response.data
    body = response.get_json()
    assert set(body) == {"type", "title", "status", "detail", "code", "errors", "request_id"}
    assert body["status"] == response.status_code
    assert body["request_id"] == response.headers["X-Request-Id"]
    return response.status_code, body["code"]


def faulty_fields(response: Any) -> list[str]:
    """The fields that a refusal names."""
    return [fault["field"] for fault in response.get_json()["errors"]]
