"""What all networks of a space have in common: how they are called, and the sum that makes a node."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial, reduce

import torch
from torch import Tensor, nn

from archsearch.networks.chooser import Alternatives, Mix
from archsearch.networks.operations import Operation


class SpaceNetwork(nn.Module):
    """Images (N, C, H, W) to logits (N, classes). A supernet takes the mixing weights of its choices as well.

    The mixing weights are no parameters: a network has weights, and whoever trains it decides what is mixed.
    """

    def forward(self, images: Tensor, mix: Mix | None = None) -> Tensor:
        """The logits."""
        raise NotImplementedError


def alternatives(
    operations: dict[str, Operation], names: Iterable[str], channels: int, stride: int, affine: bool
) -> Alternatives:
    """How to build each of the named operations for one place in a network."""
    return {name: partial(operations[name], channels, stride, affine) for name in names}


def add(terms: Iterable[Tensor]) -> Tensor:
    """The sum of at least one tensor."""
    return reduce(torch.add, terms)
