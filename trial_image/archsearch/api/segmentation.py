"""One class for each pixel."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from archsearch.api.base import Model, OneOf
from archsearch.api.metrics import Metric
from archsearch.api.training import Training, VolumeSource


class MaskDataset(OneOf):
    """Where images and their masks are."""

    volume: VolumeSource | None = None
    """A `.npz` file with the arrays `train_images`, `train_masks`, `test_images` and `test_masks` (uint8 images, N x
    height x width or N x height x width x channels; masks of integers from 0, N x height x width), or a folder with
    `train/images/*`, `train/masks/*.png` and the same of `test`, a mask having the name of its image."""


class SegmentationTraining(Training):
    """The same for images with masks."""

    augmentation: Literal["None", "Flip", "FlipRotate"] = "FlipRotate"
    """Image and mask alike. `Flip`: mirrored left to right at random, for photographs. `FlipRotate`: mirrored
    and turned by quarters at random, for what has no up and down, as under a microscope. `None`: as they are."""


class SemanticSegmentation(Model):
    """One class for each pixel. Metrics: mIoU (the mean over classes of intersection over union), accuracy (of pixels)
    and loss (cross-entropy)."""

    metrics: ClassVar[tuple[Metric, ...]] = ("mIoU", "accuracy", "loss")
    spaces: ClassVar[tuple[str, ...]] = ("resolutionTrellis",)

    dataset: MaskDataset
    """The images and their masks."""
    downscale: Annotated[int, Field(ge=1, le=16)] = 1
    """Images are made so many times smaller: a pixel is the mean of a square, its class the most frequent one."""
    crop: Annotated[int, Field(ge=8, le=1024)] | None = None
    """Images are cut into squares of so many pixels a side that do not overlap, after `downscale`; rows and columns at
    the end that fill no square are left out. Whole images where it is left out."""
    ignored_label: Annotated[int, Field(ge=0, le=255)] | None = None
    """The number in masks for pixels that are neither trained nor judged, often 255; none where it is left out."""
    selection_percent: Annotated[int, Field(ge=5, le=50)] = 20
    """The share of the training images, as they were before they were cut, that is set aside to choose between
    architectures. The test images are used only for the final report."""
    training: SegmentationTraining = SegmentationTraining(batch_size=16)
    """How a network is trained from scratch."""
