"""Perturbed mixing weights, at which the network weights are trained (Chen and Hsieh 2020, SDARTS).

A supernet whose loss is smooth around its mixing weights loses less when it is discretised. Mixing weights stay
probabilities: what is perturbed is cut off at 0 and made to add up to 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import torch
from torch import Tensor

Mixed = dict[str, Tensor]
Perturbation = Callable[[Mapping[str, Tensor], Callable[[Mapping[str, Tensor]], Tensor], float, torch.Generator], Mixed]
"""Other mixing weights from these, the loss of mixing weights, the radius in each weight, and noise."""

STEPS: Final = 7
"""Steps of projected gradient ascent (published code)."""


def random(
    mix: Mapping[str, Tensor],
    _loss: Callable[[Mapping[str, Tensor]], Tensor],
    radius: float,
    generator: torch.Generator,
) -> Mixed:
    """Uniform noise between minus and plus the radius (section 3.1)."""
    return {name: project(weights + _noise(weights, radius, generator)) for name, weights in mix.items()}


def adversarial(
    mix: Mapping[str, Tensor],
    loss: Callable[[Mapping[str, Tensor]], Tensor],
    radius: float,
    generator: torch.Generator,
) -> Mixed:
    """The worst that projected gradient ascent finds, from a random start (section 3.2); no better than the start."""
    moved = random(mix, loss, radius, generator)
    for _ in range(STEPS):
        leaves = {name: weights.requires_grad_() for name, weights in moved.items()}
        gradients = torch.autograd.grad(loss(leaves), list(leaves.values()))
        with torch.no_grad():
            for (name, weights), gradient in zip(leaves.items(), gradients, strict=True):
                step = (weights + 2 * radius / STEPS * gradient.sign() - mix[name]).clamp(-radius, radius)
                moved[name] = project(mix[name] + step)
    with torch.no_grad():
        return moved if loss(moved) >= loss(mix) else dict(mix)


def project(weights: Tensor) -> Tensor:
    """The weights cut off at 0 and in proportion to a sum of 1; all on the largest where none is above 0."""
    cut = weights.detach().clamp(0, 1)
    total = cut.sum()
    if total == 0:
        cut = torch.zeros_like(cut).index_fill(0, weights.argmax(), 1)
        total = cut.sum()
    return cut / total


def _noise(like: Tensor, radius: float, generator: torch.Generator) -> Tensor:
    return (2 * radius * torch.rand(like.shape, dtype=torch.float64, generator=generator) - radius).to(like)
