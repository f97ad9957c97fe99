"""Calls to other functions: through the gateway, within the deadline, under the same request id and trace.

    response = current().client.get("products", "/prices", params={"sku": ["85123A"]})

Only what may be repeated is repeated: GET, HEAD, PUT, DELETE, and any call with an Idempotency-Key.
No answer is trusted to be small or to end: one may belong to another company (functions/payments).
"""

from __future__ import annotations

import logging
import math
import queue
import random
import time
from collections.abc import Callable, Mapping
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import quote

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError, ReadTimeoutError

from . import metrics, tracing
from .errors import Unavailable, UpstreamTimeout
from .telemetry import Trace, current_trace

IDEMPOTENT_METHODS = frozenset({"GET", "HEAD", "PUT", "DELETE"})
PASSING_STATUSES = frozenset({429, 502, 503, 504})
"""Answers that may well be different a moment later."""
ATTEMPTS = 3
FIRST_PAUSE_SECONDS = 0.05
CONNECT_TIMEOUT_SECONDS = 1.0
LEAST_USEFUL_SECONDS = 0.02
RESERVE_SECONDS = 0.25
"""Kept back from the deadline, so that there is time to answer after a call that used all of it."""
LARGEST_ANSWER_BYTES = 4 * 1024 * 1024
"""As large as the largest body that a function takes; none of ours answers half of that."""
PIECE_BYTES = 64 * 1024

_log = logging.getLogger("magasin")


class ServiceClient:
    """Calls functions through the gateway at `gateway_url`; `token` gives the bearer token of each call.

    Without `token` calls are anonymous, for a function that may do no more than a visitor.
    """

    def __init__(
        self, gateway_url: str, token: Callable[[], str] | None, default_budget_seconds: float = 10.0
    ) -> None:
        self._gateway_url = gateway_url.rstrip("/")
        self._token = token
        self._default_budget_seconds = default_budget_seconds
        self._idle: queue.LifoQueue[requests.Session] = queue.LifoQueue()

    def get(
        self,
        function: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        timeout_seconds: float = math.inf,
    ) -> requests.Response:
        """GET `path` of `function`; see `call`."""
        return self.call("GET", function, path, params=params, timeout_seconds=timeout_seconds)

    def call(
        self,
        method: str,
        function: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        idempotency_key: str | None = None,
        timeout_seconds: float = math.inf,
    ) -> requests.Response:
        """The answer of `function`, whatever its status below 500 (and 500 itself); a redirect is not followed.

        The call and its repetitions together take no longer than `timeout_seconds`, nor than the request's deadline
        allows. Raises UpstreamTimeout (504) when that time passes first, Unavailable (503) when the function
        cannot be reached, says so itself or answers more than LARGEST_ANSWER_BYTES, after what may be repeated was
        repeated.
        """
        url = f"{self._gateway_url}/function/{quote(function)}{path}"
        trace = current_trace()
        give_up_at = self._give_up_at(trace, timeout_seconds)
        repeatable = method in IDEMPOTENT_METHODS or idempotency_key is not None
        headers = self._headers(trace, idempotency_key)
        for left in reversed(range(ATTEMPTS if repeatable else 1)):
            response = self._attempt(function, method, url, headers, give_up_at, params=params, json=json)
            if response is not None and response.status_code not in PASSING_STATUSES:
                return response
            if left:
                _pause(ATTEMPTS - left, give_up_at)
                metrics.CALL_RETRIES.labels(function).inc()
        raise Unavailable(
            f"{function} cannot be reached right now; try again shortly.", code="upstream_unavailable"
        )

    def _give_up_at(self, trace: Trace | None, timeout_seconds: float) -> float:
        """When, on the monotonic clock, a call that begins now has to be over."""
        now = time.monotonic()
        deadline = trace.deadline if trace else now + self._default_budget_seconds
        return min(deadline - RESERVE_SECONDS, now + timeout_seconds)

    def idle_sessions(self) -> int:
        """How many sessions wait to be used again."""
        return self._idle.qsize()

    def close(self) -> None:
        """Close the connections that are idle."""
        while self.idle_sessions():
            self._idle.get_nowait().close()

    def _attempt(
        self,
        function: str,
        method: str,
        url: str,
        headers: Mapping[str, str],
        give_up_at: float,
        **content: Any,
    ) -> requests.Response | None:
        """One try; None when the connection failed, or what came through it is of no use."""
        seconds = give_up_at - time.monotonic()
        if seconds < LEAST_USEFUL_SECONDS:
            raise UpstreamTimeout
        headers = {**headers, "X-Timeout": f"{int(seconds * 1000)}ms"}
        trace = current_trace()
        span = tracing.begin_call(trace, function, method)
        if span:
            headers["traceparent"] = tracing.traceparent_of(span)
        session = self._session()
        started, status = time.perf_counter(), "none"
        try:
            response = session.request(
                method, url, headers=headers, timeout=(min(CONNECT_TIMEOUT_SECONDS, seconds), seconds),
                allow_redirects=False, stream=True, **content,
            )  # fmt: skip
            _read(response, give_up_at)
        except (requests.ReadTimeout, ReadTimeoutError) as error:
            raise UpstreamTimeout from error
        except (requests.RequestException, HTTPError, _TooLarge):
            return None
        else:
            status = str(response.status_code)
            return response
        finally:
            metrics.CALL_SECONDS.observe((function, method, status), time.perf_counter() - started)
            self._idle.put(session)
            tracing.end_call(trace, span, status)

    def _headers(self, trace: Trace | None, idempotency_key: str | None) -> dict[str, str]:
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token()}"
        if trace:
            headers |= {"X-Request-Id": trace.request_id, "traceparent": trace.traceparent()}
            if trace.tracestate:
                headers["tracestate"] = trace.tracestate
        if idempotency_key:
            headers["Idempotency-Key"] = idempotency_key
        return headers

    def _session(self) -> requests.Session:
        """An idle session, or a new one: never two threads on one, and as few as calls at once."""
        try:
            return self._idle.get_nowait()
        except queue.Empty:
            session = requests.Session()
            session.trust_env = False
            session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
            session.mount("http://", HTTPAdapter(pool_connections=1, pool_maxsize=1))
            return session


class _TooLarge(Exception):
    """An answer has more than LARGEST_ANSWER_BYTES."""


def _read(response: requests.Response, give_up_at: float) -> None:
    """Have the whole body in `response`, as UTF-8, which needs no guessing.

    Raises UpstreamTimeout or _TooLarge, and then the connection is closed.
    """
    try:
        response._content = _body(response, give_up_at)
    except BaseException:
        response.close()
        raise
    response.encoding = "utf-8"


def _body(response: requests.Response, give_up_at: float) -> bytes:
    """All of it, piece by piece as it trickles in: the timeout of a socket begins anew with each byte."""
    body = bytearray()
    while piece := response.raw.read1(PIECE_BYTES, decode_content=True):
        body += piece
        if len(body) > LARGEST_ANSWER_BYTES:
            _log.error("%s answered more than %s bytes", response.url, LARGEST_ANSWER_BYTES)
            raise _TooLarge
        if time.monotonic() > give_up_at:
            raise UpstreamTimeout
    return bytes(body)


def _pause(attempt: int, give_up_at: float) -> None:
    """Wait a little longer each time, at random so that callers do not come back together."""
    pause = random.uniform(0.5, 1.0) * FIRST_PAUSE_SECONDS * 2**attempt  # noqa: S311 - not a secret
    if time.monotonic() + pause >= give_up_at:
        raise UpstreamTimeout
    time.sleep(pause)
