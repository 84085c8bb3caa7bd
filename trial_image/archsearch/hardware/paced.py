"""Latencies of many networks that can be compared, though the machine's speed changes while they are measured."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from archsearch.api.search import Profile
from archsearch.hardware.device import found_device
from archsearch.hardware.measure import batch_of, on_device, seconds_of
from archsearch.networks.inputs import Inputs


class Paced:
    """Runs each network by turns with a reference network, and compares each run with the one beside it.

    The clock of a processor changes with its temperature, and the speed of a virtual machine with its neighbours, by a
    third within seconds. What slows one run slows the next: their ratio stays.
    """

    def __init__(
        self,
        reference: nn.Module,
        inputs: Inputs,
        profile: Profile,
        device: torch.device | None = None,
    ) -> None:
        """inputs: examples of what networks take. profile: says how many are a batch, and how many runs there are."""
        device = device or found_device()
        self._profile, self._device = profile, device
        self._reference = on_device(reference, device)
        self._batch = batch_of(inputs, profile, device)
        self._references: list[float] = []

    def __call__(self, network: nn.Module) -> float:
        """The network's latency as a multiple of the reference's: the median of all pairs of runs."""
        network = on_device(network, self._device)
        pairs = np.empty((self._profile.iterations, 2))
        with torch.inference_mode():
            for _ in range(self._profile.warmup):
                network(self._batch)
                self._reference(self._batch)
            for index in range(len(pairs)):
                pairs[index] = [seconds_of(each, self._batch) for each in (network, self._reference)]
        self._references.append(float(np.median(pairs[:, 1])))
        return float(np.median(pairs[:, 0] / pairs[:, 1]))

    @property
    def reference(self) -> float:
        """Milliseconds of the reference at the median of all speeds so far."""
        return 1000 * float(np.median(self._references))
