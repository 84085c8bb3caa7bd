"""Batch normalisation in training mode, forward and backward by hand, for many normalisations at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any, Final

import torch
from torch import Tensor, nn

aten: Final[Any] = torch.ops.aten


@dataclass(frozen=True)
class Normalised:
    """What the gradient of a normalisation needs. scale: what its output is multiplied by, (C,); none for 1.

    deviation: one over the standard deviation, (C,).
    """

    x: Tensor
    scale: Tensor | None
    mean: Tensor
    deviation: Tensor
    epsilon: float

    def backward(self, gradient: Tensor, *, by_input: bool, by_scale: bool) -> tuple[Tensor, Tensor]:
        """The gradients by the input and by the scale. What is not asked for is no tensor to look at."""
        found: tuple[Tensor, Tensor, Tensor] = aten.native_batch_norm_backward(
            gradient, self.x, self.scale, None, None, self.mean, self.deviation, True, self.epsilon,
            [by_input, by_scale, False],
        )  # fmt: skip
        return found[0], found[1]


class Statistics:
    """Normalises, and collects what the batch normalisations of a cell remember of one pass.

    norms: of the cell. Their settings are equal.
    """

    def __init__(self, norms: Sequence[nn.BatchNorm2d]) -> None:
        self.epsilon = norms[0].eps
        self._remember, self._momentum = norms[0].track_running_stats, norms[0].momentum
        self._norms: list[nn.BatchNorm2d] = []
        self._means: list[Tensor] = []
        self._variances: list[Tensor] = []

    def normalise(
        self, x: Tensor, norms: Sequence[nn.BatchNorm2d], scale: Tensor | None = None
    ) -> tuple[Tensor, Normalised]:
        """The normalised map, and what its gradient needs.

        norms: of the maps that lie beside each other in `x`; or of several places that all normalise the same map.
        """
        mean, variance = (x.new_zeros(x.shape[1]) for _ in range(2)) if self._remember else (None, None)
        # All of the batch's own statistics, which are remembered later, each in its place.
        output, centre, deviation = aten.native_batch_norm(x, scale, None, mean, variance, True, 1.0, self.epsilon)
        if mean is not None and variance is not None:
            self.note(norms, mean, variance)
        return output, Normalised(x, scale, centre, deviation, self.epsilon)

    def note(self, norms: Sequence[nn.BatchNorm2d], mean: Tensor, variance: Tensor) -> None:
        """Collect what the norms are going to remember, of what `normalise` has it. variance: unbiased."""
        if self._remember:
            count = mean.shape[0] // norms[0].num_features
            self._norms += norms
            for _, one, other in zip(norms, cycle(mean.chunk(count)), cycle(variance.chunk(count)), strict=False):
                self._means.append(one)
                self._variances.append(other)

    def remember(self) -> None:
        """Move the running statistics."""
        if self._norms:
            foreach: Any = torch
            foreach._foreach_lerp_([norm.running_mean for norm in self._norms], self._means, self._momentum)
            foreach._foreach_lerp_([norm.running_var for norm in self._norms], self._variances, self._momentum)
            foreach._foreach_add_([norm.num_batches_tracked for norm in self._norms], 1)
