"""waitress in a thread of a test, and its end without a race."""

from __future__ import annotations

import threading
from typing import Any


class Served:
    """A server of waitress' that runs until it is stopped."""

    def __init__(self, server: Any) -> None:
        self.server = server
        self._thread = threading.Thread(target=self.server.run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Close the socket and every connection, as the end of a process does.

        In the server's own thread: closed from another, they may be those that it is about to wait for.
        """
        self.server.trigger.pull_trigger(self._close)
        self._thread.join(5)
        self.server.task_dispatcher.shutdown(timeout=2)

    def _close(self) -> None:
        self.server.close()
        for channel in list(self.server.active_channels.values()):
            channel.handle_close()
