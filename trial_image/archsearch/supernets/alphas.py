"""Architecture weights by the name of the choice: how they start, and what they say of what was drawn or decided."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, cast

import torch
from torch import Tensor

from archsearch.api.base import ChoiceValue
from archsearch.evaluation.seeds import generator
from archsearch.networks import Mix, Sparse
from archsearch.spaces import Choice, Space

ALPHA: Final = 0
"""What the random numbers of a place are for."""
DEVIATION: Final = 1e-3
"""Deviation of the architecture weights at the start (published code of DARTS)."""


def initial(space: Space, *, inputs: bool, seed: int, like: Tensor) -> dict[str, Tensor]:
    """New architecture weights: one for each alternative of every choice.

    inputs: with one for each predecessor of the choices of inputs too. like: of the device and precision.
    """
    noise = generator(seed, ALPHA)
    return {
        choice.name: (DEVIATION * torch.randn(_size(choice), generator=noise)).to(like).requires_grad_()
        for choice in space.choices
        if inputs or not choice.is_subset
    }


def log_probability(alphas: Mapping[str, Tensor], mix: Mix) -> Tensor:
    """The logarithm of the probability of what a mix has drawn, one operation a choice; differentiable."""
    each = [
        torch.log_softmax(alpha, dim=-1)[drawn.active[0]]
        for name, alpha in alphas.items()
        if isinstance(drawn := mix[name], Sparse)
    ]
    return torch.stack(each).sum()


def one_hot(space: Space, decided: Mapping[str, ChoiceValue], like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The probabilities of choices that are decided; of inputs each that is kept has an equal share."""
    found = {}
    for choice in space.choices:
        if choice.name in decided and choice.name in like:
            value = decided[choice.name]
            places = value if isinstance(value, tuple) else (choice.alternatives.index(value),)
            share = torch.zeros_like(like[choice.name], requires_grad=False)
            share[list(places)] = 1 / len(places)
            found[choice.name] = share
    return found


def _size(choice: Choice) -> int:
    if choice.is_subset:
        return 1 + max(max(cast("tuple[int, ...]", option)) for option in choice.options)
    return len(choice.alternatives)
