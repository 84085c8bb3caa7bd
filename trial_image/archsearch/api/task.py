"""What is to be learnt, and from which data."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field, StringConstraints

from archsearch.api.base import DecimalString, Fraction, Model, ObjectName, OneOf, PositiveDecimal
from archsearch.api.metrics import DEFAULT_GOALS, Metric
from archsearch.api.objective import Objective

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


class ImageTraining(Training):
    """The same for images."""

    augmentation: Literal["None", "Shift", "ShiftFlip"] = "Shift"
    """`Shift`: pad by an eighth and crop at random. `ShiftFlip`: the same and mirrored at random, for photographs;
    never for text or digits. `None`: the images as they are."""


class ImageClassification(Model):
    """One label for each image. Metrics: accuracy (a fraction of 1) and loss (cross-entropy)."""

    metrics: ClassVar[tuple[Metric, ...]] = ("accuracy", "loss")
    spaces: ClassVar[tuple[str, ...]] = (
        "dartsCells", "nasBench201", "nasnetCells", "enasMacro", "mbconvChain", "elasticChain", "resolutionTrellis",
        "hierarchicalMotifs", "custom",
    )  # fmt: skip

    dataset: Dataset
    """The images and their labels."""
    selection_percent: Annotated[int, Field(ge=5, le=50)] = 20
    """The share of the training images that is set aside to choose between architectures. No weight and no
    architecture parameter is ever trained on it. The test images are used only for the final report."""
    training: ImageTraining = ImageTraining()
    """How a network is trained from scratch."""


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


class Task(OneOf):
    """What is to be learnt."""

    image_classification: ImageClassification | None = None
    """One label for each image."""
    semantic_segmentation: SemanticSegmentation | None = None
    """One label for each pixel."""
    object_detection: ObjectDetection | None = None
    """Boxes around objects."""

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What training is judged by, the field's standard first."""
        found: tuple[Metric, ...] = self.member[1].metrics
        return found

    @property
    def objective(self) -> Objective:
        """What is to be reached where nothing else is said."""
        metric = self.metrics[0]
        return Objective(metric=metric, goal=DEFAULT_GOALS[metric])

    @property
    def claim(self) -> VolumeSource | None:
        """Where the data are; None for data that the trial image carries."""
        found: VolumeSource | None = self.member[1].dataset.volume
        return found

    @property
    def training(self) -> Training:
        """How a network is trained from scratch."""
        found: Training = self.member[1].training
        return found


TASKS: Final[dict[str, Any]] = {
    "imageClassification": ImageClassification,
    "semanticSegmentation": SemanticSegmentation,
    "objectDetection": ObjectDetection,
}
"""The settings of each task, by its name in a spec: `metrics` are what training is judged by, the field's standard
first, and `spaces` those whose networks can learn it, the one that is taken where none is named first."""
