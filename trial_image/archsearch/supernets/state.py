"""What an optimiser remembers, as named tensors."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def optimiser_tensors(prefix: str, optimiser: torch.optim.Optimizer, named: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """All tensors of the optimiser's state, called PREFIX/KIND/NAME. None before its first step."""
    return {
        f"{prefix}/{kind}/{name}": value
        for name, tensor in named.items()
        for kind, value in optimiser.state[tensor].items()
        if isinstance(value, Tensor)
    }


def load_optimiser(
    prefix: str,
    optimiser: torch.optim.Optimizer,
    named: Mapping[str, Tensor],
    kinds: tuple[str, ...],
    tensors: Mapping[str, Tensor],
) -> None:
    """Give the optimiser these kinds of tensors of every parameter. Raises ValueError for one that does not fit."""
    for name, tensor in named.items():
        optimiser.state[tensor] = {
            kind: _like(tensor, take(tensors, f"{prefix}/{kind}/{name}", () if kind == "step" else tensor.shape))
            for kind in kinds
        }


def take(tensors: Mapping[str, Tensor], name: str, shape: tuple[int, ...]) -> Tensor:
    """The tensor of this name. Raises ValueError where there is none or it has another shape."""
    if name not in tensors:
        raise ValueError(f"the state must hold {name}, but does not")
    if tensors[name].shape != shape:
        raise ValueError(f"{name} must have the shape {tuple(shape)}, but got {tuple(tensors[name].shape)}")
    return tensors[name]


def _like(parameter: Tensor, saved: Tensor) -> Tensor:
    if saved.shape != parameter.shape:  # a count of steps, which optimisers keep on the CPU
        return saved.clone()
    # Laid out as the parameter, because the order of summation follows the layout.
    return torch.empty_like(parameter, requires_grad=False).copy_(saved)
