"""What is to be learnt, and from which data."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field

from archsearch.api.base import Model, OneOf
from archsearch.api.custom_task import CustomTask
from archsearch.api.detection import ObjectDetection
from archsearch.api.metrics import DEFAULT_GOALS, Metric
from archsearch.api.objective import Objective
from archsearch.api.questions import VisualQuestionAnswering
from archsearch.api.segmentation import SemanticSegmentation
from archsearch.api.sequence_tasks import SpeechClassification, TextClassification
from archsearch.api.training import RelativePath, Training, VolumeSource
from archsearch.api.translation import Translation

__all__ = [
    "TASKS", "CustomTask", "Dataset", "ImageClassification", "ImageTraining", "ObjectDetection", "RelativePath",
    "SemanticSegmentation",
    "SpeechClassification", "Task", "TextClassification", "Training", "Translation",
    "VisualQuestionAnswering", "VolumeSource",
]  # fmt: skip


class Dataset(OneOf):
    """Where the images are."""

    builtin: Literal["digits"] | None = None
    """A data set that the trial image carries. `digits`: 1,797 images of handwritten digits, 8x8, 10 classes."""
    volume: VolumeSource | None = None
    """A `.npz` file with the arrays `train_images`, `train_labels`, `test_images` and `test_labels` (uint8 images,
    N x height x width or N x height x width x channels), or a folder with `train/CLASS/*` and `test/CLASS/*` images."""


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


class Task(OneOf):
    """What is to be learnt."""

    image_classification: ImageClassification | None = None
    """One label for each image."""
    text_classification: TextClassification | None = None
    """One label for each text."""
    speech_classification: SpeechClassification | None = None
    """One label for each recording."""
    semantic_segmentation: SemanticSegmentation | None = None
    """One label for each pixel."""
    object_detection: ObjectDetection | None = None
    """Boxes around objects."""
    translation: Translation | None = None
    """One text for another."""
    visual_question_answering: VisualQuestionAnswering | None = None
    """An answer for each question about an image."""
    custom: CustomTask | None = None
    """A task in the user's own image."""

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What training is judged by, the field's standard first."""
        found: tuple[Metric, ...] = self.member[1].metrics
        return found if "loss" in found else (*found, "loss")

    @property
    def objective(self) -> Objective:
        """What is to be reached where nothing else is said."""
        metric = self.metrics[0]
        return Objective(metric=metric, goal=DEFAULT_GOALS[metric])

    @property
    def claim(self) -> VolumeSource | None:
        """Where the data are; None for data that the trial image carries."""
        found: VolumeSource | None = self.custom.volume if self.custom else self.member[1].dataset.volume
        return found

    @property
    def claim_field(self) -> str:
        """Where a spec says it."""
        return "task.custom.volume" if self.custom else f"task.{self.member[0]}.dataset.volume"

    @property
    def training(self) -> Training:
        """How a network is trained from scratch."""
        found: Training = self.member[1].training
        return found


TASKS: Final[dict[str, Any]] = {
    "imageClassification": ImageClassification,
    "textClassification": TextClassification,
    "speechClassification": SpeechClassification,
    "semanticSegmentation": SemanticSegmentation,
    "objectDetection": ObjectDetection,
    "translation": Translation,
    "visualQuestionAnswering": VisualQuestionAnswering,
}
"""The settings of each task, by its name in a spec: `metrics` are what training is judged by, the field's standard
first, and `spaces` those whose networks can learn it, the one that is taken where none is named first."""
