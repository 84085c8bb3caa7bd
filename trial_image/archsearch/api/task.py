"""What is to be learnt, and from which data."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from archsearch.api.base import DecimalString, Fraction, Model, ObjectName, OneOf, PositiveDecimal

RelativePath = Annotated[
    str, StringConstraints(pattern=r"^([A-Za-z0-9_][-A-Za-z0-9_.]*(/[A-Za-z0-9_][-A-Za-z0-9_.]*)*)?$", max_length=255)
]


class VolumeSource(Model):
    """A file or folder on a persistent volume claim, mounted read-only into every trial."""

    claim_name: ObjectName
    """The PersistentVolumeClaim in the search's namespace."""
    path: RelativePath = ""
    """A path inside the volume, without a leading slash and without `..`; empty for the volume's root."""


class Dataset(OneOf):
    """Where the images are."""

    builtin: Literal["digits"] | None = None
    """A data set that the trial image carries. `digits`: 1,797 images of handwritten digits, 8x8, 10 classes."""
    volume: VolumeSource | None = None
    """A `.npz` file with the arrays `train_images`, `train_labels`, `test_images` and `test_labels` (uint8 images,
    N x height x width or N x height x width x channels), or a folder with `train/CLASS/*` and `test/CLASS/*` images."""


class Training(Model):
    """The recipe that trains one network from scratch: SGD with a cosine schedule, used by trials and by retraining."""

    batch_size: Annotated[int, Field(ge=2, le=8192)] = 96
    """Images a step."""
    learning_rate: PositiveDecimal = "0.025"
    """The learning rate at the start; a cosine takes it to zero."""
    momentum: Fraction = "0.9"
    """Momentum of SGD, below 1."""
    weight_decay: DecimalString = "0.0003"
    """Weight decay of SGD."""
    gradient_clip: PositiveDecimal = "5"
    """Largest norm of the gradient; a longer one is shortened."""
    augmentation: Literal["None", "Shift", "ShiftFlip"] = "Shift"
    """`Shift`: pad by an eighth and crop at random. `ShiftFlip`: the same and mirrored at random, for photographs;
    never for text or digits. `None`: the images as they are."""


class ImageClassification(Model):
    """One label for each image. Metrics: accuracy (a fraction of 1) and loss (cross-entropy)."""

    dataset: Dataset
    """The images and their labels."""
    selection_percent: Annotated[int, Field(ge=5, le=50)] = 20
    """The share of the training images that is set aside to choose between architectures. No weight and no
    architecture parameter is ever trained on it. The test images are used only for the final report."""
    training: Training = Training()
    """How a network is trained from scratch."""


class Task(OneOf):
    """What is to be learnt."""

    image_classification: ImageClassification | None = None
    """One label for each image."""
