"""Boxes around objects."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from archsearch.api.base import Model, OneOf
from archsearch.api.metrics import Metric
from archsearch.api.training import Training, VolumeSource


class BoxDataset(OneOf):
    """Where images and their boxes are."""

    volume: VolumeSource | None = None
    """A folder with `train.json` and `test.json` in the format of COCO (`images`, `annotations` with `bbox` in pixels,
    `categories`), and the images below `images/`, where `file_name` says."""


class DetectionTraining(Training):
    """The same for images with boxes."""

    augmentation: Literal["None", "Flip"] = "Flip"
    """`Flip`: images and boxes mirrored left to right at random. `None`: the images as they are."""


class ObjectDetection(Model):
    """Boxes around objects, each with a class. Metrics: mAP (COCO's: the mean average precision over classes and over
    overlaps from 0.5 to 0.95), mAP50 (at an overlap of 0.5) and loss (focal loss and generalised IoU)."""

    metrics: ClassVar[tuple[Metric, ...]] = ("mAP", "mAP50", "loss")
    spaces: ClassVar[tuple[str, ...]] = ("featurePyramid",)

    dataset: BoxDataset
    """The images and their boxes."""
    width: Annotated[int, Field(ge=32, le=1024)] | None = None
    """Pixels to which images are resized; where it is left out, all must be equally wide."""
    height: Annotated[int, Field(ge=32, le=1024)] | None = None
    """The same for their height."""
    selection_percent: Annotated[int, Field(ge=5, le=50)] = 20
    """The share of the training images that is set aside to choose between architectures. The test images are used only
    for the final report."""
    training: DetectionTraining = DetectionTraining(batch_size=16)
    """How a network is trained from scratch."""
