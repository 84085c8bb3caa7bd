"""The status of a search: what the operator answers. It never grows with the number of trials."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, FiniteFloat, StringConstraints

from archsearch.api.base import Count, Int64, Model, Timestamp

Stage = Literal["Preflight", "Search", "Profile", "Retrain", "Export", "Done"]


class Condition(Model):
    """metav1.Condition."""

    type: Annotated[str, StringConstraints(max_length=64)]
    """What is said."""
    status: Literal["True", "False", "Unknown"]
    """Whether it is so."""
    observed_generation: int = 0
    """The generation of the spec that it was said of."""
    last_transition_time: Timestamp
    """When the status changed last."""
    reason: Annotated[str, StringConstraints(max_length=128)]
    """One word for why."""
    message: Annotated[str, StringConstraints(max_length=4096)] = ""
    """Why, for a person."""


class TrialCounts(Model):
    """Trials of the search stage by state."""

    total: Count = 0
    """Trials that the budget allows."""
    pending: Count = 0
    """Created, and waiting for a node or an image."""
    queued: Count = 0
    """Waiting for admission by the queue."""
    running: Count = 0
    """Running now."""
    succeeded: Count = 0
    """Ended with a result."""
    failed: Count = 0
    """Ended without one."""
    infeasible: Count = 0
    """Architectures beyond a limit, found before training."""
    stopped: Count = 0
    """Stopped early."""
    preemptions: Count = 0
    """Times that a pod was evicted and started again; not failures."""
    done: Annotated[str, StringConstraints(max_length=32)] = "0/0"
    """Ended and total, for the printer column."""


class Artifact(Model):
    """A file on the artifact volume."""

    uri: Annotated[str, StringConstraints(max_length=512)]
    """`pvc://CLAIM/PATH`."""
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$", max_length=64)]
    """Checksum of the file."""
    format: Annotated[str, StringConstraints(max_length=32)]
    """`safetensors` or `onnx`."""


class Latency(Model):
    """Percentiles of the time that one batch takes, in milliseconds."""

    p50: FiniteFloat
    """The median."""
    p95: FiniteFloat
    """The 95th percentile."""
    p99: FiniteFloat
    """The 99th percentile."""


class HardwareProfile(Model):
    """What the network costs on hardware that was measured."""

    profile: Annotated[str, StringConstraints(max_length=63)]
    """The profile's name."""
    device: Annotated[str, StringConstraints(max_length=128)]
    """The device that was found, not the one that was asked for."""
    runtime: Annotated[str, StringConstraints(max_length=32)]
    """What ran the network."""
    batch_size: Count
    """Images at once."""
    latency_ms: Latency
    """Time of one batch."""
    throughput: FiniteFloat
    """Images a second."""
    peak_memory_mib: Annotated[FiniteFloat, Field(alias="peakMemoryMiB")]
    """Largest memory in use above the process at rest."""
    parameters: Int64
    """Trainable weights of the network."""
    flops: Int64
    """Floating-point operations for one image; a multiplication and an addition are two."""


class Retrained(Model):
    """The accuracy of the best architecture when trained from scratch, on the test images."""

    metric: Annotated[str, StringConstraints(max_length=64)]
    """The first objective's metric."""
    mean: float
    """Mean over the seeds."""
    std: float
    """Sample standard deviation over the seeds; 0 for one seed."""
    seeds: Count
    """Trainings that ended with a result."""


class Best(Model):
    """The best architecture so far."""

    trial: Annotated[str, StringConstraints(max_length=63)]
    """The trial that found it."""
    genotype: Annotated[dict[str, Any], Field(json_schema_extra={"x-kubernetes-preserve-unknown-fields": True})]
    """The architecture: every choice and its value."""
    genotype_id: Annotated[str, StringConstraints(max_length=64)]
    """Short hash of the genotype."""
    metrics: Annotated[dict[str, float], Field(max_length=128)]
    """What the trial reported, and what the profiles measured (as `metric@profile`)."""
    objective: Annotated[str, StringConstraints(max_length=32)] = ""
    """The first objective, for the printer column: as retrained on the test images, else as the trial reported it."""
    retrained: Retrained | None = None
    """From scratch, over seeds, on the test images."""
    artifacts: Annotated[tuple[Artifact, ...], Field(max_length=16)] = ()
    """The exported model."""
    export_difference: float | None = None
    """Largest difference between the exported model's outputs and PyTorch's."""


class FrontEntry(Model):
    """A result that no other beats in every objective."""

    trial: Annotated[str, StringConstraints(max_length=63)]
    """The trial that found it."""
    genotype_id: Annotated[str, StringConstraints(max_length=64)]
    """Short hash of the genotype."""
    metrics: Annotated[dict[str, float], Field(max_length=64)]
    """The objectives' values."""


class Usage(Model):
    """What the search has used."""

    gpu_hours: float = 0.0
    """Accelerator hours, of running trials as far as they were written down last."""
    estimated_cost: float | None = None
    """Accelerator hours times the price of one, where a price is given."""


class DefaultChoice(Model):
    """What was chosen where the spec says nothing, and why."""

    field: Annotated[str, StringConstraints(max_length=64)]
    """The field of the spec."""
    value: Annotated[str, StringConstraints(max_length=128)]
    """What was chosen; reproducibility.settingsAfterDefaults has all of it."""
    reason: Annotated[str, StringConstraints(max_length=512)]
    """Why."""


class Reproducibility(Model):
    """What is needed to run it again."""

    seed: int
    """The seed."""
    space_hash: Annotated[str, StringConstraints(max_length=64)]
    """Hash of the space: two searches with the same one can share results."""
    image_digest: Annotated[str, StringConstraints(max_length=512)] = ""
    """The trial image as it ran."""
    operator_version: Annotated[str, StringConstraints(max_length=64)]
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
    start_time: Timestamp | None = None
    """When the operator first saw the search."""
    completion_time: Timestamp | None = None
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
    defaults: Annotated[tuple[DefaultChoice, ...], Field(max_length=8)] = ()
    """What was chosen where the spec says nothing, and why."""
    reproducibility: Reproducibility | None = None
    """What is needed to run it again."""
