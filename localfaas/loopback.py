"""Requests to this machine, which no proxy for the outside world can reach, and the names that it has for itself."""

from __future__ import annotations

import requests

from localfaas.settings import LOOPBACK

HOSTS = ["localhost", LOOPBACK]
"""Any other name that leads here is somebody's trick to have a browser read what listens here (DNS rebinding)."""


def session() -> requests.Session:
    """One that goes past the proxies of the environment."""
    made = requests.Session()
    made.trust_env = False
    return made
