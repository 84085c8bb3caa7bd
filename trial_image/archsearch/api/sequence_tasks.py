"""One class for each text, or for each recording."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from archsearch.api.base import DecimalString, Model, OneOf, PositiveDecimal
from archsearch.api.metrics import Metric
from archsearch.api.training import Training, VolumeSource


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
