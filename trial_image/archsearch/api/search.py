"""`ArchitectureSearch`: what a user writes, and what the operator answers in its status."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Field, StringConstraints

from archsearch.api.algorithm import Algorithm
from archsearch.api.base import (
    DecimalString,
    LabelKey,
    LabelValue,
    Model,
    ObjectName,
    OneOf,
    Quantity,
    ResourceQuantity,
    Rule,
    ShortName,
)
from archsearch.api.metrics import MEASURED, Goal, Metric
from archsearch.api.space import Space
from archsearch.api.task import RelativePath, Task

KIND: Final = "ArchitectureSearch"
PLURAL: Final = "architecturesearches"
MAX_NAME: Final = 40
"""Longest name of a search: a Job's name adds the search's uid, a kind and an index, and must fit in 63."""
MUTABLE: Final = ("budget", "suspend", "queue")
"""What may be changed while a search runs."""

Stage = Literal["Preflight", "Search", "Profile", "Retrain", "Export", "Done"]

_MEASURED_LIST = ", ".join(f"'{metric}'" for metric in sorted(MEASURED))
_NEEDS_PROFILE = Rule(
    expression=f"(self.metric in [{_MEASURED_LIST}]) == has(self.profile)",
    message="profile must be set for latencyMs, throughput and peakMemoryMiB, and only for these",
    field_path=".metric",
)


def _check_profile(self: Any) -> str | None:
    if (self.metric in MEASURED) == (self.profile is not None):
        return None
    return f"profile must be set for {', '.join(sorted(MEASURED))}, and only for these, but got {self.metric=!s}"


class Objective(Model):
    """A metric that is made as large or as small as can be."""

    metric: Metric
    """The metric's name."""
    goal: Goal | None = None
    """`Maximize` or `Minimize`; the natural one for the metric where it is left out."""
    profile: ShortName | None = None
    """The hardware profile on which the metric is measured."""

    rules = (_NEEDS_PROFILE,)
    checks = (_check_profile,)


class Constraint(Model):
    """A limit. An architecture beyond it is never reported as the best."""

    metric: Metric
    """The metric's name."""
    profile: ShortName | None = None
    """The hardware profile on which the metric is measured."""
    min: Quantity | None = None
    """Smallest value allowed, such as "0.9"."""
    max: Quantity | None = None
    """Largest value allowed, such as "12.5" or "5M" (decimal suffixes k, M, G, T)."""

    rules = (
        _NEEDS_PROFILE,
        Rule(expression="has(self.min) || has(self.max)", message="min or max must be set", field_path=".metric"),
    )
    checks = (_check_profile, lambda self: None if self.min or self.max else "min or max must be set")


class Toleration(Model):
    """A taint that the pod tolerates, as in a pod."""

    key: LabelKey | None = None
    """The taint's key; every key where it is left out and the operator is `Exists`."""
    operator: Literal["Exists", "Equal"] = "Equal"
    """How the value is compared."""
    value: LabelValue | None = None
    """The taint's value, for `Equal`."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """The taint's effect; every effect where it is left out."""
    toleration_seconds: Annotated[int, Field(ge=0, le=31_536_000)] | None = None
    """Seconds for which a NoExecute taint is tolerated."""


class Resources(Model):
    """What the pod asks for, as in a container."""

    requests: Annotated[dict[LabelKey, ResourceQuantity], Field(max_length=16)] = {}
    """What the scheduler sets aside."""
    limits: Annotated[dict[LabelKey, ResourceQuantity], Field(max_length=16)] = {}
    """What the pod may not exceed; extended resources such as `nvidia.com/gpu` go here."""


class Placement(Model):
    """Where a pod runs and what it asks for."""

    resources: Resources = Resources(
        requests={"cpu": "1", "memory": "2Gi"},
        limits={"memory": "4Gi"},
    )
    """CPU, memory and accelerators of the pod."""
    node_selector: Annotated[dict[LabelKey, LabelValue], Field(max_length=16)] = {}
    """Labels that the node must have."""
    tolerations: Annotated[tuple[Toleration, ...], Field(max_length=16)] = ()
    """Taints that the pod tolerates."""
    runtime_class_name: ObjectName | None = None
    """The RuntimeClass of the pod."""


class Profile(Placement):
    """Hardware on which candidates are measured."""

    name: ShortName
    """The name by which objectives and constraints refer to it."""
    runtime: Literal["Torch"] = "Torch"
    """What runs the network: `Torch` is eager PyTorch."""
    batch_size: Annotated[int, Field(ge=1, le=65_536)] = 1
    """Images at once."""
    warmup: Annotated[int, Field(ge=1, le=10_000)] = 10
    """Runs before the first that counts."""
    iterations: Annotated[int, Field(ge=10, le=100_000)] = 100
    """Runs that count."""


class Budget(Model):
    """What the search may use. It can be changed while the search runs."""

    max_trials: Annotated[int, Field(ge=1, le=100_000)]
    """Trials of the search stage: networks trained, or whole searches of a differentiable method."""
    parallel_trials: Annotated[int, Field(ge=1, le=1_000)] = 1
    """Trials at once, in every stage."""
    max_failed_trials: Annotated[int, Field(ge=0, le=100_000)] = 3
    """Failed trials that are tolerated; one more ends the search."""
    gpu_hours: DecimalString | None = None
    """Accelerator hours: the run time of each pod times the accelerators it asks for."""
    price_per_gpu_hour: DecimalString | None = None
    """What an accelerator hour costs, for the estimate in the status."""
    active_deadline_seconds: Annotated[int, Field(ge=1, le=31_536_000)] | None = None
    """Seconds after the start at which the search ends, whatever it has."""

    rules = (Rule(expression="self.parallelTrials <= self.maxTrials",
                  message="parallelTrials must not be greater than maxTrials", field_path=".parallelTrials"),)  # fmt: skip
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


class TrialTemplate(Placement):
    """The pods that do the work."""

    image: Annotated[str, StringConstraints(min_length=1, max_length=512, pattern=r"^[^\s]+$")] | None = None
    """The trial image; the operator's own default where it is left out."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    """When the image is pulled."""
    active_deadline_seconds: Annotated[int, Field(ge=10, le=31_536_000)] = 86_400
    """Seconds after which a single trial is stopped and counts as failed."""


class Queue(Model):
    """Kueue admits the Jobs: they are created suspended and start when the queue has room."""

    name: ObjectName
    """The LocalQueue."""
    priority_class: ObjectName | None = None
    """The WorkloadPriorityClass."""


def _unknown_profiles(self: ArchitectureSearchSpec) -> str | None:
    known = {profile.name for profile in self.profiles}
    unknown = [item.profile for item in (*(self.objectives or ()), *self.constraints)
               if item.profile is not None and item.profile not in known]  # fmt: skip
    return f"profiles must define every profile that is named, but got {', '.join(unknown)}" if unknown else None


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
    if self.early_stopping is None or self.algorithm is None or self.algorithm.darts is None:
        return None
    return "earlyStopping must not be set for darts: its trials are whole searches, not networks to compare"


class ArchitectureSearchSpec(Model):
    """Which task, space, algorithm, objectives and budget. A task and a budget are enough."""

    task: Task
    """What is to be learnt, and from which data."""
    space: Space | None = None
    """The architectures that are searched; `dartsCells` where it is left out."""
    algorithm: Algorithm | None = None
    """How the space is searched; `regularizedEvolution` where it is left out."""
    objectives: Annotated[tuple[Objective, ...], Field(min_length=1, max_length=4)] | None = None
    """What makes an architecture good, the most important first; accuracy where it is left out."""
    constraints: Annotated[tuple[Constraint, ...], Field(max_length=8)] = ()
    """Limits that the best architecture must keep."""
    profiles: Annotated[tuple[Profile, ...], Field(max_length=8)] = ()
    """Hardware on which candidates are measured; the trials' own where it is left out."""
    budget: Budget
    """What the search may use."""
    early_stopping: EarlyStopping | None = None
    """When a trial is not worth finishing; never where it is left out."""
    retrain: Retrain = Retrain()
    """Training from scratch of the best architectures."""
    export: Export | None = None
    """The format of the model; ONNX where it is left out and there is somewhere to write it."""
    artifacts: Artifacts | None = None
    """Where checkpoints, weights and models are kept. Without it an interrupted trial starts anew, and no model is
    exported."""
    trial: TrialTemplate = TrialTemplate()
    """The pods that do the work."""
    queue: Queue | None = None
    """Kueue's queue, where there is one."""
    suspend: bool = False
    """Stop all Jobs and create none; finished trials are kept, interrupted ones resume."""
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    """Everything random follows from it."""

    rules = (
        Rule(
            expression="!has(self.objectives) || self.objectives.all(o, !has(o.profile) || "
            "self.profiles.exists(p, p.name == o.profile))",
            message="objectives must name profiles that are defined in profiles",
            field_path=".objectives",
        ),
        Rule(
            expression="self.constraints.all(c, !has(c.profile) || self.profiles.exists(p, p.name == c.profile))",
            message="constraints must name profiles that are defined in profiles",
            field_path=".constraints",
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
            field_path=".export",
        ),
        Rule(
            expression="!has(self.export) || self.export.format == 'None' || self.retrain.topK > 0",
            message="retrain.topK must be at least 1 for an export: there are no weights to export otherwise",
            field_path=".export",
        ),
        Rule(
            expression="!has(self.earlyStopping) || !has(self.algorithm) || !has(self.algorithm.darts)",
            message="earlyStopping must not be set for darts: its trials are whole searches, not networks to compare",
            field_path=".earlyStopping",
        ),
    )
    checks = (
        _unknown_profiles,
        _duplicate_profiles,
        _duplicate_objectives,
        _export_needs_artifacts,
        _export_needs_retrain,
        _stop_needs_trials,
    )


class Condition(Model):
    """metav1.Condition."""

    type: Annotated[str, StringConstraints(max_length=64)]
    """What is said."""
    status: Literal["True", "False", "Unknown"]
    """Whether it is so."""
    observed_generation: int = 0
    """The generation of the spec that it was said of."""
    last_transition_time: Annotated[str, Field(json_schema_extra={"format": "date-time"})]
    """When the status changed last."""
    reason: Annotated[str, StringConstraints(max_length=128)]
    """One word for why."""
    message: Annotated[str, StringConstraints(max_length=4096)] = ""
    """Why, for a person."""


class TrialCounts(Model):
    """Trials of the search stage by state."""

    total: int = 0
    """Trials that the budget allows."""
    pending: int = 0
    """Created, and waiting for a node or an image."""
    queued: int = 0
    """Waiting for admission by the queue."""
    running: int = 0
    """Running now."""
    succeeded: int = 0
    """Ended with a result."""
    failed: int = 0
    """Ended without one."""
    infeasible: int = 0
    """Architectures beyond a limit, found before training."""
    stopped: int = 0
    """Stopped early."""
    preemptions: int = 0
    """Times that a pod was evicted and started again; not failures."""
    done: str = "0/0"
    """Ended and total, for the printer column."""


class Artifact(Model):
    """A file on the artifact volume."""

    uri: Annotated[str, StringConstraints(max_length=512)]
    """`pvc://CLAIM/PATH`."""
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    """Checksum of the file."""
    format: Annotated[str, StringConstraints(max_length=32)]
    """`safetensors` or `onnx`."""


class Latency(Model):
    """Percentiles of the time that one batch takes, in milliseconds."""

    p50: float
    """Median."""
    p95: float
    """95th percentile."""
    p99: float
    """99th percentile."""


class HardwareProfile(Model):
    """What the network costs on hardware that was measured."""

    profile: str
    """The profile's name."""
    device: Annotated[str, StringConstraints(max_length=128)]
    """The device that was found, not the one that was asked for."""
    runtime: str
    """What ran the network."""
    batch_size: int
    """Images at once."""
    latency_ms: Latency
    """Time of one batch."""
    throughput: float
    """Images a second."""
    peak_memory_mib: Annotated[float, Field(alias="peakMemoryMiB")]
    """Largest memory in use above the process at rest."""
    parameters: int
    """Trainable weights of the network."""
    flops: int
    """Floating-point operations for one image; a multiplication and an addition are two."""


class Retrained(Model):
    """The accuracy of the best architecture when trained from scratch, on the test images."""

    metric: str
    """The first objective's metric."""
    mean: float
    """Mean over the seeds."""
    std: float
    """Sample standard deviation over the seeds; 0 for one seed."""
    seeds: int
    """Trainings that ended with a result."""


class Best(Model):
    """The best architecture so far."""

    trial: str
    """The trial that found it."""
    genotype: Annotated[dict[str, Any], Field(json_schema_extra={"x-kubernetes-preserve-unknown-fields": True})]
    """The architecture: every choice and its value."""
    genotype_id: str
    """Short hash of the genotype."""
    metrics: dict[str, float]
    """What the trial reported, and what the profiles measured (as `metric@profile`)."""
    objective: str = ""
    """The first objective's value, for the printer column."""
    retrained: Retrained | None = None
    """From scratch, over seeds, on the test images."""
    artifacts: Annotated[tuple[Artifact, ...], Field(max_length=16)] = ()
    """The exported model."""
    export_difference: float | None = None
    """Largest difference between the exported model's outputs and PyTorch's."""


class FrontEntry(Model):
    """A result that no other beats in every objective."""

    trial: str
    """The trial that found it."""
    genotype_id: str
    """Short hash of the genotype."""
    metrics: dict[str, float]
    """The objectives' values."""


class Usage(Model):
    """What the search has used."""

    gpu_hours: float = 0.0
    """Accelerator hours of pods that have ended."""
    estimated_cost: float | None = None
    """Accelerator hours times the price of one, where a price is given."""


class Reproducibility(Model):
    """What is needed to run it again."""

    seed: int
    """The seed."""
    space_hash: str
    """Hash of the space: two searches with the same one can share results."""
    image_digest: str = ""
    """The trial image as it ran."""
    operator_version: str
    """The operator's version."""
    settings_after_defaults: Annotated[
        dict[str, Any], Field(json_schema_extra={"x-kubernetes-preserve-unknown-fields": True})
    ]
    """The spec with every default filled in."""


class ArchitectureSearchStatus(Model):
    """What the operator knows. It never grows with the number of trials."""

    observed_generation: int = 0
    """The generation of the spec that this status is about."""
    conditions: Annotated[
        tuple[Condition, ...],
        Field(
            max_length=16,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
        ),
    ] = ()
    """Accepted, Progressing, MetricsAvailable, Suspended and Succeeded."""
    stage: Stage | None = None
    """Preflight, Search, Profile, Retrain, Export or Done."""
    start_time: Annotated[str, Field(json_schema_extra={"format": "date-time"})] | None = None
    """When the operator first saw the search."""
    completion_time: Annotated[str, Field(json_schema_extra={"format": "date-time"})] | None = None
    """When it ended."""
    trials: TrialCounts = TrialCounts()
    """Trials of the search stage by state."""
    best: Best | None = None
    """The best architecture so far."""
    front: Annotated[tuple[FrontEntry, ...], Field(max_length=16)] = ()
    """Results that no other beats in every objective; at most 16, spread out."""
    hardware: Annotated[tuple[HardwareProfile, ...], Field(max_length=8)] = ()
    """The best architecture's cost on each profile."""
    usage: Usage = Usage()
    """What the search has used."""
    reproducibility: Reproducibility | None = None
    """What is needed to run it again."""
