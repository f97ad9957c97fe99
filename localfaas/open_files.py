"""How many files a process may open: Envoy needs two for each connection."""

from __future__ import annotations

import resource

MOST_FILES = 65_536


def most_open_files() -> int:
    """What `allow_open_files` gives to processes started after it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)


def allow_open_files() -> None:
    """Raise the limit of this process, and so of all that it starts, as far as the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < most_open_files():
        resource.setrlimit(resource.RLIMIT_NOFILE, (most_open_files(), hard))
