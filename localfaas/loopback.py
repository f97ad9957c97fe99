"""Requests to this machine, which no proxy for the outside world can reach."""

from __future__ import annotations

import requests


def session() -> requests.Session:
    """One that goes past the proxies of the environment."""
    made = requests.Session()
    made.trust_env = False
    return made
