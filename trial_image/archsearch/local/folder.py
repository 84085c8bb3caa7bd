"""The folder of a search, `--out`: where everything lies, and who may write there."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from archsearch.local.errors import CannotStart

PATIENCE: Final = 60.0
"""Seconds to wait for processes that a killed runner left behind; on Linux they die with it."""


@dataclass(frozen=True)
class Folder:
    """The places in the folder of a search."""

    root: Path

    @property
    def search(self) -> Path:
        """What the folder is of: name, uid, spec and volumes of the search."""
        return self.root / "search.json"

    @property
    def result(self) -> Path:
        """The status, as the operator would write it."""
        return self.root / "result.json"

    @property
    def trials(self) -> Path:
        """A record for each trial."""
        return self.root / "trials"

    @property
    def artifacts(self) -> Path:
        """Stands for the claim of the artifacts where no other folder does."""
        return self.root / "artifacts"

    @property
    def scratch(self) -> Path:
        """Files of trials that nobody needs once the search has ended."""
        return self.root / "scratch"

    def log(self, trial: str) -> Path:
        """What a trial printed, over all its attempts."""
        return self.root / "logs" / f"{trial}.log"

    def work(self, trial: str) -> Path:
        """The document that a trial is given; its record can be restored from it."""
        return self.root / "work" / f"{trial}.json"

    def message(self, trial: str) -> Path:
        """The trial's termination message."""
        return self.root / "work" / f"{trial}.message"


class Lock:
    """Holds a folder for one runner, and knows whether processes of an earlier one are still at work.

    There are two locks. The runner's own ends with it. The other is shared with the runner's subprocesses, which
    inherit it: it is free when the last of them is gone, whatever became of their runner.
    Raises CannotStart if another runner has the folder.
    """

    def __init__(self, folder: Folder, tell: Callable[[str], None], patience: float = PATIENCE) -> None:
        try:
            folder.root.mkdir(parents=True, exist_ok=True)
            self._runner = (folder.root / ".runner.lock").open("a+")
            self._workers = (folder.root / ".workers.lock").open("a+")
        except OSError as error:
            raise CannotStart(f"{folder.root} cannot be written: {error.strerror}") from None
        if not _lock(self._runner, fcntl.LOCK_EX):
            self._runner.seek(0)
            who = self._runner.read(20).strip() or "unknown"
            self.release()
            raise CannotStart(
                f"{folder.root} is in use by another archsearch run (process {who}): wait for it, or use another --out"
            )
        self._runner.truncate(0)
        self._runner.write(f"{os.getpid()}\n")
        self._runner.flush()
        end = time.monotonic() + patience
        told = False
        while not _lock(self._workers, fcntl.LOCK_EX):
            if time.monotonic() > end:
                self.release()
                raise CannotStart(f"processes of an earlier run still work in {folder.root}: end them, and start again")
            if not told:
                tell("waiting for the processes of an earlier run to end")
                told = True
            time.sleep(0.05)
        _lock(self._workers, fcntl.LOCK_SH)

    @property
    def inherited(self) -> int:
        """The descriptor that every subprocess must keep open."""
        return self._workers.fileno()

    def release(self) -> None:
        """Let go of the folder."""
        self._workers.close()
        self._runner.close()


def _lock(stream: IO[str], kind: int) -> bool:
    try:
        fcntl.flock(stream, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
