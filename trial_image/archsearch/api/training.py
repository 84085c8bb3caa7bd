"""Where the data of a task are, and how a network is trained on them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from archsearch.api.base import DecimalString, Fraction, Model, ObjectName, PositiveDecimal

RelativePath = Annotated[
    str, StringConstraints(pattern=r"^([A-Za-z0-9_][-A-Za-z0-9_.]*(/[A-Za-z0-9_][-A-Za-z0-9_.]*)*)?$", max_length=255)
]


class VolumeSource(Model):
    """A file or folder on a persistent volume claim, mounted read-only into every trial."""

    claim_name: ObjectName
    """The PersistentVolumeClaim in the search's namespace."""
    path: RelativePath = ""
    """A path inside the volume, without a leading slash and without `..`; empty for the volume's root."""


class Training(Model):
    """The recipe that trains one network from scratch, with a cosine schedule, used by trials and by retraining."""

    optimizer: Literal["SGD", "AdamW"] = "SGD"
    """`SGD` with momentum, or `AdamW` (Loshchilov and Hutter 2019), whose first moment decays by momentum. It trains
    shared weights as well, but not the supernets of differentiable search."""

    batch_size: Annotated[int, Field(ge=2, le=8192)] = 96
    """Examples a step."""
    learning_rate: PositiveDecimal = "0.025"
    """The learning rate at the start; a cosine takes it to zero."""
    momentum: Fraction = "0.9"
    """Momentum of SGD, or the decay of AdamW's first moment; below 1."""
    weight_decay: DecimalString = "0.0003"
    """Weight decay: with SGD a part of the gradient, with AdamW apart from it."""
    gradient_clip: PositiveDecimal = "5"
    """Largest norm of the gradient; a longer one is shortened."""
