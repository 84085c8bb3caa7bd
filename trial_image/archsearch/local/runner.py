"""The loop, as the operator's controller has it: read what is, ask `plan()` what is missing, do it. It decides nothing.

A trial's record is on the disk before its process starts, and its result before anything is planned with it, so that
the runner may die anywhere.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from archsearch.api.search import ArchitectureSearchSpec, ArchitectureSearchStatus
from archsearch.api.trial import Trial
from archsearch.local.folder import Folder, Lock
from archsearch.local.log import last_line
from archsearch.local.model import keep_model
from archsearch.local.outlet import Outlet
from archsearch.local.process import COMMAND
from archsearch.local.progress import Progress, Running
from archsearch.local.records import Records, write_document
from archsearch.local.session import Session, open_session
from archsearch.local.signals import Signals
from archsearch.local.volumes import parse_volumes
from archsearch.local.workers import BACKOFF, POLL, Workers
from archsearch.planning import History, OpenTrial, Outcome, Plan, Search, plan, trial_of
from archsearch.planning.propose import Replay, open_candidates

LOOK: Final = 1.0
"""Seconds between two looks at the curves of running trials."""
REDRAW: Final = 0.25


@dataclass
class Runner:
    """Runs one search to its end, or until it is told to stop. Used in the main thread: its processes die with it."""

    search: Search
    records: Records
    workers: Workers
    progress: Outlet
    signals: Signals
    history: History = field(init=False)
    _replay: Replay | None = None

    def __post_init__(self) -> None:
        self.history = History(self.search.spec, self.records.finished())

    def run(self) -> ArchitectureSearchStatus:
        """The status at the end: of the search, or of the run if it was told to stop."""
        try:
            while not self._stops():
                decided = self._look()
                if decided is None:
                    continue
                if not self.workers.processes and not self._waits():
                    break
                self._wait(decided.look_again)
        finally:
            self._leave()
        return self.search.status

    def _look(self) -> Plan | None:
        """Plan and do it; None if there is more to plan at once."""
        self.workers.poll()
        decided = self._plan()
        if decided.outcomes:
            self._record(decided.outcomes)
            return None
        if self._create(decided):
            return None
        self._change(decided)
        self.workers.stop(decided.stop, self.signals.again)
        before = len(self.workers.processes)
        for trial in decided.start:
            self.workers.start(self.records.trials[trial.name], self.history)
        self._publish(decided.status)
        # What was started or stopped has changed the status; what waits for a device has not.
        return None if decided.stop or len(self.workers.processes) != before else decided

    def _plan(self) -> Plan:
        opened = [OpenTrial(trial, self.workers.execution(trial)) for trial in self.records.open()]
        return plan(self.search, self.history, opened, self.workers.clock())

    def _record(self, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            trial = Trial(name=outcome.trial.name, spec=outcome.trial.spec, status=outcome.status)
            process = self.workers.processes.get(trial.name)
            ended = self.workers.clock().timestamp()
            self.records.write(trial, process.attempts.over(ended) if process else None)
            self.history.add(trial)
            self.workers.forget(trial.name)
            self.progress.ended(trial, self.search)

    def _create(self, decided: Plan) -> bool:
        wanted = list(decided.create)
        if decided.asks:
            self._replay = self._replay or Replay(self.search.spec, self.history.untrained)
            self._replay.tell(self.history.observed[self._replay.length :])
            pending = open_candidates([trial.spec for trial in self.records.open()], self.search.spec)
            answers = self._replay.ask(pending, decided.asks)
            wanted += [trial_of(ask, proposals, self.search, self.history) for ask, proposals in answers]
            if not answers and not pending and self.history.exhaust():
                return True
        for new in wanted:
            if new.name in self.records.trials:
                raise RuntimeError(f"{new.name} must be created once")
            self.records.write(Trial(name=new.name, spec=new.spec))
        return bool(wanted)

    def _change(self, decided: Plan) -> None:
        for change in decided.states:
            self.records.write(Trial(name=change.trial.name, spec=change.trial.spec, status=change.status))

    def _publish(self, status: ArchitectureSearchStatus) -> None:
        if status != self.search.status:
            write_document(self.workers.folder.result, status.wire())
            self.search = replace(self.search, status=status)
        self._show()

    def _show(self) -> None:
        now = self.workers.clock()
        running = [
            Running(process.trial, process.run_seconds(now), last_line(self.workers.folder.log(name)))
            for name, process in self.workers.processes.items()
        ]
        self.progress.show(self.search, running)

    def _waits(self) -> bool:
        """Whether something will happen although nothing runs: a trial that is started again in a moment."""
        return any(self.workers.execution(trial) is not None for trial in self.records.open())

    def _wait(self, look_again: float | None) -> None:
        """Until the plan may have changed."""
        start = time.monotonic()
        end = start + min(look_again or 3600.0, LOOK if self.search.spec.early_stopping else 3600.0)
        redraw = start + REDRAW
        while not self._stops() and time.monotonic() < end and not self.workers.poll():
            if time.monotonic() >= redraw:
                self._show()
                redraw = time.monotonic() + REDRAW
            time.sleep(POLL)

    def _stops(self) -> bool:
        """Whether somebody said so, or nobody is there any more."""
        return bool(self.signals.received or self.progress.lost)

    def _leave(self) -> None:
        """Stop what runs, and record what has come to a result on the way."""
        if not self.workers.processes:
            return
        self.progress.say(f"saving the place of {len(self.workers.processes)} trials; once more to kill them instead")
        self.workers.stop(list(self.workers.processes), self.signals.again)
        while (decided := self._plan()).outcomes:
            self._record(decided.outcomes)
        self._change(decided)
        self._publish(decided.status)


def run_search(
    name: str,
    spec: ArchitectureSearchSpec,
    out: Path,
    *,
    volumes: Sequence[str] = (),
    progress: Progress,
    command: Sequence[str] = COMMAND,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    backoff: float = BACKOFF,
) -> tuple[ArchitectureSearchStatus, int | None]:
    """Run a search in a folder, from wherever it stands. Returns its status, and the signal that ended it or None.

    command: the program that does the work, told of it as a container is.
    Raises CannotStart if nothing could be started, and OSError if a file cannot be written or progress cannot be told;
    then, too, the trials have been told to write their checkpoints.
    """
    given = parse_volumes(volumes)
    folder = Folder(out.absolute())
    outlet = Outlet(progress)
    with ExitStack() as stack:
        lock = Lock(folder, outlet.say)
        stack.callback(lock.release)
        session: Session = open_session(folder, name, spec, given, outlet.say)
        workers = Workers(
            session.search, folder, session.records, session.volumes, command, lock.inherited, clock, backoff
        )
        signals = stack.enter_context(Signals())
        stack.enter_context(outlet)
        outlet.began(session.search, folder, workers.devices, workers.room)
        runner = Runner(session.search, session.records, workers, outlet, signals)
        status = runner.run()
        if status.stage == "Done":
            shutil.rmtree(folder.scratch, ignore_errors=True)
            keep_model(runner.search, runner.history, folder, session.volumes, outlet.say)
    if outlet.lost is not None and not signals.received:
        raise outlet.lost
    return status, signals.received
