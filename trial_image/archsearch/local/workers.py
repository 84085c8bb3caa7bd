"""The processes that are at work: starts as many as there is room for, watches them, and stops them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from archsearch.api.trial import Trial
from archsearch.api.work import EXIT_INFEASIBLE, EXIT_INTERRUPTED, EXIT_RESULT, EXIT_USER_ERROR, InvalidMessage, decode
from archsearch.local.devices import accelerators, cores
from archsearch.local.folder import Folder
from archsearch.local.log import Curve
from archsearch.local.process import NODE, Process, start
from archsearch.local.records import Attempts, Records
from archsearch.planning import Execution, History, Search
from archsearch.planning.order import data_claim, paths_of, table_claim, work_of
from archsearch.planning.outcome import timestamp
from archsearch.planning.pipeline import learned_objective

GRACE: Final = 60.0
"""Seconds that a process has to write its checkpoint, as a pod has."""
BACKOFF: Final = 1.0
"""Seconds before a trial that was interrupted starts again; doubled each time, as Kubernetes does with pods."""
LONGEST_BACKOFF: Final = 360.0
ALONE: Final = frozenset({"Profile", "Table"})
"""Kinds of work that measure: nothing else may run beside them."""
POLL: Final = 0.05


@dataclass
class Workers:
    """The processes of one search. lock: a descriptor that they inherit; environment: theirs, without what we add."""

    search: Search
    folder: Folder
    records: Records
    volumes: Mapping[str, Path]
    command: Sequence[str]
    lock: int
    clock: Callable[[], datetime]
    backoff: float = BACKOFF
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    devices: tuple[str, ...] = field(init=False)
    processes: dict[str, Process] = field(default_factory=dict)
    _waiting: dict[str, float] = field(default_factory=dict)
    _curves: dict[str, Curve] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.devices = accelerators(self.environment)

    @property
    def room(self) -> int:
        """Processes at once: one for each accelerator, where there are any."""
        parallel = self.search.spec.budget.parallel_trials
        return min(parallel, len(self.devices)) if self.devices else parallel

    def start(self, trial: Trial, history: History) -> None:
        """Start a trial, unless it has to wait for a device or for silence; then the next plan asks again."""
        taken = {process.device for process in self.processes.values()}
        free = [device for device in self.devices if device not in taken]
        if self.devices and not free:
            return
        # All profiles are this machine: two measurements at once would measure each other.
        works = {trial.spec.work, *(process.trial.spec.work for process in self.processes.values())}
        if self.processes and works & ALONE:
            return
        now = self.clock()
        attempts = self.records.attempts.get(trial.name, Attempts()).begun(now.timestamp())
        # First the record: an attempt that nobody knows of would not be told from a result that was lost.
        self.records.write(trial, attempts)
        data, artifacts, table = data_claim(self.search), self.search.spec.artifacts, table_claim(self.search)
        paths = paths_of(
            self.search,
            str(self.volumes[data]) if data else "",
            str(self.volumes[artifacts.claim_name]) if artifacts else "",
            str(self.volumes[table]) if table else "",
        ).model_copy(update={"scratch": str(self.folder.scratch.absolute())})
        work = work_of(self.search, trial, paths, history).model_copy(
            update={"metrics_port": 0, "scrape_timeout_seconds": 0}
        )
        threads = cores() if trial.spec.work in ALONE else max(1, cores() // self.room)
        self.processes[trial.name] = start(
            trial, work, self.folder, command=self.command, lock=self.lock, attempts=attempts, now=now,
            environment={"OMP_WAIT_POLICY": "PASSIVE"} | dict(self.environment) | {"OMP_NUM_THREADS": str(threads)},
            device=free[0] if free else None,
        )  # fmt: skip

    def execution(self, trial: Trial) -> Execution | None:
        """What is known of a trial's process; None where it has none and may be given one."""
        now = self.clock()
        if (process := self.processes.get(trial.name)) is not None:
            execution = process.execution(now)
            if self.search.spec.early_stopping is None or trial.spec.work != "Train":
                return execution
            metric = learned_objective(self.search.spec).metric
            curve = self._curves.setdefault(trial.name, Curve(self.folder.log(trial.name), metric))
            return replace(execution, curve=curve.points())
        if (result := self._left_behind(trial)) is not None:
            return result
        if (until := self._waiting.get(trial.name)) is not None:
            if time.monotonic() < until:
                return Execution("Pending", "Interrupted", "it was told to stop, and is started again in a moment")
            del self._waiting[trial.name]
        return None

    def _left_behind(self, trial: Trial) -> Execution | None:
        """The result of a process that wrote it and was then ended, or whose runner was, before it was seen.

        The message is a process's last act and is removed before each start, and its checkpoints are gone by then: to
        do the work again would be to do all of it again.
        """
        attempts = self.records.attempts.get(trial.name, Attempts())
        path = self.folder.message(trial.name)
        if not attempts.count:
            return None
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
            if decode(text).error is not None:
                return None
            ended_at = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        except (OSError, InvalidMessage):
            return None
        return Execution(
            "Ended", exit_code=EXIT_RESULT, termination=text, ended_at=ended_at, node=NODE,
            preemptions=attempts.count - 1, accelerator_seconds=attempts.seconds if self.devices else 0.0,
            until=ended_at,
        )  # fmt: skip

    def poll(self) -> bool:
        """Look at all processes; returns whether the plan may have changed. Stops those that run too long."""
        now = self.clock()
        limit = self.search.spec.trial.active_deadline_seconds
        changed = any(time.monotonic() >= until for until in self._waiting.values())
        for process in list(self.processes.values()):
            if process.poll(now):
                changed = True
                if process.exit_code == EXIT_INTERRUPTED and not process.over_time:
                    self._interrupted(process)
            elif not process.over_time and process.run_seconds(now) > limit:
                process.over_time = True
                process.signal(signal.SIGKILL)
        return changed

    def forget(self, name: str) -> None:
        """The trial's result is recorded, and whatever still runs of it is of no use."""
        if (process := self.processes.pop(name, None)) is not None:
            process.signal(signal.SIGKILL)
            process.popen.wait()
        self._curves.pop(name, None)

    def stop(self, names: Sequence[str], hurry: Callable[[], bool] = lambda: False) -> None:
        """Let processes write their checkpoints and end. Those that do not within a minute, or in a hurry, are killed.

        What has come to a result all the same is left to be recorded.
        """
        leaving = [process for name in names if (process := self.processes.get(name)) is not None]
        for process in leaving:
            process.signal(signal.SIGTERM)
        end = time.monotonic() + GRACE
        while any(not process.poll(self.clock()) for process in leaving):
            if time.monotonic() > end or hurry():
                for process in leaving:
                    process.signal(signal.SIGKILL)
                    process.popen.wait()
            time.sleep(POLL)
        for process in leaving:
            if process.exit_code not in CONTRACT:
                self._over(process)
        self._waiting = {name: until for name, until in self._waiting.items() if name not in names}

    def _interrupted(self, process: Process) -> None:
        """It wrote its checkpoint because somebody told it to: it goes on, and that is no failure."""
        self._over(process)
        wait = min(LONGEST_BACKOFF, self.backoff * 2 ** min(process.attempts.count - 1, 20))
        self._waiting[process.trial.name] = time.monotonic() + wait

    def _over(self, process: Process) -> None:
        name = process.trial.name
        self.processes.pop(name, None)
        trial, ended = self.records.trials[name], process.ended_at or self.clock()
        # What it has used stays used, whether or not it is started again.
        used = {"accelerator_seconds": process.accelerator_seconds(ended)}
        status = trial.status.model_copy(update=used | {"accelerator_seconds_until": timestamp(ended)})
        self.records.write(trial.model_copy(update={"status": status}), process.attempts.over(ended.timestamp()))


CONTRACT: Final = (EXIT_RESULT, EXIT_USER_ERROR, EXIT_INFEASIBLE)
"""Exit codes that mean what they say, also of a process that was told to stop."""
