"""`ArchitectureSearch`: what a user writes. What the operator answers is in `status`."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from archsearch.api.algorithm import Algorithm
from archsearch.api.base import DecimalString, Model, ObjectName, OneOf, PositiveDecimal, Rule, cel_list
from archsearch.api.evaluation import Evaluation
from archsearch.api.metrics import LEARNED, STATIC
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
DEFAULT_PROFILE: Final = "default"
"""The profile that stands for the trials' own hardware where no profile is defined."""
PROPOSES: Final = "(!has(self.algorithm) || (!has(self.algorithm.differentiable) && !has(self.algorithm.enas)))"
"""`Algorithm.proposes` in CEL."""


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


def _unknown_profiles(self: ArchitectureSearchSpec) -> str | None:
    known = {profile.name for profile in self.profiles} or {DEFAULT_PROFILE}
    named = {
        "objectives": [objective.profile for objective in self.objectives or ()],
        "constraints": [constraint.profile for constraint in self.constraints],
    }
    unknown = {field: [name for name in names if name and name not in known] for field, names in named.items()}
    problems = [
        f"{field} must name profiles that are defined in profiles, but got {', '.join(names)}"
        for field, names in unknown.items()
        if names
    ]
    return "; ".join(problems) or None


def _duplicate_profiles(self: ArchitectureSearchSpec) -> str | None:
    names = [profile.name for profile in self.profiles]
    return None if len(set(names)) == len(names) else f"profiles must have different names, but got {', '.join(names)}"


def _duplicate_objectives(self: ArchitectureSearchSpec) -> str | None:
    keys = [(objective.metric, objective.profile) for objective in self.objectives or ()]
    return None if len(set(keys)) == len(keys) else "objectives must be different from each other"


def _export_needs_artifacts(self: ArchitectureSearchSpec) -> str | None:
    if self.export is None or self.export.format == "None" or self.artifacts is not None:
        return None
    return f"artifacts must be set for export.format {self.export.format}"


def _export_needs_retrain(self: ArchitectureSearchSpec) -> str | None:
    if self.export is None or self.export.format == "None" or self.retrain.top_k > 0:
        return None
    return "retrain.topK must be at least 1 for an export: there are no weights to export otherwise"


def _stop_needs_trials(self: ArchitectureSearchSpec) -> str | None:
    whole = self.algorithm is not None and not self.algorithm.proposes
    untrained = self.evaluation is not None and self.evaluation.train is None
    if self.early_stopping is None or not (whole or untrained):
        return None
    return "earlyStopping must be set only where trials train one network each"


def _evaluation_needs_proposals(self: ArchitectureSearchSpec) -> str | None:
    if self.evaluation is None or self.algorithm is None or self.algorithm.proposes:
        return None
    return f"evaluation must not be set for {self.algorithm.member[0]}: each of its trials is one whole search"


def _mixture_needs_space(self: ArchitectureSearchSpec) -> str | None:
    if self.space is None or self.space.mixable:
        return None
    if self.algorithm is None or self.algorithm.differentiable is None:
        return None
    return (
        f"algorithm must not be differentiable for {self.space.member[0]}: its supernet runs one architecture at a time"
    )


def _tables_need_artifacts(self: ArchitectureSearchSpec) -> str | None:
    measured = [p.name for p in self.profiles if p.search_latency and p.search_latency.measured_table]
    if not measured or self.artifacts is not None:
        return None
    return f"artifacts must be set to keep the latency table of {', '.join(measured)}"


def _shares_weights(self: ArchitectureSearchSpec) -> str | None:
    shared = self.evaluation.shared_weights if self.evaluation else None
    if shared is None:
        return None
    if self.artifacts is None:
        return "artifacts must be set for evaluation.sharedWeights: there is nowhere to keep the weights otherwise"
    if shared.sampling == "Sandwich" and (self.space is None or self.space.elastic_chain is None):
        return "evaluation.sharedWeights.sampling must be Sandwich only for the space elasticChain"
    return None


def _loss_has_its_table(self: ArchitectureSearchSpec) -> str | None:
    settings = self.algorithm.differentiable if self.algorithm else None
    if settings is None or settings.hardware_loss is None or settings.hardware_loss.profile is None:
        return None
    name = settings.hardware_loss.profile
    tables = [p.name for p in self.profiles if p.search_latency and p.search_latency.trial is None]
    if name in tables:
        return None
    return (
        "algorithm.differentiable.hardwareLoss.profile must be one of profiles with a table in searchLatency, "
        f"but got {name}"
    )


def _table_has_objectives(self: ArchitectureSearchSpec) -> str | None:
    if self.evaluation is None or self.evaluation.tabular is None or self.objectives is None:
        return None
    known = {column.metric for column in self.evaluation.tabular.columns}
    missing = [item.metric for item in self.objectives if item.metric in LEARNED | STATIC and item.metric not in known]
    return f"objectives must be among evaluation.tabular.columns, but got {', '.join(missing)}" if missing else None


def _own_searcher_trains_fully(spec: ArchitectureSearchSpec) -> str | None:
    train = spec.evaluation.train if spec.evaluation is not None else None
    if spec.algorithm is None or spec.algorithm.custom is None or train is None:
        return None
    if train.halving is None and not train.fidelities:
        return None
    return (
        "evaluation.train must have neither halving nor fidelities for a custom searcher, whose trials are all trained "
        "fully"
    )


def _stop_needs_curve(self: ArchitectureSearchSpec) -> str | None:
    if self.early_stopping is None or self.objectives is None or self.objectives[0].metric in LEARNED:
        return None
    return (
        f"objectives must begin with {' or '.join(sorted(LEARNED))} for earlyStopping: nothing else has a value after "
        f"each epoch, but got {self.objectives[0].metric}"
    )


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

    rules = (
        *(
            Rule(
                expression=f"!has(self.{field}) || self.{field}.all(item, !has(item.profile) || "
                "self.profiles.exists(p, p.name == item.profile) || "
                f"(size(self.profiles) == 0 && item.profile == '{DEFAULT_PROFILE}'))",
                message=f"{field} must name profiles that are defined in profiles",
                field_path=f".{field}",
            )
            for field in ("objectives", "constraints")
        ),
        Rule(
            expression="!has(self.objectives) || self.objectives.all(o, self.objectives.exists_one(p, "
            "p.metric == o.metric && has(p.profile) == has(o.profile) && "
            "(!has(p.profile) || p.profile == o.profile)))",
            message="objectives must be different from each other",
            field_path=".objectives",
        ),
        Rule(
            expression="!has(self.export) || self.export.format == 'None' || has(self.artifacts)",
            message="artifacts must be set for an export: there is nowhere to write the model otherwise",
            field_path=".artifacts",
        ),
        Rule(
            expression="has(self.artifacts) || self.profiles.all(p, !has(p.searchLatency) || "
            "!has(p.searchLatency.measuredTable))",
            message="artifacts must be set: there is nowhere to keep a measured latency table otherwise",
            field_path=".artifacts",
        ),
        Rule(
            expression="!has(self.evaluation) || !has(self.evaluation.sharedWeights) || has(self.artifacts)",
            message="artifacts must be set: there is nowhere to keep the shared weights otherwise",
            field_path=".artifacts",
        ),
        Rule(
            expression="!has(self.evaluation) || !has(self.evaluation.sharedWeights) || "
            "self.evaluation.sharedWeights.sampling != 'Sandwich' || (has(self.space) && has(self.space.elasticChain))",
            message="evaluation.sharedWeights.sampling must be Sandwich only for the space elasticChain",
            field_path=".evaluation.sharedWeights.sampling",
        ),
        Rule(
            expression="!has(self.algorithm) || !has(self.algorithm.differentiable) || "
            "!has(self.algorithm.differentiable.hardwareLoss) || "
            "!has(self.algorithm.differentiable.hardwareLoss.profile) || "
            "self.profiles.exists(p, p.name == self.algorithm.differentiable.hardwareLoss.profile && "
            "has(p.searchLatency) && !has(p.searchLatency.trial))",
            message="hardwareLoss.profile must be one of profiles with a table in searchLatency",
            field_path=".algorithm.differentiable.hardwareLoss.profile",
        ),
        Rule(
            expression="!has(self.export) || self.export.format == 'None' || self.retrain.topK > 0",
            message="retrain.topK must be at least 1 for an export: there are no weights to export otherwise",
            field_path=".retrain.topK",
        ),
        Rule(
            expression=f"!has(self.earlyStopping) || ({PROPOSES} && "
            "(!has(self.evaluation) || has(self.evaluation.train)))",
            message="earlyStopping must be set only where trials train one network each",
            field_path=".earlyStopping",
        ),
        Rule(
            expression="!has(self.space) || !(has(self.space.elasticChain) || has(self.space.hierarchicalMotifs) || "
            "(has(self.space.custom) && !self.space.custom.mixable)) || !has(self.algorithm) || "
            "!has(self.algorithm.differentiable)",
            message="algorithm must not be differentiable for a space whose supernet runs one architecture at a time",
            field_path=".algorithm",
        ),
        Rule(
            expression=f"!has(self.evaluation) || {PROPOSES}",
            message="evaluation must not be set where each trial is one whole search",
            field_path=".evaluation",
        ),
        Rule(
            expression="!has(self.algorithm) || !has(self.algorithm.custom) || !has(self.evaluation) || "
            "!has(self.evaluation.train) || "
            "(!has(self.evaluation.train.halving) && size(self.evaluation.train.fidelities) == 0)",
            message="evaluation.train must have neither halving nor fidelities for a custom searcher, whose trials are "
            "all trained fully",
            field_path=".evaluation.train",
        ),
        Rule(
            expression="!has(self.evaluation) || !has(self.evaluation.tabular) || !has(self.objectives) || "
            f"self.objectives.all(o, !(o.metric in {cel_list(sorted(LEARNED | STATIC))}) || "
            "self.evaluation.tabular.columns.exists(c, c.metric == o.metric))",
            message="objectives must be among evaluation.tabular.columns",
            field_path=".objectives",
        ),
        Rule(
            expression="!has(self.earlyStopping) || !has(self.objectives) || size(self.objectives) == 0 || "
            f"self.objectives[0].metric in {cel_list(sorted(LEARNED))}",
            message=f"objectives must begin with {' or '.join(sorted(LEARNED))} for earlyStopping: nothing else has a "
            "value after each epoch",
            field_path=".objectives",
        ),
    )
    checks = (
        _unknown_profiles,
        _duplicate_profiles,
        _duplicate_objectives,
        _export_needs_artifacts,
        _export_needs_retrain,
        _stop_needs_trials,
        _mixture_needs_space,
        _evaluation_needs_proposals,
        _own_searcher_trains_fully,
        _table_has_objectives,
        _tables_need_artifacts,
        _shares_weights,
        _loss_has_its_table,
        _stop_needs_curve,
    )
