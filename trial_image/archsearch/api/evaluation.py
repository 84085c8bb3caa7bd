"""How an architecture that a searcher proposes is evaluated: what one trial of the search stage does."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from archsearch.api.base import MAX_BATCH, Epochs, Fraction, Model, OneOf, Rule
from archsearch.api.metrics import Metric
from archsearch.api.training import VolumeSource
from archsearch.api.weight_sharing import SharedWeights

ScoreName = Literal[
    "gradNorm", "snip", "grasp", "synflow", "fisher", "jacobCov", "naswot", "zico", "parameters", "flops"
]
"""Scores of a network at initialisation, the larger the better."""
Batch = Annotated[int, Field(ge=1, le=MAX_BATCH)]


class Prefilter(Model):
    """Score several proposals at initialisation and train only the best of them, in the same trial."""

    score: ScoreName = "synflow"
    """The score. None ranks the cells of NAS-Bench-201 better than `parameters` does, which is the cheapest; `synflow`
    and `naswot` do as well (benchmarks/README.md)."""
    keep: Fraction = "0.1"
    """The share that is trained, between 0.02 and 0.5: at 0.1 the best of ten is."""

    rules = (
        Rule(
            expression="!isQuantity(self.keep) || (quantity(self.keep).compareTo(quantity('0.02')) >= 0 && "
            "quantity(self.keep).compareTo(quantity('0.5')) <= 0)",
            message="keep must be between 0.02 and 0.5",
            field_path=".keep",
        ),
    )
    checks = (
        lambda self: None if 0.02 <= float(self.keep) <= 0.5 else
        f"keep must be between 0.02 and 0.5, but got {self.keep}",
    )  # fmt: skip

    @property
    def pool(self) -> int:
        """Proposals of which one is trained."""
        return round(1 / float(self.keep))


class Halving(Model):
    """Train many for a short time and only the best of them for longer, without waiting for stragglers (ASHA, Li et
    al. 2020). Every step of that ladder is a trial of its own."""

    min_epochs: Epochs = 1
    """Epochs of the first step."""
    reduction: Annotated[int, Field(ge=2, le=10)] = 3
    """One in so many goes on, and is trained so many times as long."""
    brackets: Annotated[int, Field(ge=1, le=8)] = 1
    """One is successive halving. More are Hyperband (Li et al. 2018): a part of the architectures starts higher up."""


class TrainEvaluation(Model):
    """Train the architecture's search network from scratch."""

    epochs: Epochs = 20
    """Epochs of a full training."""
    fidelities: Annotated[tuple[Epochs, ...], Field(max_length=4)] = ()
    """Epochs of shorter trainings, ascending, that a searcher may ask for first. `gaussianProcess` learns how far to
    trust them; the others do not use them."""
    prefilter: Prefilter | None = None
    """Score several proposals at initialisation and train the best of them only."""
    halving: Halving | None = None
    """Stop what does not look promising: successive halving or Hyperband, on top of any searcher."""

    rules = (
        Rule(
            expression="size(self.fidelities) == 0 || self.fidelities.all(f, f < self.epochs)",
            message="fidelities must be below epochs",
            field_path=".fidelities",
        ),
        Rule(
            expression="size(self.fidelities) < 2 || self.fidelities.isSorted()",
            message="fidelities must be in ascending order",
            field_path=".fidelities",
        ),
        Rule(
            expression="!has(self.halving) || size(self.fidelities) == 0",
            message="fidelities must not be set with halving, which has its own steps",
            field_path=".fidelities",
        ),
        Rule(
            expression="!has(self.halving) || self.halving.minEpochs < self.epochs",
            message="halving.minEpochs must be below epochs",
            field_path=".halving.minEpochs",
        ),
    )
    checks = (
        lambda self: None if all(item < self.epochs for item in self.fidelities) else
        f"fidelities must be below epochs ({self.epochs}), but got {list(self.fidelities)}",
        lambda self: None if list(self.fidelities) == sorted(self.fidelities) else
        f"fidelities must be in ascending order, but got {list(self.fidelities)}",
        lambda self: None if self.halving is None or not self.fidelities else
        "fidelities must not be set with halving, which has its own steps",
        lambda self: None if self.halving is None or self.halving.min_epochs < self.epochs else
        f"halving.minEpochs must be below epochs ({self.epochs}), but got {self.halving.min_epochs}",
    )  # fmt: skip

    @property
    def ladder(self) -> tuple[int, ...]:
        """The epochs of all trainings that can be asked for, ascending; the last is the full one."""
        if self.halving is None:
            return (*dict.fromkeys(self.fidelities), self.epochs)
        steps, epochs = [], self.epochs
        while epochs >= self.halving.min_epochs:
            steps.append(epochs)
            epochs //= self.halving.reduction
            if epochs == 0:
                break
        return tuple(reversed(steps))


class ZeroCost(Model):
    """Score the architecture's search network at initialisation, without training it. The score is what is searched
    by; what the best are worth is known when they are retrained."""

    score: ScoreName = "synflow"
    """The score. None ranks the cells of NAS-Bench-201 better than `parameters` does, which is the cheapest; `synflow`
    and `naswot` do as well (benchmarks/README.md). `zico` needs two batches."""
    batch_size: Annotated[int, Field(ge=2, le=1024)] = 64
    """Images a batch."""
    batches: Annotated[int, Field(ge=1, le=64)] = 2
    """Batches that the score is taken over."""
    architectures_per_trial: Batch = 32
    """Architectures that one trial scores."""

    rules = (
        Rule(expression="self.score != 'zico' || self.batches > 1", message="batches must be at least 2 for zico",
             field_path=".batches"),
    )  # fmt: skip
    checks = (
        lambda self: None if self.score != "zico" or self.batches > 1 else
        f"batches must be at least 2 for zico, but got {self.batches}",
    )  # fmt: skip


Column = Annotated[str, StringConstraints(min_length=1, max_length=128)]


class TableColumn(Model):
    """A metric's column."""

    metric: Metric
    """The metric."""
    column: Column
    """The column's name in the table's first line."""
    percent: bool = False
    """The column holds hundredths: 93.5 for an accuracy of 0.935."""


class Tabular(Model):
    """Look the architecture up in a table of results, a benchmark for instance. Nothing is trained while searching."""

    volume: VolumeSource
    """A CSV file with a first line of names, plain or as .csv.gz."""
    architecture_column: Column = "architecture"
    """The column that names the architecture: its values as JSON, or the notation of NAS-Bench-201."""
    columns: Annotated[tuple[TableColumn, ...], Field(min_length=1, max_length=16)]
    """The metrics that the table has. Objectives must be among them."""
    architectures_per_trial: Batch = 1
    """Architectures that one trial looks up."""

    rules = (
        Rule(
            expression="self.columns.all(c, self.columns.exists_one(d, d.metric == c.metric))",
            message="columns must have different metrics",
            field_path=".columns",
        ),
    )
    checks = (
        lambda self: None if len({c.metric for c in self.columns}) == len(self.columns) else
        f"columns must have different metrics, but got {', '.join(c.metric for c in self.columns)}",
    )  # fmt: skip


class Evaluation(OneOf):
    """How the architectures that a searcher proposes are evaluated."""

    train: TrainEvaluation | None = None
    """Train each from scratch, for a while."""
    shared_weights: SharedWeights | None = None
    """Train one supernet first, and evaluate each with the weights that it inherits."""
    zero_cost: ZeroCost | None = None
    """Score each at initialisation."""
    tabular: Tabular | None = None
    """Look each up in a table."""

    @property
    def batch(self) -> int:
        """Proposals that each trial is given."""
        settings = self.member[1]
        if isinstance(settings, TrainEvaluation):
            return settings.prefilter.pool if settings.prefilter else 1
        return int(settings.architectures_per_trial)

    @property
    def fidelities(self) -> tuple[float, ...]:
        """The shares of the full evaluation that a searcher may ask for, ascending; the last is 1."""
        if self.train is None:
            return (1.0,)
        return tuple(epochs / self.train.epochs for epochs in self.train.ladder)
