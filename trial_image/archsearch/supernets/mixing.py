"""From architecture weights to mixing weights: small functions, so that methods are combinations of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Moment:
    """Where the search stands. generator: new for every pass of a step, so that all passes see the same noise."""

    epoch: int
    epochs: int
    generator: torch.Generator


Mixing = Callable[[Tensor, Moment], Tensor]
"""The mixing weights of a choice from its architecture weights; differentiable, one number an alternative."""
Regulariser = Callable[[Mapping[str, Tensor], Moment], Tensor]
"""A term of the architecture's loss from the architecture weights of all choices."""


def softmax(alpha: Tensor, _moment: Moment) -> Tensor:
    """The mixing of DARTS (Liu et al. 2019, equation 2)."""
    return torch.softmax(alpha, dim=-1)


def entropy(mix: Mapping[str, Tensor]) -> float:
    """The mean entropy of the mixing weights in nats: log(alternatives) where undecided, 0 where decided."""
    each = [torch.special.entr(weights.double()).sum() for weights in mix.values()]
    return float(torch.stack(each).mean().detach())
