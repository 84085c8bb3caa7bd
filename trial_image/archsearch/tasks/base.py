"""What every task hands to training: data in memory, split by purpose, what is to be learnt, and how it is judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from archsearch.api.metrics import Metric
from archsearch.api.signature import Signature
from archsearch.networks.inputs import Inputs, each, laid_out, normalised, tensors


class DataError(ValueError):
    """Data that cannot be used. str() names the file, what is wrong, the value, and what to do."""


@dataclass(frozen=True)
class Split:
    """Examples in memory: what networks take, and what they are to answer, (N, ...)."""

    inputs: Inputs
    targets: Tensor

    def __len__(self) -> int:
        return len(self.targets)

    def at(self, index: Tensor | slice) -> Split:
        """The examples at these places."""
        return Split(each(lambda item: item[index], self.inputs), self.targets[index])

    def first(self, count: int) -> Split:
        """The first so many examples."""
        return self.at(slice(count))

    def to(self, device: torch.device) -> Split:
        """The same examples on a device."""
        return Split(each(lambda item: item.to(device), self.inputs), self.targets.to(device))


Call = Callable[[Inputs], Tensor]
"""A network: its outputs for inputs."""


@dataclass(frozen=True)
class TaskData:
    """The data of a task in four parts that share no example, and what is to be learnt from them.

    weights and architecture: the two halves that train a supernet's weights and its architecture weights; together
    they train a network from scratch. selection: chooses between architectures. test: only for the final report.
    files: what else an exported model needs to be used, such as a tokenizer, by name.
    """

    signature: Signature
    weights: Split
    architecture: Split
    selection: Split
    test: Split
    files: Mapping[str, bytes] = field(default_factory=dict, kw_only=True)

    name: ClassVar[str] = "custom"
    """As in a spec."""
    metric: ClassVar[Metric]
    """The field's standard; the larger, the better."""

    @property
    def counts(self) -> int:
        """How many counts say how a batch was answered."""
        raise NotImplementedError

    @property
    def classes(self) -> int:
        """What an answer is one of."""
        return self.signature.classes

    @property
    def training(self) -> Split:
        """All examples that a network may be trained on: weights, then architecture."""
        inputs = [torch.cat(pair) for pair in zip(tensors(self.weights.inputs), tensors(self.architecture.inputs),
                                                  strict=True)]  # fmt: skip
        return Split(
            inputs[0] if isinstance(self.weights.inputs, Tensor) else tuple(inputs),
            torch.cat([self.weights.targets, self.architecture.targets]),
        )

    def prepare(self, batch: Split, changes: torch.Generator | None = None) -> Split:
        """What a network is called with, from some examples: normalised; changed at random before with `changes`."""
        if changes is not None:
            batch = self.augmented(batch, changes)
        batch = self.raw(batch)
        return Split(laid_out(normalised(self.signature, batch.inputs)), batch.targets)

    def raw(self, batch: Split) -> Split:
        """What an exported model is called with, from some examples: as it is in the data, nothing normalised."""
        return batch

    def augmented(self, batch: Split, changes: torch.Generator) -> Split:  # noqa: ARG002 - a task may have none
        """The examples, each changed at random in a way that keeps its answer right."""
        return batch

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """What training lowers: the mean over a batch of the cross-entropy, classes being in dimension 1."""
        return functional.cross_entropy(outputs, targets)

    def imitation(self, outputs: Tensor, teacher: Tensor) -> Tensor:
        """The loss of answering as another network does, whose outputs these are."""
        return functional.cross_entropy(outputs, torch.softmax(teacher, dim=1))

    def tally(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Counts (`counts`,) int64 that say how a batch was answered; those of several batches can be added up."""
        raise NotImplementedError

    def values(self, tally: Tensor) -> dict[str, float]:
        """The metrics by name that follow from such counts."""
        raise NotImplementedError

    def reward(self, outputs: Tensor, targets: Tensor) -> float:
        """How well a batch was answered; the larger, the better."""
        return self.values(self.tally(outputs, targets))[self.metric]

    def meter(self) -> Meter:
        """What measures a network on a split."""
        return Meter(self)


class Meter:
    """Adds up how a network does on batches: the metrics of the task's counts, and the mean loss."""

    def __init__(self, data: TaskData) -> None:
        self._data = data
        self._count = 0
        self._loss: Tensor | float = 0.0
        self._tally: Tensor | None = None

    def add(self, call: Call, batch: Split) -> None:
        """Run the network on a prepared batch."""
        outputs = call(batch.inputs).float()
        self._count += len(batch)
        self._loss = self._loss + self._data.loss(outputs, batch.targets).double() * len(batch)
        tally = self._data.tally(outputs, batch.targets)
        self._tally = tally if self._tally is None else self._tally + tally

    def values(self) -> dict[str, float]:
        """The metrics by name, and `loss`."""
        if self._tally is None:
            raise ValueError("there must be at least one batch to measure, but there was none")
        return {**self._data.values(self._tally), "loss": float(self._loss) / self._count}


@dataclass(frozen=True)
class Labelled(TaskData):
    """One class of several for each example; targets are (N,) int64."""

    metric: ClassVar[Metric] = "accuracy"

    @property
    def counts(self) -> int:
        """Right answers, and all of them."""
        return 2

    def tally(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """How many are right, and how many there are."""
        right = (outputs.argmax(1) == targets).sum()
        return torch.stack([right, torch.full_like(right, len(targets))])

    def values(self, tally: Tensor) -> dict[str, float]:
        """accuracy: the share of right answers."""
        right, count = tally.tolist()
        return {"accuracy": right / count}
