"""A WSGI application that answers everything with the body in `FLOOR_BODY` (base64): the bare server."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from typing import Any

_BODY = base64.b64decode(os.environ.get("FLOOR_BODY", ""))
_HEADERS = [("Content-Type", "application/json"), ("Content-Length", str(len(_BODY)))]


def application(_environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    start_response("200 OK", _HEADERS)
    return [_BODY]
