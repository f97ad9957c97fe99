"""`python -m localfaas.traces --port 8095 --directory .local/traces`: serve until SIGTERM."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from pathlib import Path

from waitress.server import create_server

from localfaas.settings import LOOPBACK
from localfaas.traces.app import create_app
from localfaas.traces.otlp import LARGEST_BYTES
from localfaas.traces.store import MOST_BYTES, Store

THREADS = 4
MOST_CONNECTIONS = 1000
"""Each replica keeps one."""
TIDY_SECONDS = 15.0
NICENESS = 5
"""Whoever is watched goes first."""

log = logging.getLogger("localfaas.traces")


def main() -> None:
    options = _options()
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stdout
    )
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    os.nice(NICENESS)
    store = Store(options.directory / "spans.db", options.megabytes * 2**20)
    server = create_server(
        create_app(store),
        host=LOOPBACK,
        port=options.port,
        threads=THREADS,
        ident=None,
        connection_limit=MOST_CONNECTIONS,
        asyncore_use_poll=True,
        max_request_body_size=LARGEST_BYTES,
    )
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    threading.Thread(target=server.run, daemon=True).start()
    log.info("ready")
    while not stopped.wait(TIDY_SECONDS):
        if dropped := store.drop_old():
            log.info("%d old traces were dropped", dropped)
    store.close()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m localfaas.traces", description="Keep and show spans.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--directory", type=Path, required=True, help="where spans.db is")
    parser.add_argument(
        "--megabytes", type=int, default=MOST_BYTES // 2**20, help="keep no more (default: %(default)s)"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
