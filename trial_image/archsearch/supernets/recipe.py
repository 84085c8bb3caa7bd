"""The settings of a differentiable search as numbers, with everything filled in that its method says."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from archsearch.api.differentiable import Differentiable
from archsearch.api.methods import Derivation, EigenvalueStop, Mixing, Order, Perturbation, Schedule, Stage


@dataclass(frozen=True)
class Recipe:
    """As in the spec, field by field. What means nothing in a search has the value that stands here.

    skip_dropout: that of the stage, where there are stages.
    """

    epochs: int
    order: Order
    mixing: Mixing
    batch_size: int
    learning_rate: float
    learning_rate_min: float
    momentum: float
    weight_decay: float
    gradient_clip: float
    architecture_learning_rate: float
    architecture_momentum: float
    architecture_weight_decay: float
    warmup_percent: int
    architecture_every: int
    partial_channels: int
    edge_normalisation: bool
    auxiliary_skip: float
    stages: tuple[Stage, ...]
    derivation: Derivation
    temperature: float = 1.0
    temperature_end: float = 1.0
    temperature_schedule: Schedule = "Linear"
    perturbation: Perturbation = "None"
    perturbation_radius: float = 0.0
    beta_decay: float = 0.0
    zero_one_loss: float = 0.0
    dirichlet_divergence: float = 0.0
    eigenvalue_stop: EigenvalueStop | None = None
    max_skips: int | None = None
    threshold: float = 0.0
    samples: int = 1
    finetune_epochs: int = 1
    skip_dropout: float = 0.0

    @property
    def warmup(self) -> int:
        """Epochs at the start in which only the network weights are trained."""
        return self.epochs * self.warmup_percent // 100

    @classmethod
    def of(cls, settings: Differentiable) -> Recipe:
        """The numbers of a spec."""
        filled = settings.filled()
        said: dict[str, Any] = {
            field.name: float(value) if field.type == "float" else value
            for field in fields(cls)
            if (value := getattr(filled, field.name, None)) is not None
        }
        return cls(**said)
