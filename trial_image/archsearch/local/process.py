"""One trial's process, and what is to be said of it as an Execution: what a Job and its pods are on a cluster."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal

from archsearch.api.trial import Trial
from archsearch.api.work import MAX_MESSAGE, WORK_VARIABLE, Work
from archsearch.local import leash
from archsearch.local.devices import VISIBLE, kills_for_memory
from archsearch.local.folder import Folder
from archsearch.local.log import tail
from archsearch.local.records import Attempts, write_document
from archsearch.planning import Execution

TERMINATION_VARIABLE: Final = "ARCHSEARCH_TERMINATION_PATH"
COMMAND: Final = (sys.executable, "-m", "archsearch.work")
KILLED: Final = 128 + signal.SIGKILL
NODE: Final = platform.node()[:253]


@dataclass
class Process:
    """A process at work on a trial. device: its accelerator, or None. attempts: this one included.

    over_time: it was stopped because it ran longer than a trial may.
    """

    trial: Trial
    folder: Folder
    popen: subprocess.Popen[bytes]
    started_at: datetime
    attempts: Attempts
    device: str | None = None
    over_time: bool = False
    ended_at: datetime | None = None
    memory_kills: int = field(default_factory=kills_for_memory)
    out_of_memory: bool = False

    def poll(self, now: datetime) -> bool:
        """Whether it has ended; notes when that was first seen."""
        if self.ended_at is None and self.popen.poll() is not None:
            self.ended_at = now
            self.out_of_memory = self.exit_code == KILLED and kills_for_memory() > self.memory_kills
        return self.ended_at is not None

    @property
    def exit_code(self) -> int | None:
        """As a container's: 128 and the signal's number where one killed it; None while it runs."""
        code = self.popen.returncode
        return code if code is None or code >= 0 else 128 - code

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to it and to whatever it has started."""
        if self.popen.poll() is None:
            with suppress(ProcessLookupError, PermissionError):
                # Its session is its own, so that Ctrl-C in a terminal reaches the runner alone.
                os.killpg(self.popen.pid, number)

    def run_seconds(self, now: datetime) -> float:
        """Run time of all attempts at the trial."""
        return self.attempts.seconds + max(0.0, ((self.ended_at or now) - self.started_at).total_seconds())

    def accelerator_seconds(self, now: datetime) -> float:
        """The same times the accelerators, of which a process has one or none."""
        return self.run_seconds(now) if self.device else 0.0

    def execution(self, now: datetime) -> Execution:
        """What is known of it."""
        ended: dict[str, Any] = {}
        if self.ended_at is not None:
            failure: Literal["OutOfMemory", "DeadlineExceeded"] | None = None
            if self.over_time:
                failure = "DeadlineExceeded"
            elif self.out_of_memory:
                failure = "OutOfMemory"
            message = _ending(self.exit_code)
            ended = {"exit_code": self.exit_code, "failure": failure, "message": message, "ended_at": self.ended_at}
            ended |= {"termination": self._termination(), "log": tail(self.folder.log(self.trial.name))}
            if self.exit_code is not None and self.exit_code >= 128:
                # It was killed: its last words, written before, are not why.
                ended["log"] = message
        return Execution(
            "Ended" if self.ended_at else "Running",
            created_at=self.started_at,
            started_at=self.started_at,
            node=NODE,
            preemptions=self.attempts.count - 1,
            accelerators=1.0 if self.device else 0.0,
            accelerator_seconds=self.accelerator_seconds(now),
            until=now,
            **ended,
        )

    def _termination(self) -> str:
        path = self.folder.message(self.trial.name)
        try:
            with path.open("rb") as stream:
                # One byte more than there may be: that a message is too long must be seen.
                return stream.read(MAX_MESSAGE + 1).decode(errors="replace")
        except OSError:
            return ""


def start(
    trial: Trial,
    work: Work,
    folder: Folder,
    *,
    command: Sequence[str],
    environment: Mapping[str, str],
    lock: int,
    device: str | None,
    attempts: Attempts,
    now: datetime,
) -> Process:
    """Start a trial's process. It must be called in the main thread: the process dies with the thread."""
    message, log = folder.message(trial.name), folder.log(trial.name)
    write_document(folder.work(trial.name), work.wire())
    message.unlink(missing_ok=True)
    log.parent.mkdir(parents=True, exist_ok=True)
    folder.scratch.mkdir(parents=True, exist_ok=True)
    variables = dict(environment) | {
        WORK_VARIABLE: work.model_dump_json(by_alias=True, exclude_none=True),
        TERMINATION_VARIABLE: str(message),
        "PYTHONUNBUFFERED": "1",
    }
    if device is not None:
        variables[VISIBLE] = device
    with log.open("ab") as output:
        popen = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(leash.__file__)), str(os.getpid()), *command],
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=variables,
            pass_fds=(lock,), start_new_session=True,
        )  # fmt: skip
    return Process(trial, folder, popen, now, attempts, device)


def _ending(code: int | None) -> str:
    if code is None or code < 128:
        return ""
    try:
        name = signal.Signals(code - 128).name
    except ValueError:
        return ""
    return f"the process was killed by {name}"
