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


class TextDataset(OneOf):
    """Where the texts are."""

    volume: VolumeSource | None = None
    """A folder with `train.csv` and `test.csv`, or `train.parquet` and `test.parquet`, with the columns `text` and
    `label`; a label is a word or an integer."""


class TextTraining(Training):
    """The same for texts."""

    optimizer: Literal["SGD", "AdamW"] = "AdamW"
    """`AdamW` (Loshchilov and Hutter 2019), whose first moment decays by momentum, or `SGD` with momentum. It trains
    shared weights as well, but not the supernets of differentiable search."""
    batch_size: Annotated[int, Field(ge=2, le=8192)] = 64
    """Examples a step."""
    learning_rate: PositiveDecimal = "0.002"
    """The learning rate at the start; a cosine takes it to zero."""
    weight_decay: DecimalString = "0.01"
    """Weight decay: with SGD a part of the gradient, with AdamW apart from it."""
    augmentation: Literal["None", "WordDropout"] = "WordDropout"
    """`WordDropout`: a tenth of the words, drawn at random, becomes unknown. `None`: the texts as they are."""


class TextClassification(Model):
    """One label for each text. Metrics: accuracy (a fraction of 1), f1 (the mean over the classes) and loss
    (cross-entropy)."""

    metrics: ClassVar[tuple[Metric, ...]] = ("accuracy", "f1", "loss")
    spaces: ClassVar[tuple[str, ...]] = ("sequenceCells", "sequenceChain", "custom")

    dataset: TextDataset
    """The texts and their labels."""
    selection_percent: Annotated[int, Field(ge=5, le=50)] = 20
    """The share of the training texts that is set aside to choose between architectures. No weight, no architecture
    parameter and no word of the vocabulary is ever learnt from it. The test texts are used only for the final report.
    """
    max_tokens: Annotated[int, Field(ge=2, le=1024)] = 64
    """Words and marks of a text that a network sees; the rest of a longer one is cut off."""
    vocabulary: Annotated[int, Field(ge=16, le=262144)] = 8192
    """Largest number of different words, the most frequent of the training texts; all others are unknown."""
    training: TextTraining = TextTraining()
    """How a network is trained from scratch."""


class SpeechDataset(OneOf):
    """Where the recordings are."""

    volume: VolumeSource | None = None
    """A folder with `train/CLASS/*.wav` and `test/CLASS/*.wav`: PCM, one sample rate for all; channels are mixed."""


class LogMel(Model):
    """From a recording to frames: the logarithm of the energy in bands of the mel scale, at each step."""

    window_ms: Annotated[int, Field(ge=5, le=200)] = 25
    """Length of the window of one frame, in milliseconds."""
    hop_ms: Annotated[int, Field(ge=2, le=200)] = 10
    """From one frame to the next, in milliseconds."""
    mels: Annotated[int, Field(ge=8, le=256)] = 40
    """Bands between 0 Hz and half the sample rate."""


class SpeechTraining(Training):
    """The same for speech."""

    optimizer: Literal["SGD", "AdamW"] = "AdamW"
    """`AdamW` (Loshchilov and Hutter 2019), whose first moment decays by momentum, or `SGD` with momentum. It trains
    shared weights as well, but not the supernets of differentiable search."""
    batch_size: Annotated[int, Field(ge=2, le=8192)] = 64
    """Examples a step."""
    learning_rate: PositiveDecimal = "0.004"
    """The learning rate at the start; a cosine takes it to zero."""
    weight_decay: DecimalString = "0.01"
    """Weight decay: with SGD a part of the gradient, with AdamW apart from it."""
    augmentation: Literal["None", "SpecAugment"] = "SpecAugment"
    """`SpecAugment`: moved in time by up to a tenth, and one span of bands and one of steps silenced (Park et al.
    2019). `None`: the frames as they are."""


class SpeechClassification(Model):
    """One label for each recording. Metrics: accuracy (a fraction of 1), errorRate (1 - accuracy) and loss
    (cross-entropy)."""

    metrics: ClassVar[tuple[Metric, ...]] = ("accuracy", "errorRate", "loss")
    spaces: ClassVar[tuple[str, ...]] = ("sequenceChain", "sequenceCells", "custom")

    dataset: SpeechDataset
    """The recordings and their labels."""
    selection_percent: Annotated[int, Field(ge=5, le=50)] = 20
    """The share of the training recordings that is set aside to choose between architectures. No weight and no
    architecture parameter is ever trained on it. The test recordings are used only for the final report."""
    seconds: PositiveDecimal = "1"
    """What a network hears of a recording: the rest of a longer one is cut off, silence follows a shorter one."""
    features: LogMel = LogMel()
    """What networks take."""
    training: SpeechTraining = SpeechTraining()
    """How a network is trained from scratch."""


class Task(OneOf):
    """What is to be learnt."""

    image_classification: ImageClassification | None = None
    """One label for each image."""
    text_classification: TextClassification | None = None
    """One label for each text."""
    speech_classification: SpeechClassification | None = None
    """One label for each recording."""

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
    "textClassification": TextClassification,
    "speechClassification": SpeechClassification,
}
"""The settings of each task, by its name in a spec: `metrics` are what training is judged by, the field's standard
first, and `spaces` those whose networks can learn it, the one that is taken where none is named first."""
