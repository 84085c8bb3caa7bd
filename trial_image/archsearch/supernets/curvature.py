"""The curvature of the architecture's loss, and the end of a search whose curvature rises (Zela et al. 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Final

import torch
from torch import Tensor

from archsearch.api.base import ChoiceValue
from archsearch.api.methods import EigenvalueStop
from archsearch.evaluation.resumable import JSON
from archsearch.spaces import Architecture, Space
from archsearch.supernets.gradients import Loss, frozen

DELAY: Final = 4
"""Epochs between the averages that are compared (published code)."""


def largest_eigenvalue(
    loss: Loss,
    alphas: Sequence[Tensor],
    weights: Sequence[Tensor],
    generator: torch.Generator,
    *,
    iterations: int = 50,
    tolerance: float = 1e-3,
) -> float:
    """The largest eigenvalue of the Hessian of the loss by the architecture weights, by power iteration.

    Only products of the Hessian and a vector are computed. The iteration finds the eigenvalue that is largest in size;
    where that is negative, a second one on the Hessian shifted by it finds the largest. It ends once the eigenvalue
    changes by less than `tolerance` of its size.
    """
    with frozen(weights):
        gradients = torch.autograd.grad(loss(), alphas, create_graph=True)
        flat = torch.cat([gradient.flatten() for gradient in gradients])

        def product(vector: Tensor) -> Tensor:
            parts = torch.autograd.grad(
                flat, alphas, vector, retain_graph=True, allow_unused=True, materialize_grads=True
            )
            return torch.cat([part.flatten() for part in parts])

        def dominant(shift: float) -> float:
            vector = torch.randn(flat.shape, dtype=torch.float64, generator=generator).to(flat)
            value = 0.0
            for _ in range(iterations):
                vector = vector / torch.linalg.vector_norm(vector).clamp_min(torch.finfo(flat.dtype).tiny)
                image = product(vector) - shift * vector
                before, value = value, float(vector @ image)
                if abs(value - before) <= tolerance * abs(value):
                    break
                vector = image
            return value

        size = dominant(0.0)
        return size if size >= 0 else dominant(size) + size


@dataclass
class Monitor:
    """The eigenvalues and architectures of all epochs, and whether to go back to one of them."""

    rule: EigenvalueStop
    eigenvalues: list[float] = field(default_factory=list)
    architectures: list[Architecture] = field(default_factory=list)

    def record(self, eigenvalue: float, architecture: Architecture) -> None:
        """What an epoch ended with."""
        self.eigenvalues.append(eigenvalue)
        self.architectures.append(architecture)

    def chosen(self) -> Architecture | None:
        """The architecture to go back to, of before the rise; None while there is none.

        The moving average stands for the middle of its window. It is compared with that of four epochs before, which
        is the epoch that is gone back to, and never one of the first `graceEpochs` (published code).
        """
        back = len(self.eigenvalues) - 1 - self.rule.window // 2 - DELAY
        if back < self.rule.grace_epochs or back < 0:
            return None
        now, before = self._average(len(self.eigenvalues)), self._average(len(self.eigenvalues) - DELAY)
        return self.architectures[back] if before > 0 and now > float(self.rule.ratio) * before else None

    def state(self) -> JSON:
        """For a checkpoint."""
        return [
            {"eigenvalue": eigenvalue, "architecture": dict(architecture.values)}
            for eigenvalue, architecture in zip(self.eigenvalues, self.architectures, strict=True)
        ]

    def load(self, space: Space, state: JSON) -> None:
        """Go on from there. ValueError for what is no such state."""
        self.eigenvalues, self.architectures = [], []
        for entry in state if isinstance(state, list) else [None]:
            if not isinstance(entry, dict) or not isinstance(entry.get("eigenvalue"), float):
                raise ValueError(f"eigenvalues must be those of epochs, but got {str(entry)[:80]}")
            values: dict[str, ChoiceValue] = entry["architecture"]
            self.record(entry["eigenvalue"], space.architecture(values))

    def _average(self, end: int) -> float:
        return fmean(self.eigenvalues[max(0, end - self.rule.window) : end])
