"""What a search remembers, as named tensors and JSON: its optimisers, and choices that it has made."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from archsearch.api.base import ChoiceValue
from archsearch.evaluation.resumable import JSON


def fill_optimiser(optimiser: torch.optim.Optimizer, kinds: tuple[str, ...]) -> None:
    """Remember zeros, with which the first step is what it is without them. `step` is a count, kept on the CPU."""
    for group in optimiser.param_groups:
        for tensor in group["params"]:
            for kind in kinds:
                zeros = torch.zeros(()) if kind == "step" else torch.zeros_like(tensor, requires_grad=False)
                optimiser.state[tensor][kind] = zeros


def optimiser_tensors(prefix: str, optimiser: torch.optim.Optimizer, named: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """All tensors of the optimiser's state, called PREFIX/KIND/NAME."""
    return {
        f"{prefix}/{kind}/{name}": value
        for name, tensor in named.items()
        for kind, value in optimiser.state[tensor].items()
        if isinstance(value, Tensor)
    }


def load_optimiser(
    prefix: str, optimiser: torch.optim.Optimizer, named: Mapping[str, Tensor], tensors: Mapping[str, Tensor]
) -> None:
    """Give a filled optimiser what another one of its kind remembered. ValueError for a tensor that does not fit."""
    for name, tensor in named.items():
        for kind, own in optimiser.state[tensor].items():
            saved = take(tensors, f"{prefix}/{kind}/{name}", own.shape)
            # A new tensor, laid out as the old one: the order of summation follows the layout.
            optimiser.state[tensor][kind] = torch.empty_like(own).copy_(saved)


def take(tensors: Mapping[str, Tensor], name: str, shape: tuple[int, ...]) -> Tensor:
    """The tensor of this name. Raises ValueError where there is none or it has another shape."""
    if name not in tensors:
        raise ValueError(f"the state must hold {name}, but does not")
    if tensors[name].shape != shape:
        raise ValueError(f"{name} must have the shape {tuple(shape)}, but got {tuple(tensors[name].shape)}")
    return tensors[name]


def as_values(saved: JSON) -> dict[str, ChoiceValue]:
    """Values of choices from JSON, which has no tuples. ValueError for what are none."""
    if not isinstance(saved, dict):
        raise ValueError(f"decided must be values of choices, but got {str(saved)[:80]}")
    return {name: tuple(value) if isinstance(value, list) else value for name, value in saved.items()}
