"""A client of the OpenFaaS gateway: the requests that faas-cli sends, for where faas-cli is not installed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import quote, urlsplit

import requests

from localfaas import __version__
from localfaas.deployment import NAMESPACE

API_SECONDS = 60
CONNECT_SECONDS = 5
Status = dict[str, Any]
"""OpenFaaS' FunctionStatus."""
Statuses = list[Status]
Names = list[str]
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}


class ClientError(RuntimeError):
    """A request did not succeed; the message is what a person should read. `status` is 0 when nobody answered."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class GatewayClient:
    """One gateway, as one user. Every method raises ClientError when it does not succeed."""

    def __init__(self, url: str, user: str, password: str) -> None:
        self.url = url.rstrip("/")
        self._credentials = (user, password)
        self._session = requests.Session()
        self._session.headers["User-Agent"] = f"localfaas/{__version__}"
        # A proxy for the outside world cannot reach this machine's loopback.
        self._session.trust_env = urlsplit(url).hostname not in _LOOPBACK

    def close(self) -> None:
        self._session.close()

    def deploy(self, body: Mapping[str, Any]) -> int:
        """Update a function, or create it where there is none; return the status, 200 or 202."""
        response = self._send("PUT", "/system/functions", body)
        if response.status_code == HTTPStatus.NOT_FOUND:
            response = self._send("POST", "/system/functions", body)
        # faas-cli takes no other success for one (201 makes it fail).
        return _checked(response, {HTTPStatus.OK, HTTPStatus.ACCEPTED}).status_code

    def remove(self, name: str) -> None:
        response = self._send("DELETE", "/system/functions", {"functionName": name})
        if response.status_code == HTTPStatus.NOT_FOUND:
            raise ClientError(f"no such function: {name}", response.status_code)
        _checked(response)

    def list(self) -> Statuses:
        """Every function's status, with invocation counts."""
        return cast("Statuses", _json(self._send("GET", "/system/functions")))

    def describe(self, name: str) -> Status:
        """One function's status; the gateway leaves out what is zero or empty."""
        response = self._send("GET", f"/system/function/{quote(name, safe='')}?usage=1")
        if response.status_code == HTTPStatus.NOT_FOUND:
            raise ClientError(f"no such function: {name}", response.status_code)
        return cast("Status", _json(response))

    def scale(self, name: str, replicas: int) -> None:
        body = {"serviceName": name, "replicas": replicas}
        response = self._send("POST", f"/system/scale-function/{quote(name, safe='')}", body)
        if response.status_code == HTTPStatus.NOT_FOUND:
            raise ClientError(f"no such function: {name}", response.status_code)
        _checked(response)

    def secrets(self) -> Names:
        """Names only: values never leave the gateway."""
        secrets = cast("list[dict[str, str]]", _json(self._send("GET", "/system/secrets")))
        return [secret["name"] for secret in secrets]

    def create_secret(self, name: str, value: str) -> None:
        response = self._send("POST", "/system/secrets", {"name": name, "value": value})
        if response.status_code == HTTPStatus.CONFLICT:
            raise ClientError(f"the secret {name} already exists", response.status_code)
        _checked(response)

    def update_secret(self, name: str, value: str) -> None:
        _checked(self._send("PUT", "/system/secrets", {"name": name, "value": value}))

    def remove_secret(self, name: str) -> None:
        _checked(self._send("DELETE", "/system/secrets", {"name": name}))

    def namespaces(self) -> Names:
        return cast("Names", _json(self._send("GET", "/system/namespaces")))

    def info(self) -> dict[str, Any]:
        return cast("dict[str, Any]", _json(self._send("GET", "/system/info")))

    def logs(
        self, name: str, *, follow: bool = False, tail: int = -1, since: datetime | None = None
    ) -> Iterator[dict[str, str]]:
        """Log messages (`name`, `namespace`, `instance`, `timestamp`, `text`) as they come.

        `tail` is the number of lines of each replica, -1 for all; `since` needs a time zone. With `follow` the
        stream goes on until the gateway ends it or the caller stops iterating.
        """
        query = {"name": name, "follow": str(follow).lower(), "tail": str(tail)}
        if since:
            query["since"] = since.isoformat()
        with self._send("GET", "/system/logs", query=query, stream=True, seconds=None) as response:
            _checked(response)
            for line in response.iter_lines():
                if line:
                    yield json.loads(line)

    def invoke(self, name: str, body: bytes) -> bytes:
        """POST to a function and return what it answers, however long it takes; without credentials."""
        response = self._request(
            lambda: self._session.post(
                f"{self.url}/function/{quote(name, safe='')}.{NAMESPACE}",
                data=body,
                headers={"Content-Type": "text/plain"},
                timeout=(CONNECT_SECONDS, None),
                allow_redirects=False,
            )
        )
        return _checked(response).content

    def _send(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        query: Mapping[str, str] | None = None,
        stream: bool = False,
        seconds: float | None = API_SECONDS,
    ) -> requests.Response:
        return self._request(
            lambda: self._session.request(
                method,
                self.url + path,
                params=query,
                json=body,
                auth=self._credentials,
                timeout=(CONNECT_SECONDS, seconds),
                stream=stream,
            )
        )

    def _request(self, send: Callable[[], requests.Response]) -> requests.Response:
        try:
            return send()
        except requests.Timeout as exc:
            raise ClientError(f"{self.url} does not answer in time") from exc
        except requests.RequestException as exc:
            raise ClientError(f"{self.url} cannot be reached; is the platform up? ({_reason(exc)})") from exc


def _checked(response: requests.Response, good: set[HTTPStatus] | None = None) -> requests.Response:
    if response.status_code in good if good else response.ok:
        return response
    if response.status_code == HTTPStatus.UNAUTHORIZED:
        raise ClientError("the gateway refuses the user or the password", response.status_code)
    text = " ".join(response.text.split()) or response.reason
    raise ClientError(f"{response.status_code} {text}", response.status_code)


def _json(response: requests.Response) -> object:
    try:
        value: object = _checked(response).json()
    except requests.JSONDecodeError as exc:
        raise ClientError(f"the answer from {response.url} is not JSON", response.status_code) from exc
    return value


def _reason(exc: requests.RequestException) -> str:
    """The innermost cause, without the layers of libraries around it."""
    cause: BaseException = exc
    while cause.__cause__ or cause.__context__:
        cause = cause.__cause__ or cause.__context__ or cause
    return str(cause) or type(cause).__name__
