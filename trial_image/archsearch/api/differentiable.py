"""Differentiable search: mixing weights of a supernet's operations are learnt by gradient."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field

from archsearch.api.base import DecimalString, Epochs, Fraction, Model, PositiveDecimal, Rule, at_most


class Differentiable(Model):
    """Differentiable search (Liu et al. 2019): architecture weights and network weights of a supernet are trained in
    turn, on separate halves of the training data. Each trial is one whole search from its own seed."""

    order: Literal["First", "Second"] = "Second"
    """`Second` looks one step of the network weights ahead, at about 2.4 times the cost of `First`."""
    epochs: Epochs = 50
    """Passes over the half of the training data that trains the network weights."""
    batch_size: Annotated[int, Field(ge=2, le=8192)] = 64
    """Images a step."""
    learning_rate: PositiveDecimal = "0.025"
    """Learning rate of the network weights at the start (SGD, cosine)."""
    learning_rate_min: DecimalString = "0.001"
    """Learning rate of the network weights at the end."""
    momentum: Fraction = "0.9"
    """Momentum of the network weights, below 1."""
    weight_decay: DecimalString = "0.0003"
    """Weight decay of the network weights."""
    gradient_clip: PositiveDecimal = "5"
    """Largest norm of the network weights' gradient."""
    architecture_learning_rate: PositiveDecimal = "0.0003"
    """Learning rate of the architecture weights (Adam, betas 0.5 and 0.999)."""
    architecture_weight_decay: DecimalString = "0.001"
    """Weight decay of the architecture weights."""

    rules = (
        Rule(
            expression=at_most("self.learningRateMin", "self.learningRate"),
            message="learningRateMin must not be greater than learningRate",
            field_path=".learningRateMin",
        ),
    )
    checks = (
        lambda self: None if Decimal(self.learning_rate_min) <= Decimal(self.learning_rate) else
        f"learningRateMin must not be greater than learningRate ({self.learning_rate}), "
        f"but got {self.learning_rate_min}",
    )  # fmt: skip
