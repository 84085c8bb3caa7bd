"""Shared weights: one supernet is trained, and architectures are evaluated with the weights that they inherit."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from archsearch.api.base import MAX_BATCH, DecimalString, Epochs, Fraction, Model, PositiveDecimal, Rule


class SharedWeights(Model):
    """One-shot search (Guo et al. 2020): a supernet is trained in a Job of its own, one path at a time. Then trials
    evaluate architectures with the weights that they inherit from it, several in each trial, without training."""

    epochs: Epochs = 120
    """Passes over the training images that train the supernet."""
    sampling: Literal["Uniform", "Fair", "Sandwich"] = "Uniform"
    """Which architectures a step trains. `Uniform`: one, each choice drawn on its own. `Fair`: as many as a choice has
    options, so that every option of every choice is trained equally often (Chu et al. 2021). `Sandwich`: the largest,
    the smallest and some in between (Yu et al. 2020), for
    `elasticChain` and `elasticTransformer`."""
    random_paths: Annotated[int, Field(ge=1, le=16)] = 2
    """Architectures in between, for `Sandwich`."""
    distillation: bool = False
    """The smaller ones learn what the largest one answers, for `Sandwich`."""
    batch_size: Annotated[int, Field(ge=2, le=8192)] = 64
    """Images a step."""
    learning_rate: PositiveDecimal = "0.05"
    """The learning rate at the start (SGD); a cosine takes it to zero."""
    momentum: Fraction = "0.9"
    """Momentum of SGD, below 1."""
    weight_decay: DecimalString = "0.00004"
    """Weight decay of SGD, on the weights that a step uses."""
    gradient_clip: PositiveDecimal = "5"
    """Largest norm of the gradient."""
    recalibration_images: Annotated[int, Field(ge=64, le=65_536)] = 2048
    """Training images that an architecture's BatchNorm statistics are taken over before it is evaluated. Those of the
    supernet are of all paths together, and useless for one."""
    architectures_per_trial: Annotated[int, Field(ge=1, le=MAX_BATCH)] = 20
    """Architectures that one trial evaluates."""

    rules = (
        Rule(
            expression="!self.distillation || self.sampling == 'Sandwich'",
            message="distillation must be set only where sampling is Sandwich",
            field_path=".distillation",
        ),
    )
    checks = (
        lambda self: None if not self.distillation or self.sampling == "Sandwich" else
        f"distillation must be set only where sampling is Sandwich, but got {self.sampling}",
    )  # fmt: skip
