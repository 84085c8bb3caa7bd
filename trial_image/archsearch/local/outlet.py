"""Progress whose output may go away: a closed terminal or pipe ends a run in order, and not in the middle of a step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType

from archsearch.api.trial import Trial
from archsearch.local.folder import Folder
from archsearch.local.progress import Progress, Running
from archsearch.planning import Search


class Outlet:
    """Passes everything on until that fails, and nothing afterwards. lost: why it failed, or None.

    Whoever writes goes on: the trials still have to be told to write their checkpoints.
    """

    def __init__(self, progress: Progress) -> None:
        self.lost: OSError | None = None
        self._progress = progress

    def __enter__(self) -> Outlet:
        with self._guarded():
            self._progress.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Also where the output is gone: what was done to the terminal has to be undone as far as it goes.
        with self._guarded():
            self._progress.__exit__(kind, error, trace)

    def say(self, text: str) -> None:
        """See Progress."""
        if self.lost is None:
            with self._guarded():
                self._progress.say(text)

    def began(self, search: Search, folder: Folder, devices: Sequence[str], room: int) -> None:
        """See Progress."""
        if self.lost is None:
            with self._guarded():
                self._progress.began(search, folder, devices, room)

    def ended(self, trial: Trial, search: Search) -> None:
        """See Progress."""
        if self.lost is None:
            with self._guarded():
                self._progress.ended(trial, search)

    def show(self, search: Search, running: Sequence[Running]) -> None:
        """See Progress."""
        if self.lost is None:
            with self._guarded():
                self._progress.show(search, running)

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.lost = self.lost or error
