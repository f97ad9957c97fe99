"""The one error that monitoring parts share."""

from __future__ import annotations

from localfaas.supervisor import Program


class RefusedError(RuntimeError):
    """A file that a part works by is faulty; the message names the file and each fault.

    `last_good` is the part as it was before, where there is such a thing: it runs on, or is started, with that.
    """

    def __init__(self, message: str, last_good: Program | None = None) -> None:
        super().__init__(message)
        self.last_good = last_good
