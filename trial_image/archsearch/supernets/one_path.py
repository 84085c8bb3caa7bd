"""Training of shared weights one path at a time: which architectures a step trains, and what it trains them on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from torch import Tensor

from archsearch.api.base import ChoiceValue
from archsearch.evaluation.trainer import Place
from archsearch.networks import SpaceNetwork
from archsearch.spaces import Space
from archsearch.tasks import Split, TaskData

Path = Mapping[str, ChoiceValue]
"""An option for each choice. Those of choices that are not active are not looked at."""
PATHS = 5
"""What the random numbers of a place are for."""


@dataclass(frozen=True)
class OnePath:
    """The passes of one step of a `Trainer` of shared weights.

    sampling: see `api.weight_sharing.SharedWeights`. The gradients of a step's paths are added up and taken as one;
    operations that none of them uses get no gradient at all, and so neither momentum nor weight decay.
    Raises ValueError for Sandwich where a choice is not between numbers: nothing else is larger or smaller.
    """

    space: Space
    network: SpaceNetwork
    data: TaskData
    sampling: Literal["Uniform", "Fair", "Sandwich"]
    random_paths: int = 2
    distillation: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        words = [choice.name for choice in self.space.choices if not isinstance(choice.options[0], int)]
        if self.sampling == "Sandwich" and words:
            raise ValueError(f"sampling Sandwich must be on choices between numbers, but {words[0]} is none")

    def __call__(self, batch: Split, place: Place) -> tuple[Tensor, Tensor]:
        """Adds the gradients of all paths; returns the loss and the outputs of the first one."""
        paths = self.paths(place)
        first: tuple[Tensor, Tensor] | None = None
        teacher: Tensor | None = None
        for path in paths:
            outputs = self.network(batch.inputs, path)
            loss = self.data.loss(outputs, batch.targets) if teacher is None else self.data.imitation(outputs, teacher)
            (loss / len(paths)).backward()  # type: ignore[no-untyped-call]
            if first is None:
                first = loss.detach(), outputs.detach()
                teacher = first[1] if self.distillation else None
        assert first is not None  # noqa: S101 - there is always a path
        return first

    def paths(self, place: Place) -> Sequence[Path]:
        """The architectures that a step trains; of Sandwich the largest comes first."""
        rng = np.random.default_rng([self.seed, *place, PATHS])
        if self.sampling == "Fair":
            return self._fair(rng)
        if self.sampling == "Uniform":
            return [self._drawn(rng)]
        return [
            {choice.name: max(choice.options) for choice in self.space.choices},
            {choice.name: min(choice.options) for choice in self.space.choices},
            *(self._drawn(rng) for _ in range(self.random_paths)),
        ]

    def _drawn(self, rng: np.random.Generator) -> Path:
        """Every choice on its own, as Guo et al. (2020, section 3.1) do: uniformly over architectures the options that
        open little, such as a small depth, would hardly be trained."""
        return {choice.name: choice.options[int(rng.integers(len(choice.options)))] for choice in self.space.choices}

    def _fair(self, rng: np.random.Generator) -> Sequence[Path]:
        """As many paths as the largest choice has options; each choice goes through its own in an order of its own."""
        rounds = max(len(choice.options) for choice in self.space.choices)
        orders = {choice.name: rng.permutation(len(choice.options)) for choice in self.space.choices}
        return [
            {c.name: c.options[int(orders[c.name][at % len(c.options)])] for c in self.space.choices}
            for at in range(rounds)
        ]
