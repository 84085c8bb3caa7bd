"""ENAS: a policy learns by rewards which architectures do well with weights that they share."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from archsearch.api.base import DecimalString, Epochs, Fraction, Model, PositiveDecimal


class Enas(Model):
    """Efficient neural architecture search (Pham et al. 2018): a controller draws architectures from a supernet. Their
    shared weights are trained on one half of the training data, and the controller on their accuracy on the other, in
    turn. Each trial is one whole search from its own seed. The settings are those of the published search for cells."""

    epochs: Epochs = 150
    """Passes over the half of the training data that trains the network weights."""
    batch_size: Annotated[int, Field(ge=2, le=8192)] = 160
    """Images a step, and images that an architecture's reward is measured on."""
    learning_rate: PositiveDecimal = "0.05"
    """Learning rate of the network weights at the start (SGD); a cosine takes it to zero."""
    momentum: Fraction = "0.9"
    """Momentum of the network weights, below 1."""
    weight_decay: DecimalString = "0.0001"
    """Weight decay of the network weights, on those that a step uses."""
    gradient_clip: PositiveDecimal = "5"
    """Largest norm of the network weights' gradient."""
    controller: Literal["LSTM", "Softmax"] = "LSTM"
    """What draws: an LSTM that knows the choices before the one that it makes, or a softmax for each choice."""
    controller_steps: Annotated[int, Field(ge=1, le=10_000)] = 30
    """Steps of the controller after each epoch."""
    samples: Annotated[int, Field(ge=2, le=1024)] = 10
    """Architectures that are drawn for each of its steps."""
    controller_learning_rate: PositiveDecimal = "0.0035"
    """Learning rate of the controller (Adam)."""
    entropy_weight: DecimalString = "0.0001"
    """What a reward gains by an architecture's being improbable: it keeps the controller from deciding early."""
    baseline_decay: Fraction = "0.99"
    """Share of the old baseline in the new one. A reward counts by how far it is above the baseline."""
    temperature: PositiveDecimal = "5"
    """The controller's logits are divided by it."""
    tanh_constant: PositiveDecimal = "2.5"
    """Then a tanh keeps them between minus this and this, so that no option becomes certain. Temperature and constant
    are those of the paper's appendix; the published search for cells has no temperature, and 1.1."""
    derived_samples: Annotated[int, Field(ge=1, le=1000)] = 10
    """Architectures that are drawn at the end; the best on the controller's half of the training data is the result."""
