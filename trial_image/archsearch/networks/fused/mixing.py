"""A pointwise convolution and the normalisation of what it gives, forward and backward by hand, in two ways.

Both are exact in exact arithmetic. With many channels the convolution's arithmetic counts, and it is done once. With
few of them what counts is how often a map is gone over, and the normalisation is made part of the convolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from archsearch.networks.fused import convolutions
from archsearch.networks.fused.maps import inner, joint, outer, rows, total
from archsearch.networks.fused.norms import Normalised, Statistics
from archsearch.networks.fused.state import Total

NARROW: Final = 16
"""Up to so many channels the normalisation is made part of the convolution, one edge at a time."""


class Wanted(NamedTuple):
    """Which gradients are asked for: by the state, by the weights, by the mixing weights."""

    state: bool
    weights: bool
    mix: bool

    @property
    def beyond(self) -> bool:
        """Whether the gradient goes on through the last normalisation."""
        return self.state or self.weights


class Found(NamedTuple):
    """Gradients: by what the convolution sees, by its weight, by the scale. What is not asked for is None."""

    by_input: Tensor | None
    by_weight: Tensor | None
    by_scale: Tensor | None


class Gradient:
    """The gradient by a map. Its sums are asked for when the map does not change any more."""

    def __init__(self, by_map: Tensor) -> None:
        self.map = by_map

    @cached_property
    def total(self) -> Tensor:
        """Its sum over all pixels, (C,): many ask for that of a node."""
        return total(self.map)


class Task(NamedTuple):
    """What is computed. scale: what the normalised map is multiplied by, (C,); none for 1. keeps: whether the gradient
    of the weight is going to be asked for. norms: of all edges, whose maps lie beside each other.
    """

    weight: Tensor
    edges: int
    norms: Sequence[nn.BatchNorm2d]
    scale: Tensor | None
    keeps: bool


class Mixing(Protocol):
    """What is remembered of it until the gradient is asked for."""

    def backward(self, gradient: Gradient, wanted: Wanted) -> Found:
        """The gradients, from that of what was added to the total."""
        ...


def mix(x: Tensor, task: Task, statistics: Statistics, target: Total) -> Mixing:
    """Add the convolved and normalised map to the target."""
    narrow = task.edges == 1 and task.weight.shape[1] <= NARROW
    return (Folded if narrow else Apart).run(x, task, statistics, target)


@dataclass(frozen=True)
class Apart:
    """The convolution, then the normalisation. x: what the convolution saw, where it is kept."""

    x: Tensor | None
    weight: Tensor
    edges: int
    normalised: Normalised

    @classmethod
    def run(cls, x: Tensor, task: Task, statistics: Statistics, target: Total) -> Apart:
        """See `mix`."""
        mixed = convolutions.pointwise(x, task.weight, task.edges)
        output, normalised = statistics.normalise(mixed, task.norms, task.scale)
        target.give(output)
        return cls(x if task.keeps else None, task.weight, task.edges, normalised)

    def backward(self, gradient: Gradient, wanted: Wanted) -> Found:
        """As Mixing has it."""
        before, by_scale = self.normalised.backward(gradient.map, by_input=wanted.beyond, by_scale=wanted.mix)
        if not wanted.beyond:
            return Found(None, None, by_scale)
        by_input = convolutions.pointwise_input_gradient(before, self.weight, self.edges)
        if self.x is None:
            return Found(by_input, None, by_scale)
        return Found(by_input, convolutions.pointwise_weight_gradient(before, self.x, self.edges), by_scale)


@dataclass(frozen=True)
class Folded:
    """One convolution whose weights are such that what it gives is normalised.

    With the input's mean m and covariance S, a row w of the weight gives mean w m and variance w S w'. So nothing but
    the input is gone over to find the statistics, and the map between the two is never made, in neither direction.

    x: what the convolution saw. mean: its own, (C,). covariant: weight x covariance. deviation: one over the standard
    deviation of what is normalised. strength: that, times the scale. folded: the weight, times the strength. keeps: as
    in Task.
    """

    x: Tensor
    weight: Tensor
    mean: Tensor
    covariant: Tensor
    deviation: Tensor
    strength: Tensor
    folded: Tensor
    keeps: bool

    @classmethod
    def run(cls, x: Tensor, task: Task, statistics: Statistics, target: Total) -> Folded:
        """See `mix`."""
        weight, pixels = task.weight[:, :, 0, 0], x.numel() // x.shape[1]
        mean = total(x) / pixels
        covariance = torch.addr(joint(x, x), mean, mean, beta=1 / pixels, alpha=-1)
        covariant = weight @ covariance
        variance = (covariant * weight).sum(1).clamp_(min=0)  # rounding could leave less than nothing
        deviation = (variance + statistics.epsilon).rsqrt_()
        statistics.note(task.norms, weight @ mean, variance * (pixels / max(1, pixels - 1)))
        strength = deviation if task.scale is None else deviation * task.scale
        folded = weight * strength[:, None]
        target.add_product(x, folded, -(folded @ mean))
        return cls(x, weight, mean, covariant, deviation, strength, folded, task.keeps)

    def backward(self, gradient: Gradient, wanted: Wanted) -> Found:
        """As Mixing has it."""
        # The sum over all pixels of the gradient times the input's distance from its mean.
        moved = torch.addr(joint(gradient.map, self.x), gradient.total, self.mean, alpha=-1)
        by_scale = (moved * self.weight).sum(1).mul_(self.deviation)
        if not wanted.beyond:
            return Found(None, None, by_scale)
        pixels = self.x.numel() // self.x.shape[1]
        curve = by_scale * self.deviation  # how the deviation moves with the weight
        back = self.folded.t() @ (self.weight * (curve / pixels)[:, None])
        constant = back.t() @ self.mean - self.folded.t() @ gradient.total / pixels
        by_input = torch.addmm(constant, rows(gradient.map), self.folded).addmm_(rows(self.x), back, alpha=-1)
        by_weight = None
        if self.keeps:
            by_weight = (moved - curve[:, None] * self.covariant).mul_(self.strength[:, None])[:, :, None, None]
        return Found(outer(by_input.view(inner(self.x).shape)), by_weight, by_scale)
