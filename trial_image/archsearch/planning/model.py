"""What the plan is made from and what it says. Neither a cluster nor a process is named: both can be planned."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal

from archsearch.api.search import ArchitectureSearchSpec, ArchitectureSearchStatus
from archsearch.api.status import DefaultChoice
from archsearch.api.trial import (
    SEARCH_KINDS,
    ArchitectureTrialSpec,
    ArchitectureTrialStatus,
    CurvePoint,
    MetricsReading,
    Trial,
)

Phase = Literal["Queued", "Pending", "Running", "Ended"]

IMAGE_REASONS: Final = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"})
"""Reasons of a pending container whose image is not there."""
NO_POD: Final = "NoPod"
"""Reason of a Job that has no pod yet: for a moment always, for ever where a quota or a webhook refuses its pods."""
BLOCKED_REASONS: Final = IMAGE_REASONS | {
    "Unschedulable", "CreateContainerConfigError", "CreateContainerError", NO_POD,
}  # fmt: skip
"""Reasons for which a pending container does not start by itself."""
BLOCKED_PATIENCE: Final = timedelta(seconds=15)
STOPPING: Final = "Stopping"
"""Reason of a trial whose Job, or pods, are on their way out: another one must not run beside them."""


@dataclass(frozen=True)
class Search:
    """A search as it was read. spec: with every default filled in, defaults: why (`planning.defaults`)."""

    namespace: str
    name: str
    uid: str
    generation: int
    spec: ArchitectureSearchSpec
    status: ArchitectureSearchStatus = field(default_factory=ArchitectureSearchStatus)
    operator_version: str = ""
    defaults: tuple[DefaultChoice, ...] = ()

    def trial_name(self, work: str, index: int) -> str:
        """The name of a trial: the same for the same piece of work, and another one for another search's."""
        stem = f"{self.name}-{self.uid[:5]}"
        return f"{stem}-{index}" if work in SEARCH_KINDS else f"{stem}-{work.lower()}-{index}"


@dataclass(frozen=True)
class Execution:
    """What is known of the Job, or the process, that does a trial's work.

    created_at: when the latest attempt was made; what patience is counted from.
    accelerator_seconds: run time times accelerators of all attempts, also of those that left nothing else behind;
    until: the moment up to which it counts.
    accelerators: of the latest attempt.
    """

    phase: Phase
    reason: str = ""
    message: str = ""
    exit_code: int | None = None
    failure: Literal["OutOfMemory", "DeadlineExceeded", "NodeLost"] | None = None
    termination: str = ""
    log: str = ""
    created_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    node: str = ""
    pod: str = ""
    image_digest: str = ""
    preemptions: int = 0
    accelerators: float = 0.0
    accelerator_seconds: float = 0.0
    until: datetime | None = None
    reading: MetricsReading | None = None
    curve: tuple[CurvePoint, ...] = ()


def blocked(execution: Execution, now: datetime) -> bool:
    """Whether a pending container does not start by itself. A pod is unschedulable for a moment now and then."""
    if execution.phase != "Pending" or execution.reason not in BLOCKED_REASONS:
        return False
    waited = now - execution.created_at if execution.created_at else BLOCKED_PATIENCE
    return execution.reason in IMAGE_REASONS or waited >= BLOCKED_PATIENCE


@dataclass(frozen=True)
class OpenTrial:
    """A trial whose result is not recorded. execution: None where nothing runs it."""

    trial: Trial
    execution: Execution | None = None

    @property
    def accelerator_seconds(self) -> float:
        """What it has used so far. A Job that is gone has taken nothing back."""
        recorded = self.trial.status.accelerator_seconds
        return max(recorded, self.execution.accelerator_seconds) if self.execution else recorded

    @property
    def preemptions(self) -> int:
        """How often it was preempted. An evicted pod is soon gone; that another runs in its place stays visible."""
        before, execution = self.trial.status, self.execution
        if execution is None:
            return before.preemptions
        replaced = bool(before.pod and execution.pod and before.pod != execution.pod)
        return max(before.preemptions + replaced, execution.preemptions)


@dataclass(frozen=True)
class Outcome:
    """A trial's last status. Writing it is what makes a result exist."""

    trial: Trial
    status: ArchitectureTrialStatus


@dataclass(frozen=True)
class Ask:
    """A proposal that is wanted of the searcher. observed: how many results it may know."""

    index: int
    observed: int


@dataclass(frozen=True)
class NewTrial:
    """A trial to create."""

    name: str
    spec: ArchitectureTrialSpec


@dataclass(frozen=True)
class Plan:
    """What to do next. Doing all of it and planning again gives a plan that does nothing more.

    outcomes: results to record; where there are any, the rest is planned after they are.
    create, asks: trials to create, the latter once the searcher has proposed their architecture.
    start, stop: trials whose Job, or process, is to be created or removed.
    states: statuses of open trials that have changed.
    status: what the search's status is to be.
    look_again: seconds until something changes without an event; None if nothing does.
    """

    status: ArchitectureSearchStatus
    outcomes: tuple[Outcome, ...] = ()
    create: tuple[NewTrial, ...] = ()
    asks: tuple[Ask, ...] = ()
    start: tuple[Trial, ...] = ()
    stop: tuple[str, ...] = ()
    states: tuple[Outcome, ...] = ()
    look_again: float | None = None
