"""`ArchitectureTrial`: the record of one piece of work, and its result for ever."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

from pydantic import Field, FiniteFloat, StringConstraints

from archsearch.api.base import MAX_BATCH, ChoiceValue, Count, Model, ShortName, Timestamp
from archsearch.api.metrics import LARGEST
from archsearch.api.status import Artifact, HardwareProfile

TRIAL_KIND: Final = "ArchitectureTrial"
TRIAL_PLURAL: Final = "architecturetrials"

WorkKind = Literal[
    "Preflight",
    "Propose",
    "Table",
    "SharedWeights",
    "Features",
    "Train",
    "Supernet",
    "Evaluate",
    "Score",
    "Lookup",
    "Profile",
    "Retrain",
    "Export",
]
TrialState = Literal["Pending", "Queued", "Running", "Succeeded", "Failed", "Infeasible", "Stopped"]
FINISHED: Final = frozenset({"Succeeded", "Failed", "Infeasible", "Stopped"})
SEARCH_KINDS: Final = frozenset({"Train", "Supernet", "Evaluate", "Score", "Lookup"})
"""Kinds of work that the search stage is made of, and that the budget counts."""

BATCH_KINDS: Final = frozenset({"Features", "Evaluate", "Score", "Lookup"})
"""Kinds of work that are given several architectures and have a result for each."""
ONE_RESULT_KINDS: Final = SEARCH_KINDS - BATCH_KINDS
"""Kinds of work whose result is one architecture and its metrics."""
REPORTING_KINDS: Final = frozenset({"SharedWeights", "Train", "Supernet", "Retrain"})
"""Kinds of work that show an objective on /metrics while they run."""
MEASURING_KINDS: Final = REPORTING_KINDS | {"Profile"}
"""Kinds of work that show any number on /metrics: at their end they wait until it was scraped."""

ArchitectureMap = Annotated[
    dict[str, ChoiceValue], Field(max_length=512, json_schema_extra={"x-kubernetes-preserve-unknown-fields": True})
]


class WorkInput(Model):
    """A file that an earlier trial wrote."""

    uri: Annotated[str, StringConstraints(max_length=512)]
    """`pvc://CLAIM/PATH`."""
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$", max_length=64)]
    """Checksum of the file."""


class TableInput(WorkInput):
    """A latency table that an earlier trial measured."""

    profile: ShortName
    """The profile that it was measured on."""


class ArchitectureTrialSpec(Model):
    """What is to be done. It never changes."""

    work: WorkKind
    """The kind of work."""
    index: Annotated[int, Field(ge=0, le=1_000_000)]
    """Position among the search's trials of this stage."""
    # Largest integer that every JSON reader keeps exact: a schema's bounds are doubles to the API server.
    seed: Annotated[int, Field(ge=0, le=2**53 - 1)]
    """Everything random in the trial follows from it."""
    architecture: ArchitectureMap | None = None
    """The architecture; absent for work that searches for one, or that is given several."""
    architectures: Annotated[tuple[ArchitectureMap, ...], Field(max_length=MAX_BATCH)] = ()
    """The architectures to evaluate one after the other, or of which one is chosen to be trained."""
    epochs: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """Epochs of training."""
    profile: ShortName | None = None
    """The hardware profile that is measured."""
    observed: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """Results that the searcher had seen when it proposed the architecture."""
    source: Annotated[str, StringConstraints(max_length=63)] | None = None
    """The trial whose architecture this one profiles, retrains or exports."""
    weights: WorkInput | None = None
    """Weights to start from."""
    tables: Annotated[tuple[TableInput, ...], Field(max_length=8)] = ()
    """What is known of latency before anything is measured."""


class CurvePoint(Model):
    """The objective after an epoch."""

    epoch: Count
    """Epochs trained."""
    value: Annotated[FiniteFloat, Field(ge=-LARGEST, le=LARGEST)]
    """The first objective's value on the selection images."""


MAX_EPOCHS: Final = 10_000
"""Most epochs that a spec can ask for; what a container says of its epochs is not believed beyond that."""
MAX_CURVE: Final = 64


def thinned(points: Sequence[CurvePoint]) -> tuple[CurvePoint, ...]:
    """At most as many points as a result may have, evenly spread; the last one always stays."""
    stride = -(-len(points) // MAX_CURVE) or 1
    return tuple(points[::-1][::stride][::-1])


ArchitectureNumber = Annotated[str, StringConstraints(pattern=r"^[0-9]+$", max_length=400)]
MetricMap = Annotated[dict[str, float], Field(json_schema_extra={"maxProperties": 64})]


class TrialResult(Model):
    """What the work came to."""

    metrics: MetricMap = Field(default={})
    """Finite numbers by name."""
    architecture: ArchitectureMap | None = None
    """The architecture that was trained or found."""
    profile: HardwareProfile | None = None
    """What it costs on hardware that was measured."""
    results: Annotated[tuple[MetricMap, ...], Field(max_length=MAX_BATCH)] = ()
    """The metrics of each of the architectures that were given, in their order; empty for one that has no result."""
    proposals: Annotated[tuple[ArchitectureNumber, ...], Field(max_length=MAX_BATCH)] = ()
    """What a searcher in a Job of its own proposes, as numbers of the space: all of them fit in a message."""
    artifacts: Annotated[tuple[Artifact, ...], Field(max_length=16)] = ()
    """Files that were written."""
    curve: Annotated[tuple[CurvePoint, ...], Field(max_length=MAX_CURVE)] = ()
    """The objective over the epochs, thinned to at most 64 points."""


class MetricsReading(Model):
    """What the metrics server said of the trial when it ended."""

    available: bool
    """Whether it agreed with the trial's own result."""
    reason: Annotated[str, StringConstraints(max_length=128)]
    """One word for why."""
    message: Annotated[str, StringConstraints(max_length=1024)] = ""
    """The query, the HTTP status, the age of the last sample."""


class ArchitectureTrialStatus(Model):
    """How it went."""

    state: TrialState = "Pending"
    """Pending, Queued, Running, Succeeded, Failed, Infeasible or Stopped."""
    reason: Annotated[str, StringConstraints(max_length=128)] = ""
    """One word for why."""
    message: Annotated[str, StringConstraints(max_length=2048)] = ""
    """Why, for a person."""
    sequence: Count | None = None
    """Position in the order of completion among the search's trials: what a searcher is replayed with."""
    result: TrialResult | None = None
    """What the work came to."""
    metrics_reading: MetricsReading | None = None
    """What the metrics server said of the trial when it ended."""
    start_time: Timestamp | None = None
    """When the pod started."""
    completion_time: Timestamp | None = None
    """When the pod ended."""
    accelerator_seconds: float = 0.0
    """Run time of all its pods times the accelerators that each asked for."""
    accelerator_seconds_until: Timestamp | None = None
    """The moment up to which acceleratorSeconds counts, where a pod may still run."""
    preemptions: Count = 0
    """Times that a pod was evicted and started again."""
    pod: Annotated[str, StringConstraints(max_length=253)] = ""
    """The pod that was seen last. Another one in its place means that it was evicted."""
    node: Annotated[str, StringConstraints(max_length=253)] = ""
    """The node it ran on."""
    image_digest: Annotated[str, StringConstraints(max_length=512)] = ""
    """The image as it ran."""
    objective: Annotated[str, StringConstraints(max_length=32)] = ""
    """The first objective's value, for the printer column."""


class Trial(Model):
    """A trial as the parts of the program hand it about: its name, what is to be done, and how it went."""

    name: str
    spec: ArchitectureTrialSpec
    status: ArchitectureTrialStatus = ArchitectureTrialStatus()

    @property
    def finished(self) -> bool:
        """Whether its result is recorded."""
        return self.status.state in FINISHED

    def labels(self) -> dict[str, Any]:
        """What distinguishes it in a list."""
        return {"work": self.spec.work, "index": self.spec.index}
