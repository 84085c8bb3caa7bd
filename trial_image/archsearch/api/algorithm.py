"""How the space is searched."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field

from archsearch.api.base import DecimalString, Fraction, Model, OneOf, PositiveDecimal, Rule, at_most

Epochs = Annotated[int, Field(ge=1, le=10_000)]


class RandomSearch(Model):
    """Architectures drawn uniformly, none twice."""

    epochs: Epochs = 20
    """Epochs for which each trial trains its network."""


class RegularizedEvolution(Model):
    """Ageing evolution (Real et al. 2019): mutate the best of a random sample, forget the oldest."""

    epochs: Epochs = 20
    """Epochs for which each trial trains its network."""
    population: Annotated[int, Field(ge=2, le=10_000)] = 30
    """Architectures alive at once; the first ones are drawn at random. The paper has 100 for 20,000 trials."""
    sample: Annotated[int, Field(ge=1, le=10_000)] = 10
    """Members of the population that compete to be the parent."""

    rules = (Rule(expression="self.sample <= self.population", message="sample must not be greater than population",
                  field_path=".sample"),)  # fmt: skip
    checks = (
        lambda self: None if self.sample <= self.population else
        f"sample must not be greater than population ({self.population}), but got {self.sample}",
    )  # fmt: skip


class Darts(Model):
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


class Algorithm(OneOf):
    """How the space is searched."""

    random: RandomSearch | None = None
    """The baseline of every search."""
    regularized_evolution: RegularizedEvolution | None = None
    """Trains one network after another, as the search for AmoebaNet did."""
    darts: Darts | None = None
    """Trains one supernet that holds all architectures."""
