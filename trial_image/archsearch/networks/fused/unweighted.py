"""The operations without weights: pools, and the skip connection with stride 1. All edges of a state share them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Protocol

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from archsearch.networks.fused.convolutions import depthwise
from archsearch.networks.fused.maps import channels_last
from archsearch.networks.fused.norms import Normalised, Statistics

aten: Final[Any] = torch.ops.aten


class Shared(Protocol):
    """An operation after its forward pass. output: what each edge takes, times its mixing weight."""

    @property
    def output(self) -> Tensor: ...  # noqa: D102 - described by the class

    def backward(self, gradient: Tensor, state: Tensor) -> Tensor:
        """The gradient by the state, from that by the output."""
        ...


@dataclass(frozen=True)
class Skip:
    """The state itself."""

    output: Tensor

    @classmethod
    def run(cls, state: Tensor, _stride: int, _norms: Sequence[nn.BatchNorm2d], _statistics: Statistics) -> Skip:
        """Nothing is computed."""
        return cls(state)

    def backward(self, gradient: Tensor, state: Tensor) -> Tensor:  # noqa: ARG002 - as Shared has it
        """The gradient itself."""
        return gradient


@dataclass(frozen=True)
class MaxPool:
    """The largest of 3 x 3 pixels, normalised. indices: where it was."""

    output: Tensor
    deviation: Tensor
    epsilon: float
    stride: int
    indices: Tensor

    @classmethod
    def run(cls, state: Tensor, stride: int, norms: Sequence[nn.BatchNorm2d], statistics: Statistics) -> MaxPool:
        """norms: of all edges."""
        pooled, indices = aten.max_pool2d_with_indices(state, [3, 3], [stride] * 2, [1, 1])
        output, normalised = statistics.normalise(channels_last(pooled), norms)
        return cls(output, normalised.deviation, normalised.epsilon, stride, channels_last(indices))

    def backward(self, gradient: Tensor, state: Tensor) -> Tensor:
        """As Shared has it."""
        gradient = _before_norm(gradient, self.output, self.deviation, self.epsilon)
        found: Tensor = aten.max_pool2d_with_indices_backward(
            gradient, state, [3, 3], [self.stride] * 2, [1, 1], [1, 1], False, self.indices
        )
        return found


@dataclass(frozen=True)
class AveragePool:
    """The mean of those of 3 x 3 pixels that are in the map, normalised."""

    output: Tensor
    deviation: Tensor
    epsilon: float
    stride: int

    @classmethod
    def run(cls, state: Tensor, stride: int, norms: Sequence[nn.BatchNorm2d], statistics: Statistics) -> AveragePool:
        """norms: of all edges."""
        # As a convolution it is faster than torch's pool, but there are many places only with stride 1.
        pooled = _sums(state).mul_(_shares(state)) if stride == 1 else F.avg_pool2d(state, 3, stride, 1, False, False)
        output, normalised = statistics.normalise(channels_last(pooled), norms)
        return cls(output, normalised.deviation, normalised.epsilon, stride)

    def backward(self, gradient: Tensor, state: Tensor) -> Tensor:
        """As Shared has it."""
        gradient = _before_norm(gradient, self.output, self.deviation, self.epsilon)
        if self.stride == 1:
            return _sums(gradient.mul_(_shares(gradient)))
        found: Tensor = aten.avg_pool2d_backward(gradient, state, [3, 3], [2, 2], [1, 1], False, False, None)
        return found


Run = Callable[[Tensor, int, Sequence[nn.BatchNorm2d], Statistics], Shared]
SHARED: Final[dict[str, Run]] = {
    "max_pool_3x3": MaxPool.run,
    "avg_pool_3x3": AveragePool.run,
    "skip_connect": Skip.run,
}
"""By the name of the operation; the skip connection with stride 1."""


def _before_norm(gradient: Tensor, output: Tensor, deviation: Tensor, epsilon: float) -> Tensor:
    """The gradient by what a normalisation without scale has normalised, from its output, which is normal itself."""
    zeros, ones = torch.zeros_like(deviation), torch.ones_like(deviation)
    found, _ = Normalised(output, deviation, zeros, ones, epsilon).backward(gradient, by_input=True, by_scale=False)
    return found


def _sums(x: Tensor) -> Tensor:
    """The sums of 3 x 3 pixels."""
    return depthwise(x, x.new_ones(x.shape[1], 1, 3, 3))


def _shares(like: Tensor) -> Tensor:
    """One over the number of pixels in the map that a pool sees, for every pixel: (1, C, H, W)."""
    return _shares_of(tuple(like.shape[1:]), like.dtype)


@lru_cache(maxsize=16)
def _shares_of(shape: tuple[int, int, int], dtype: torch.dtype) -> Tensor:
    _, height, width = shape
    ones = torch.ones(1, 1, height, width, dtype=dtype)
    return channels_last(depthwise(ones, ones.new_ones(1, 1, 3, 3)).reciprocal().expand(1, *shape))
