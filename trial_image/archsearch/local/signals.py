"""Signals that tell the runner to stop: noted here, obeyed by the loop between two steps."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import Any, Final

STOP: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Signals:
    """Notes signals while it is entered. received: the first that came, or None."""

    def __init__(self) -> None:
        self.received: int | None = None
        self._count = 0
        self._before: dict[signal.Signals, Any] = {}

    def again(self) -> bool:
        """Whether somebody is in a hurry: two signals came."""
        return self._count > 1

    def __enter__(self) -> Signals:
        for number in STOP:
            # Started with nohup it is to go on when the terminal is closed.
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the signature is Python's
        self.received = self.received or number
        self._count += 1
