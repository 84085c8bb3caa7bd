"""SIGTERM: outside of training the process leaves at once, inside it is told to save its place first."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupted(BaseException):
    """Told to stop. Not an Exception, so that nothing which handles errors takes it for one."""


class Interruption:
    """Whether the process was told to stop.

    Every file is written under another name and then renamed, so leaving at once is safe anywhere: Interrupted is
    raised wherever the signal finds the main thread. Where there is a place to save, `deferred` makes it wait.
    Only the first signal raises: a second one would break into the way out that the first one has opened.
    """

    def __init__(self) -> None:
        self._requested = False
        self._deferred = False
        self._finished = False

    def install(self) -> None:
        """Listen to SIGTERM (a pod that is evicted or deleted) and SIGINT (a person)."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._handle)

    def requested(self) -> bool:
        """Whether the process was told to stop."""
        return self._requested

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Inside the block a signal only sets `requested`; whoever is inside must look."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False

    def finish(self) -> None:
        """The outcome is known: from here on a signal changes nothing, and only `requested` tells of it."""
        self._finished = True

    def _handle(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the signature is Python's
        first, self._requested = not self._requested, True
        if first and not (self._deferred or self._finished):
            raise Interrupted
