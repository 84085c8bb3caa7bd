"""What all networks of a space have in common: how they are called, and the sum that makes a node."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import reduce

import torch
from torch import Tensor, nn

from archsearch.networks.chooser import Alternatives, Mix
from archsearch.networks.inputs import Inputs
from archsearch.networks.operations import Operation


class SpaceNetwork(nn.Module):
    """From a batch of inputs to outputs, as a signature says. A supernet takes the mix of its choices as well.

    The mix is no parameter: a network has weights, and whoever trains it decides what is mixed.
    """

    def forward(self, inputs: Inputs, mix: Mix | None = None) -> Tensor:
        """The outputs, for images the logits (N, classes)."""
        raise NotImplementedError


class StagedNetwork(SpaceNetwork):
    """A stem, stages of cells with a reduction before each but the first, and a head: subclasses build these."""

    stem: nn.Module
    reductions: nn.ModuleList
    stages: nn.ModuleList
    last: nn.Module
    classifier: nn.Module

    def forward(self, inputs: Inputs, mix: Mix | None = None) -> Tensor:
        """(N, image_channels, H, W) -> (N, classes)."""
        x = self.stem(inputs)
        for index, stage in enumerate(self.stages):
            if index:
                x = self.reductions[index - 1](x)
            for cell in stage:  # type: ignore[attr-defined]
                x = cell(x, mix)
        logits: Tensor = self.classifier(self.last(x))
        return logits


def alternatives(
    operations: dict[str, Operation], names: Iterable[str], channels: int, stride: int, affine: bool
) -> Alternatives:
    """How to build each of the named operations for one place in a network."""

    def builder(name: str) -> Callable[[int], nn.Module]:
        return lambda width: operations[name](width, stride, affine)

    return Alternatives({name: builder(name) for name in names}, channels, stride)


def weighted_sum(mix: Mix | None, name: str, terms: Mapping[int, Tensor]) -> Tensor:
    """The sum of a node's inputs, by predecessor, with the weights that the mix has for the choice of inputs."""
    weights = mix.get(name) if mix else None
    if isinstance(weights, Tensor):
        return add(weights[source] * term for source, term in terms.items())
    return add(terms.values())


def weighed(share: Tensor | float, x: Tensor) -> Tensor:
    """What a share of a value adds to a sum; all of it where nothing is mixed."""
    return share * x if isinstance(share, Tensor) else x


def add(terms: Iterable[Tensor]) -> Tensor:
    """The sum of at least one tensor."""
    return reduce(torch.add, terms)
