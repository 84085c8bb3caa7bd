"""The two halves of the training images, in batches that follow from the seed and the place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from archsearch.evaluation.seeds import generator
from archsearch.supernets.mixing import Half
from archsearch.tasks import Split

Prepare = Callable[[Tensor, torch.Generator], Tensor]
"""The network's input from a batch of a split's images: normalised, and changed at random with the generator."""

PLACES: Final[dict[Half, int]] = {"Weights": 1, "Architecture": 2}
"""What the random numbers of a place are for; 0 and those from 3 on are the trainer's."""


@dataclass(frozen=True)
class Batch:
    """Inputs (B, C, H, W) and labels (B,)."""

    images: Tensor
    labels: Tensor


class Halves:
    """Full batches of both halves; a half that is too small for the epoch's steps starts again.

    An epoch is one pass over `weights` in full batches; what a batch would leave over changes from epoch to epoch.
    """

    def __init__(
        self, weights: Split, architecture: Split, batch: int, *, seed: int, prepare: Prepare, device: torch.device
    ) -> None:
        self.batch = min(batch, len(weights), len(architecture))
        self.steps = len(weights) // self.batch
        self._splits: dict[Half, Split] = {"Weights": weights.to(device), "Architecture": architecture.to(device)}
        self._seed, self._prepare, self._device = seed, prepare, device
        self._orders: tuple[int, dict[Half, Tensor]] = (-1, {})  # of one epoch

    def take(self, half: Half, epoch: int, step: int) -> Batch:
        """The batch of a step."""
        split, place = self._splits[half], PLACES[half]
        index = self._order(epoch)[half][(step * self.batch + torch.arange(self.batch)) % len(split)].to(self._device)
        images = self._prepare(split.images[index], generator(self._seed, epoch, step, place))
        return Batch(images.contiguous(memory_format=torch.channels_last), split.labels[index])

    def _order(self, epoch: int) -> dict[Half, Tensor]:
        if self._orders[0] != epoch:
            self._orders = (
                epoch,
                {
                    half: torch.randperm(len(split), generator=generator(self._seed, epoch, PLACES[half]))
                    for half, split in self._splits.items()
                },
            )
        return self._orders[1]
