"""JSON as the Admin API answers it."""

from __future__ import annotations

import json
from typing import Any

from flask import Response


def answer(body: Any, status: int) -> Response:
    text = json.dumps(body, separators=(",", ":"))
    return Response(text, status=status, content_type="application/json; charset=utf-8")
