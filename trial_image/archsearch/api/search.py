"""`ArchitectureSearch`: what a user writes. What the operator answers is in `status`."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from archsearch.api.agreement import AGREEMENT_CHECKS, AGREEMENTS, DEFAULT_PROFILE
from archsearch.api.algorithm import Algorithm
from archsearch.api.base import DecimalString, Model, ObjectName, OneOf, PositiveDecimal, Rule
from archsearch.api.evaluation import Evaluation
from archsearch.api.objective import Constraint, Objective
from archsearch.api.placement import Placement, Profile, Queue, Resources, Toleration, TrialTemplate
from archsearch.api.space import Space
from archsearch.api.status import (
    ArchitectureSearchStatus,
    Artifact,
    Best,
    Condition,
    FrontEntry,
    HardwareProfile,
    Latency,
    Reproducibility,
    Retrained,
    Stage,
    TrialCounts,
    Usage,
)
from archsearch.api.task import RelativePath, Task

__all__ = [
    "DEFAULT_PROFILE", "KIND", "MAX_NAME", "MUTABLE", "PLURAL", "ArchitectureSearchSpec", "ArchitectureSearchStatus",
    "Artifact", "Artifacts", "Best", "Budget", "Condition", "Constraint", "EarlyStopping", "Export", "FrontEntry",
    "HardwareProfile", "Latency", "MedianStop", "Objective", "Placement", "Profile", "Queue", "Reproducibility",
    "Resources", "Retrain", "Retrained", "Stage", "Toleration", "TrialCounts", "TrialTemplate", "Usage",
]  # fmt: skip

KIND: Final = "ArchitectureSearch"
PLURAL: Final = "architecturesearches"
MAX_NAME: Final = 40
"""Longest name of a search: a Job's name adds the search's uid, a kind and an index, and must fit in 63."""
MUTABLE: Final = ("budget", "suspend", "queue")
"""What may be changed while a search runs."""


class Budget(Model):
    """What the search may use. It can be changed while the search runs."""

    max_trials: Annotated[int, Field(ge=1, le=100_000)]
    """Trials of the search stage: networks trained, or whole searches of a differentiable method."""
    parallel_trials: Annotated[int, Field(ge=1, le=1_000)] = 1
    """Trials at once, in every stage."""
    max_failed_trials: Annotated[int, Field(ge=0, le=100_000)] = 3
    """Failed trials, of every stage but Preflight, that are tolerated; one more ends the search."""
    gpu_hours: PositiveDecimal | None = None
    """Accelerator hours: the run time of each pod times the accelerators it asks for. No limit where it is left out."""
    price_per_gpu_hour: DecimalString | None = None
    """What an accelerator hour costs, for the estimate in the status."""
    active_deadline_seconds: Annotated[int, Field(ge=1, le=31_536_000)] | None = None
    """Seconds after the start at which the search ends, whatever it has."""

    rules = (
        Rule(
            expression="self.parallelTrials <= self.maxTrials",
            message="parallelTrials must not be greater than maxTrials",
            field_path=".parallelTrials",
        ),
    )
    checks = (
        lambda self: None if self.parallel_trials <= self.max_trials else
        f"parallelTrials must not be greater than maxTrials ({self.max_trials}), but got {self.parallel_trials}",
    )  # fmt: skip


class MedianStop(Model):
    """Stop a trial whose best value so far is worse than the median of the others' at the same epoch."""

    grace_epochs: Annotated[int, Field(ge=1, le=10_000)] = 5
    """Epochs that every trial may run."""
    min_trials: Annotated[int, Field(ge=1, le=10_000)] = 3
    """Finished trials that must exist before one is stopped."""


class EarlyStopping(OneOf):
    """When a trial is not worth finishing."""

    median_stop: MedianStop | None = None
    """The median rule (Golovin et al. 2017)."""


class Retrain(Model):
    """Train the best architectures from scratch, over seeds: the number to trust."""

    top_k: Annotated[int, Field(ge=0, le=16)] = 1
    """Architectures that are retrained; the best of them by mean is reported. 0: none."""
    seeds: Annotated[int, Field(ge=1, le=32)] = 3
    """Independent trainings of each."""
    epochs: Annotated[int, Field(ge=1, le=10_000)] = 100
    """Epochs of each training."""


class Export(Model):
    """Write the retrained model."""

    format: Literal["ONNX", "None"] = "ONNX"
    """`ONNX`: an ONNX file beside the weights, checked against PyTorch. `None`: no export."""


class Artifacts(Model):
    """Where checkpoints, weights and models are kept."""

    claim_name: ObjectName
    """A PersistentVolumeClaim in the search's namespace that all trials can write."""
    path: RelativePath = ""
    """A folder inside the volume."""


class ArchitectureSearchSpec(Model):
    """Which task, space, algorithm, objectives and budget. A task and a budget are enough."""

    task: Task
    """What is to be learnt, and from which data."""
    space: Space | None = None
    """The architectures that are searched. Where it is left out: `mbconvChain` if latency, throughput or memory
    matters, else `dartsCells`; status.defaults says which, and why."""
    algorithm: Algorithm | None = None
    """How the space is searched. Where it is left out objectives, limits and budget decide between `differentiable`
    and `gaussianProcess`; status.defaults says which, and why."""
    evaluation: Evaluation | None = None
    """What a trial does with an architecture that is proposed; `train` where it is left out. Differentiable search and
    ENAS propose none."""
    objectives: Annotated[tuple[Objective, ...], Field(min_length=1, max_length=4)] | None = None
    """What makes an architecture good, the most important first; accuracy where it is left out."""
    constraints: Annotated[tuple[Constraint, ...], Field(max_length=8)] = ()
    """Limits that the best architecture must keep."""
    profiles: Annotated[
        tuple[Profile, ...],
        Field(
            max_length=8,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
    ] = ()
    """Hardware on which candidates are measured; the trials' own, under the name `default`, where it is left out."""
    budget: Budget
    """What the search may use."""
    early_stopping: EarlyStopping | None = None
    """When a trial is not worth finishing; never where it is left out."""
    retrain: Retrain = Retrain()
    """Train the best architectures from scratch."""
    export: Export | None = None
    """Write the retrained model; as ONNX where it is left out and there is somewhere to write it."""
    artifacts: Artifacts | None = None
    """Where checkpoints, weights and models are kept. Without it an interrupted trial starts anew, and no model is
    exported."""
    trial: TrialTemplate = TrialTemplate()
    """The pods that do the work."""
    queue: Queue | None = None
    """For clusters with Kueue."""
    suspend: bool = False
    """Stop all Jobs and create none; finished trials are kept, interrupted ones resume."""
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    """Everything random follows from it."""

    rules = AGREEMENTS
    checks = AGREEMENT_CHECKS
