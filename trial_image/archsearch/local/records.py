"""Records on disk: one file a trial, written whole or not at all, and read with suspicion."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from archsearch.api.base import API_VERSION
from archsearch.api.trial import TRIAL_KIND, ArchitectureTrialSpec, ArchitectureTrialStatus, Trial
from archsearch.api.work import explain
from archsearch.local.folder import Folder
from archsearch.planning import Search
from archsearch.spaces import Space, space_of
from archsearch.work.files import write_whole

Document = dict[str, Any]
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Attempts:
    """The processes that have worked on a trial. count: started so far; seconds: run time of those that are over;
    started_at: when the one that is not over started, in seconds since 1970."""

    count: int = 0
    seconds: float = 0.0
    started_at: float | None = None

    def begun(self, now: float) -> Attempts:
        """One more was started."""
        return Attempts(self.count + 1, self.seconds, now)

    def over(self, ended_at: float) -> Attempts:
        """The last one has ended."""
        if self.started_at is None:
            return self
        return Attempts(self.count, self.seconds + max(0.0, ended_at - self.started_at))


@dataclass
class Records:
    """The trials of one search, in memory and on disk."""

    folder: Folder
    trials: dict[str, Trial] = field(default_factory=dict)
    attempts: dict[str, Attempts] = field(default_factory=dict)

    def write(self, trial: Trial, attempts: Attempts | None = None) -> None:
        """Keep a trial. When this returns it is on the disk."""
        attempts = attempts or self.attempts.get(trial.name, Attempts())
        document = {
            "apiVersion": API_VERSION,
            "kind": TRIAL_KIND,
            "metadata": {"name": trial.name},
            "spec": trial.spec.wire(),
            "status": trial.status.wire(),
            "attempts": {"count": attempts.count, "seconds": attempts.seconds, "startedAt": attempts.started_at},
        }
        write_document(self.folder.trials / f"{trial.name}.json", document)
        self.trials[trial.name], self.attempts[trial.name] = trial, attempts

    def open(self) -> list[Trial]:
        """The trials without a result."""
        return [trial for trial in self.trials.values() if not trial.finished]

    def finished(self) -> list[Trial]:
        """The trials with a result."""
        return [trial for trial in self.trials.values() if trial.finished]


def read_records(folder: Folder, search: Search, tell: Tell) -> Records:
    """All records of the search. One that cannot be used is set aside and told of; what it was is restored elsewhere.

    A process that a record says is running died with its runner: its attempt is over.
    """
    assert search.spec.space is not None  # noqa: S101 - the spec is resolved
    space = space_of(search.spec.space)
    records = Records(folder)
    for torn in folder.trials.glob(".*"):
        torn.unlink(missing_ok=True)
    for path in sorted(folder.trials.glob("*.json")):
        try:
            trial, attempts = _read(path, search, space)
        except (OSError, ValueError) as error:
            set_aside(path, str(error), tell)
            continue
        log = folder.log(trial.name)
        if attempts.started_at is not None and not trial.finished:
            attempts = attempts.over(log.stat().st_mtime if log.exists() else attempts.started_at)
        records.trials[trial.name], records.attempts[trial.name] = trial, attempts
    return records


def _read(path: Path, search: Search, space: Space) -> tuple[Trial, Attempts]:
    """Raises ValueError with what is wrong, in words."""
    document = read_document(path)
    try:
        trial = Trial(
            name=path.stem,
            spec=ArchitectureTrialSpec.model_validate(document.get("spec")),
            status=ArchitectureTrialStatus.model_validate(document.get("status")),
        )
        attempts = _attempts(document.get("attempts"))
    except ValidationError as error:
        raise ValueError(explain(error)) from None
    if (name := search.trial_name(trial.spec.work, trial.spec.index)) != trial.name:
        raise ValueError(f"its trial is called {name}")
    result = trial.status.result
    for architecture in (trial.spec.architecture, result.architecture if result else None):
        if architecture is not None:
            space.architecture(architecture)
    if trial.spec.work == "Train" and trial.spec.architecture is None:
        raise ValueError("it has no architecture")
    if trial.finished and trial.status.sequence is None:
        raise ValueError("its result has no sequence")
    if trial.status.state == "Succeeded" and result is None:
        raise ValueError("it succeeded without a result")
    return trial, attempts


def _attempts(document: Any) -> Attempts:
    try:
        started_at = document["startedAt"]
        return Attempts(
            int(document["count"]), float(document["seconds"]), None if started_at is None else float(started_at)
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"its attempts cannot be read ({error!r})") from None


def renumbered(records: Records) -> list[Trial]:
    """Finished trials whose sequence is not the one that it must be, with the right one: 0, 1, 2 and so on."""
    ordered = sorted(records.finished(), key=lambda trial: (trial.status.sequence or 0, trial.spec.index, trial.name))
    return [
        trial.model_copy(update={"status": trial.status.model_copy(update={"sequence": position})})
        for position, trial in enumerate(ordered)
        if trial.status.sequence != position
    ]


def with_status(search: Search, tell: Tell, path: Path) -> Search:
    """The search with the status that was written last, where one can be read."""
    from archsearch.api.search import ArchitectureSearchStatus

    if not path.exists():
        return search
    try:
        status = ArchitectureSearchStatus.model_validate(read_document(path))
    except (OSError, ValueError) as error:
        set_aside(path, str(error), tell)
        return search
    return replace(search, status=status)


def write_document(path: Path, document: Mapping[str, Any]) -> None:
    """Write JSON, whole or not at all; on the disk when this returns."""
    try:
        write_whole(path, (json.dumps(document, indent=2) + "\n").encode())
    except OSError as error:
        # A full disk does not say of which file.
        raise OSError(error.errno, error.strerror, str(path)) from error


def read_document(path: Path) -> Document:
    """The JSON object in a file. Raises ValueError, OSError."""
    try:
        document = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is not JSON ({error})") from None
    if not isinstance(document, dict):
        raise ValueError("it is not a JSON object")
    return document


def set_aside(path: Path, why: str, tell: Tell) -> None:
    """Rename a file that cannot be used, so that nobody's data are lost."""
    number = 1
    while (aside := path.with_name(f"{path.name}.bad-{number}")).exists():
        number += 1
    path.replace(aside)
    tell(f"{path} cannot be used and is kept as {aside.name}: {why.splitlines()[0] if why else 'it is broken'}")
