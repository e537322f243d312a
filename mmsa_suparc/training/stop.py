"""Asking a training to stop: once, to finish the step; twice, to quit at once."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Iterator

from mmsa_suparc.errors import StoppedError

SIGNALS = (signal.SIGINT, signal.SIGTERM)
#: Seconds within which SIGTERM said again is the same request: a cluster sends it to every process
#: of a job, and the process that started this one passes it on.
SAID_AGAIN = 5.0


class Stop:
    """Remembers a signal until the training loop asks for it.

    A trainer that polls :meth:`was_asked` finishes its step. One that does not (the toolkit's)
    and everything outside a training loop is interrupted where it is.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._asked_at = float("-inf")
        self._polled = False

    def was_asked(self) -> bool:
        """Whether to stop now; calling it says that one will call it again after the next step."""
        self._polled = True
        return self.signal is not None

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Within this block SIGINT and SIGTERM are requests to stop."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._handle) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _handle(self, number: int, frame: object) -> None:
        now, first = time.monotonic(), self.signal is None
        if number == signal.SIGTERM and now - self._asked_at < SAID_AGAIN:
            return
        self.signal, self._asked_at = number, now
        if not (first and self._polled):
            raise stopped("interrupted", number)
        print("stopping after this step; once more to quit at once", file=sys.stderr, flush=True)


def stopped(message: str, number: int) -> StoppedError:
    """The error for a signal: exit status 128 + its number."""
    error = StoppedError(message)
    error.status = 128 + number
    return error
