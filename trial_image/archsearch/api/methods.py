"""What each differentiable method sets, as one table of the papers' constants. No code looks at a method's name.

A setting is what the spec says, otherwise what the method's paper says, otherwise what DARTS has. Shares stand in the
place of the papers' numbers of epochs, so that a short search has the same phases as a long one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import Field

from archsearch.api.base import Fraction, Model, PositiveDecimal

Method = Literal[
    "BetaDARTS", "DARTS", "DARTSMinus", "DARTSPT", "DrNAS", "FBNet", "FairDARTS", "GDAS", "PCDARTS", "PDARTS",
    "ProxylessNAS", "RobustDARTS", "SDARTS", "SNAS",
]  # fmt: skip
Order = Literal["First", "Second"]
Mixing = Literal[
    "Softmax", "Sigmoid", "GumbelSoftmax", "HardGumbelSoftmax", "Dirichlet", "BinaryGates", "OnePath"
]  # fmt: skip
Schedule = Literal["Linear", "Exponential"]
Perturbation = Literal["None", "Random", "Adversarial"]
Derivation = Literal["TopEdges", "Threshold", "MostProbable", "Sample", "Perturbation"]

GUMBEL: Final = ("GumbelSoftmax", "HardGumbelSoftmax")
SMOOTH: Final = ("Softmax", "Sigmoid", "GumbelSoftmax", "Dirichlet")
"""Mixings of all operations: a look ahead has a derivative by them."""


class Stage(Model):
    """A part of a progressive search (Chen et al. 2019): a new supernet, deeper and of fewer operations."""

    depth_percent: Annotated[int, Field(ge=100, le=1000)] = 100
    """Cells of the supernet, in percent of the space's `search`."""
    keep_percent: Annotated[int, Field(ge=1, le=100)] = 100
    """Operations on each edge, in percent of the space's: the strongest of the stage before, and at least one."""
    skip_dropout: Fraction = "0"
    """Share of the skip connections' outputs that is dropped at the start; it falls during the stage."""


class EigenvalueStop(Model):
    """End the search when the largest eigenvalue of the Hessian of the architecture's loss rises, and go back to the
    architecture of before (Zela et al. 2020, section 4.3)."""

    ratio: PositiveDecimal = "1.3"
    """How much larger than four epochs ago the moving average must be."""
    window: Annotated[int, Field(ge=1, le=50)] = 5
    """Epochs of the moving average."""
    grace_epochs: Annotated[int, Field(ge=0, le=10_000)] = 10
    """Epochs that are never gone back to."""


BASE: Final[Mapping[str, Any]] = {
    "order": "First",
    "mixing": "Softmax",
    "temperature": "10",
    "temperature_end": "0.1",
    "temperature_schedule": "Linear",
    "batch_size": 64,
    "learning_rate": "0.025",
    "learning_rate_min": "0.001",
    "momentum": "0.9",
    "weight_decay": "0.0003",
    "gradient_clip": "5",
    "architecture_learning_rate": "0.0003",
    "architecture_momentum": "0.5",
    "architecture_weight_decay": "0.001",
    "warmup_percent": 0,
    "architecture_every": 1,
    "partial_channels": 1,
    "edge_normalisation": False,
    "auxiliary_skip": "0",
    "stages": (),
    "perturbation": "None",
    "perturbation_radius": "0.3",
    "beta_decay": "0",
    "zero_one_loss": "0",
    "dirichlet_divergence": "0",
    "eigenvalue_stop": None,
    "derivation": "TopEdges",
    "max_skips": None,
    "threshold": "0.85",
    "samples": 6,
    "finetune_epochs": 5,
}
"""What holds where neither the spec nor the method says anything: DARTS of first order (Liu et al. 2019)."""

METHODS: Final[Mapping[Method, Mapping[str, Any]]] = {
    # Ye et al. 2022: 0.5 for each of 50 epochs.
    "BetaDARTS": {"beta_decay": "25"},
    "DARTS": {"order": "Second"},
    # Chu et al. 2021.
    "DARTSMinus": {"auxiliary_skip": "1"},
    # Wang et al. 2021.
    "DARTSPT": {"derivation": "Perturbation"},
    # Chen et al. 2021, without its progressive widening.
    "DrNAS": {
        "mixing": "Dirichlet", "dirichlet_divergence": "0.001", "learning_rate": "0.1", "learning_rate_min": "0",
        "architecture_learning_rate": "0.0006", "architecture_weight_decay": "0",
    },
    # Wu et al. 2019: 5 exp(-0.045 epoch) over 90 epochs, 10 of them without the architecture.
    "FBNet": {
        "mixing": "GumbelSoftmax", "temperature": "5", "temperature_end": "0.09113",
        "temperature_schedule": "Exponential", "warmup_percent": 11, "learning_rate": "0.1", "learning_rate_min": "0",
        "weight_decay": "0.0001", "architecture_learning_rate": "0.01", "architecture_momentum": "0.9",
        "architecture_weight_decay": "0.0005", "derivation": "Sample",
    },
    # Chu et al. 2020.
    "FairDARTS": {"mixing": "Sigmoid", "zero_one_loss": "10", "derivation": "Threshold"},
    # Dong and Yang 2019.
    "GDAS": {"mixing": "HardGumbelSoftmax"},
    # Xu et al. 2020: the first 15 of 50 epochs without the architecture.
    "PCDARTS": {
        "partial_channels": 4, "edge_normalisation": True, "warmup_percent": 30, "batch_size": 256,
        "learning_rate": "0.1", "learning_rate_min": "0", "architecture_learning_rate": "0.0006",
    },
    # Chen et al. 2019: 5, 11 and 17 cells with 8, 5 and 3 operations; the first 10 of each stage's 25 epochs without
    # the architecture.
    "PDARTS": {
        "stages": (
            Stage(skip_dropout="0.1"),
            Stage(depth_percent=220, keep_percent=63, skip_dropout="0.4"),
            Stage(depth_percent=340, keep_percent=38, skip_dropout="0.7"),
        ),
        "max_skips": 2, "warmup_percent": 40, "batch_size": 96, "learning_rate_min": "0",
        "architecture_learning_rate": "0.0006",
    },
    # Cai et al. 2019: 40 epochs without the architecture, then 120 with a step of it after every fifth of the weights.
    "ProxylessNAS": {
        "mixing": "BinaryGates", "warmup_percent": 25, "architecture_every": 5, "learning_rate_min": "0",
        "weight_decay": "0.00004", "architecture_learning_rate": "0.001", "architecture_momentum": "0",
        "architecture_weight_decay": "0",
    },
    # Zela et al. 2020.
    "RobustDARTS": {"eigenvalue_stop": EigenvalueStop()},
    # Chen and Hsieh 2020.
    "SDARTS": {"perturbation": "Random"},
    # Xie et al. 2019, with the two halves of DARTS where the paper trains both on all images.
    "SNAS": {
        "mixing": "GumbelSoftmax", "temperature": "1", "temperature_end": "0.03", "temperature_schedule": "Exponential",
    },
}  # fmt: skip

ONLY_WITH: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "temperature": ("mixing", GUMBEL),
    "temperature_end": ("mixing", GUMBEL),
    "temperature_schedule": ("mixing", GUMBEL),
    "perturbation": ("mixing", ("Softmax",)),
    "perturbation_radius": ("perturbation", ("Random", "Adversarial")),
    "beta_decay": ("mixing", tuple(name for name in get_args(Mixing) if name not in ("Sigmoid", "Dirichlet"))),
    "zero_one_loss": ("mixing", ("Sigmoid",)),
    "dirichlet_divergence": ("mixing", ("Dirichlet",)),
    "eigenvalue_stop": ("mixing", ("Softmax", "Sigmoid")),
    "max_skips": ("derivation", ("TopEdges",)),
    "threshold": ("derivation", ("Threshold",)),
    "samples": ("derivation", ("Sample",)),
    "finetune_epochs": ("derivation", ("Perturbation",)),
}
"""Settings that mean something only where another one has one of these values."""
