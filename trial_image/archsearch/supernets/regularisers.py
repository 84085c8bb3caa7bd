"""Terms of the architecture's loss: what keeps the architecture weights in check, and what an architecture costs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

import torch
from torch import Tensor
from torch.distributions import Dirichlet, kl_divergence

from archsearch.supernets.mixing import Moment, Schedule, concentration

Regulariser = Callable[[Mapping[str, Tensor], Moment], Tensor]
"""A term that is added to the architecture's loss, from the architecture weights of all operations."""
Expected = Callable[[Mapping[str, Tensor]], Tensor]
"""What a network costs on average, from the probabilities of each choice; differentiable, in any unit above 1."""
Penalty = Callable[[Tensor, Mapping[str, Tensor]], Tensor]
"""The architecture's loss from the loss of the task and the probabilities of each choice."""

CHEAPEST: Final = 1.01
"""Below this the logarithm of a cost would be 0 or less, and no power of it exists."""


def beta_decay(weight: Schedule) -> Regulariser:
    """The mean over choices of logsumexp(alpha): its gradient shrinks what is strong (Ye et al. 2022, equation 13)."""
    return lambda alphas, moment: weight(moment) * _mean(torch.logsumexp(alpha, -1) for alpha in alphas.values())


def zero_one(weight: float) -> Regulariser:
    """Minus the mean squared distance of sigmoid(alpha) from a half (Chu et al. 2020, FairDARTS, equation 4)."""

    def term(alphas: Mapping[str, Tensor], _moment: Moment) -> Tensor:
        every = torch.cat([torch.sigmoid(alpha) for alpha in alphas.values()])
        return -weight * (every - 0.5).square().mean()

    return term


def dirichlet_divergence(weight: float) -> Regulariser:
    """The sum over choices of KL(Dirichlet(elu(alpha) + 1) || Dirichlet(1)) (Chen et al. 2021, DrNAS, section 3.1)."""

    def of(alpha: Tensor) -> Tensor:
        drawn = Dirichlet(concentration(alpha), validate_args=False)
        divergence: Tensor = kl_divergence(drawn, Dirichlet(torch.ones_like(alpha), validate_args=False))
        return divergence

    return lambda alphas, _moment: weight * torch.stack([of(alpha) for alpha in alphas.values()]).sum()


def add_cost(expected: Expected, reference: float, weight: float) -> Penalty:
    """CE + weight x (E / reference - 1)."""
    return lambda loss, mix: loss + weight * (expected(mix) / reference - 1)


def multiply_cost(expected: Expected, scale: float = 0.2, power: float = 0.6) -> Penalty:
    """CE x scale x log(E)^power (Wu et al. 2019, FBNet, equation 2)."""
    return lambda loss, mix: loss * scale * torch.log(expected(mix).clamp_min(CHEAPEST)) ** power


def multiply_log_cost(expected: Expected, reference: float, scale: float = 0.2, power: float = 0.3) -> Penalty:
    """CE x scale x (log E / log reference)^power (ProxylessNAS' published code). ValueError where reference <= 1."""
    if reference <= 1:
        raise ValueError(f"reference must be greater than 1 in the unit of the cost, but got {reference}")
    log = torch.log(torch.tensor(reference, dtype=torch.float64)).item()
    return lambda loss, mix: loss * scale * (torch.log(expected(mix).clamp_min(CHEAPEST)) / log) ** power


def _mean(terms: Iterable[Tensor]) -> Tensor:
    return torch.stack(list(terms)).mean()
