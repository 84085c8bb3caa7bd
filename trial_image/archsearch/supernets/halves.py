"""The two halves of the training examples, in batches that follow from the seed and the place."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from archsearch.evaluation.seeds import generator
from archsearch.supernets.mixing import Half
from archsearch.tasks import Split, TaskData

PLACES: Final[dict[Half, int]] = {"Weights": 1, "Architecture": 2}
"""What the random numbers of a place are for; 0 and those from 3 on are the trainer's."""


class Halves:
    """Full batches of both halves; a half that is too small for the epoch's steps starts again.

    An epoch is one pass over `data.weights` in full batches; what a batch would leave over changes from epoch to epoch.
    """

    def __init__(self, data: TaskData, batch: int, *, seed: int, device: torch.device) -> None:
        self.batch = min(batch, len(data.weights), len(data.architecture))
        self.steps = len(data.weights) // self.batch
        self._splits: dict[Half, Split] = {
            "Weights": data.weights.to(device),
            "Architecture": data.architecture.to(device),
        }
        self._data, self._seed, self._device = data, seed, device
        self._orders: tuple[int, dict[Half, Tensor]] = (-1, {})  # of one epoch

    def take(self, half: Half, epoch: int, step: int) -> Split:
        """The batch of a step, changed at random and prepared."""
        split, place = self._splits[half], PLACES[half]
        index = self._order(epoch)[half][(step * self.batch + torch.arange(self.batch)) % len(split)].to(self._device)
        return self._data.prepare(split.at(index), generator(self._seed, epoch, step, place))

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
