"""From architecture weights to mixing weights: small functions, so that methods are combinations of them.

All noise is drawn on the CPU, from the moment's generator: the same on every device.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

from archsearch.networks import Sparse

Half = Literal["Weights", "Architecture"]
"""Which weights a pass is for."""


@dataclass(frozen=True)
class Moment:
    """Where the search stands. generator: new for every pass of a step, so that all passes see the same noise."""

    epoch: int
    epochs: int
    generator: torch.Generator
    half: Half = "Architecture"


Mixing = Callable[[Tensor, Moment], Tensor | Sparse]
"""The mixing weights of a choice from its architecture weights, one number an alternative; differentiable."""
Schedule = Callable[[Moment], float]
"""A number that follows from the epoch."""


@dataclass(frozen=True)
class Relaxation:
    """How a choice is made continuous.

    probabilities: how strong each alternative is without any noise, from the architecture weights; differentiable.
    sampled: a mix is one operation, without a gradient: the architecture is learnt from the loss alone (REINFORCE).
    settle: what the architecture weights become after their step, from those before, those after and the mix.
    """

    mix: Mixing
    probabilities: Callable[[Tensor], Tensor]
    sampled: bool = False
    settle: Callable[[Tensor, Tensor, Tensor | Sparse], Tensor] | None = None


def softmax(alpha: Tensor, _moment: Moment) -> Tensor:
    """The mixing of DARTS (Liu et al. 2019, equation 2)."""
    return torch.softmax(alpha, dim=-1)


def sigmoid(alpha: Tensor, _moment: Moment) -> Tensor:
    """Operations do not compete (Chu et al. 2020, FairDARTS, section 3.2)."""
    return torch.sigmoid(alpha)


def gumbel_softmax(temperature: Schedule) -> Mixing:
    """A softmax with noise that turns into a draw as the temperature falls (Xie et al. 2019, SNAS; Wu et al. 2019)."""

    def mix(alpha: Tensor, moment: Moment) -> Tensor:
        logits = torch.log_softmax(alpha, dim=-1) + _gumbel(alpha, moment)
        return torch.softmax(logits / temperature(moment), dim=-1)

    return mix


def hard_gumbel_softmax(temperature: Schedule) -> Mixing:
    """The strongest of a Gumbel softmax alone, with the gradient of all of it (Dong and Yang 2019, GDAS, equation 5).

    Only that operation is computed, so that only its own part of the gradient exists.
    """
    soft = gumbel_softmax(temperature)

    def mix(alpha: Tensor, moment: Moment) -> Sparse:
        weights = soft(alpha, moment)
        assert isinstance(weights, Tensor)  # noqa: S101 - it mixes all
        best = int(weights.detach().argmax())
        return Sparse(_one_hot(weights, best) + (weights - weights.detach()), (best,))

    return mix


def concentration(alpha: Tensor) -> Tensor:
    """The parameters of DrNAS' Dirichlet distribution (Chen et al. 2021, section 3.1)."""
    return (F.elu(alpha) + 1).clamp_min(torch.finfo(alpha.dtype).tiny)


def dirichlet(alpha: Tensor, moment: Moment) -> Tensor:
    """A draw from Dirichlet(elu(alpha) + 1), with the gradient of implicit reparameterisation (Chen et al. 2021)."""
    seed = int(torch.randint(2**62, (), generator=moment.generator))
    with torch.random.fork_rng(devices=[]):  # the distribution takes no generator
        torch.manual_seed(seed)
        drawn: Tensor = torch.distributions.Dirichlet(concentration(alpha).cpu(), validate_args=False).rsample()
    return drawn.to(alpha.device)


def expected_dirichlet(alpha: Tensor) -> Tensor:
    """The mean of that distribution."""
    parameters = concentration(alpha)
    return parameters / parameters.sum()


def binary_gates(alpha: Tensor, moment: Moment) -> Sparse:
    """One operation of two that are drawn, open by a gate (Cai et al. 2019, ProxylessNAS, section 3.2.1).

    The gates' values are 1 and 0, their gradient is that of the softmax over the two:
    dL/da_i = sum_j dL/dg_j p_j (d_ij - p_i). While the network weights are trained, one operation is drawn.
    """
    # The largest of log-probabilities with Gumbel noise are a draw without replacement.
    scores = (torch.log_softmax(alpha.detach(), dim=-1) + _gumbel(alpha, moment)).cpu()
    if moment.half == "Weights" or len(alpha) == 1:
        best = int(scores.argmax())
        return Sparse(_one_hot(alpha, best), (best,))
    first, second = (int(place) for place in scores.topk(2).indices)
    two = torch.softmax(torch.stack([alpha[first], alpha[second]]), dim=-1)
    opens_first = float(torch.rand((), generator=moment.generator)) < float(two[0].detach())
    gates = torch.zeros_like(alpha).index_put((torch.tensor([first, second], device=alpha.device),), two)
    open_ = _one_hot(alpha, first if opens_first else second)
    return Sparse(open_ + (gates - gates.detach()), (first, second))


def keep_others(before: Tensor, after: Tensor, mix: Tensor | Sparse) -> Tensor:
    """Shift the two that were drawn so that the others' probabilities stay what they were (Cai et al. 2019, 3.2.1)."""
    assert isinstance(mix, Sparse)  # noqa: S101 - it comes from binary_gates
    active = torch.tensor(mix.active, device=before.device)
    moved = after[active]
    settled = moved + torch.logsumexp(before[active], 0) - torch.logsumexp(moved, 0)
    return before.index_put((active,), settled)


def one_path(alpha: Tensor, moment: Moment) -> Sparse:
    """One operation, drawn (Cai et al. 2019, section 3.3.2)."""
    best = int((torch.log_softmax(alpha.detach(), dim=-1) + _gumbel(alpha, moment)).argmax())
    return Sparse(_one_hot(alpha, best), (best,))


def entropy(mix: Mapping[str, Tensor]) -> float:
    """The mean entropy of the mixing weights in nats: log(alternatives) where undecided, 0 where decided.

    Weights that do not add up to 1 are taken in proportion.
    """
    each = [torch.special.entr(weights.double() / weights.double().sum()).sum() for weights in mix.values()]
    return float(torch.stack(each).mean().detach())


def _gumbel(like: Tensor, moment: Moment) -> Tensor:
    """Standard Gumbel noise."""
    uniform = torch.rand(like.shape, dtype=torch.float64, generator=moment.generator)
    # A zero would be an infinite noise.
    return -torch.log(-torch.log(uniform.clamp_min(torch.finfo(torch.float64).tiny))).to(like)


def _one_hot(like: Tensor, place: int) -> Tensor:
    found = torch.zeros_like(like, requires_grad=False)
    found[place] = 1
    return found
