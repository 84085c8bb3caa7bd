"""What is to be learnt, and from which data."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field, StringConstraints

from archsearch.api.base import DecimalString, Fraction, Model, ObjectName, OneOf, PositiveDecimal, Rule
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


Language = Literal[
    "cs", "da", "de", "digits", "en", "es", "fi", "fr", "hu", "id", "it", "nl", "no", "pl", "pt", "ro", "sv", "tr",
    "uk", "vi",
]  # fmt: skip


class SentencePairs(OneOf):
    """Where the pairs of texts are."""

    builtin: Literal["numberWords"] | None = None
    """A data set that the trial image carries. `numberWords`: whole numbers in the words of two languages, from the
    library num2words; see the task's `numberWords`."""
    volume: VolumeSource | None = None
    """A folder with `train.csv` or `train.parquet` and `test.csv` or `test.parquet`, which have the columns `source`
    and `target` with a text each. A CSV file is UTF-8 and its first line has the names. Training pairs whose source is
    a source of the test as well are left out."""


class NumberWords(Model):
    """How the pairs of `builtin: numberWords` are made."""

    source: Language = "de"
    """The language to translate from; `digits` are figures, 1234."""
    target: Language = "en"
    """The language to translate to. Where numbers are one word, as in German, BLEU counts no n-grams but words."""
    pairs: Annotated[int, Field(ge=200, le=100_000)] = 5000
    """How many different numbers there are; a tenth of them is the test. The same for every search."""
    largest: Annotated[int, Field(ge=999, le=999_999)] = 999_999
    """Numbers are drawn from 0 to this, each alike: nine in ten are as long as this."""

    rules = (
        Rule(expression="self.source != self.target", message="target must differ from source", field_path=".target"),
        Rule(expression="self.pairs <= self.largest", message="pairs must be at most largest", field_path=".pairs"),
    )
    checks = (
        lambda self: None if self.source != self.target else
        f"target must differ from source, but got {self.target}",
        lambda self: None if self.pairs <= self.largest else
        f"pairs must be at most largest ({self.largest}), but got {self.pairs}",
    )  # fmt: skip


class TranslationTraining(Training):
    """The same for texts; other values where left out."""

    optimizer: Literal["SGD", "AdamW"] = "AdamW"
    """`AdamW` (Loshchilov and Hutter 2019), whose first moment decays by momentum, or `SGD` with momentum."""
    batch_size: Annotated[int, Field(ge=2, le=8192)] = 64
    """Pairs a step."""
    learning_rate: PositiveDecimal = "0.001"
    """The learning rate at the start; a cosine takes it to zero."""
    weight_decay: DecimalString = "0.01"
    """Weight decay: with SGD a part of the gradient, with AdamW apart from it."""
    gradient_clip: PositiveDecimal = "1"
    """Largest norm of the gradient; a longer one is shortened."""
    label_smoothing: Fraction = "0"
    """The share of each answer that training gives to all tokens alike; 0.1 is usual where texts have many
    translations."""


class Translation(Model):
    """One text for another, such as its translation, token by token. Metrics: bleu (sacrebleu's corpus BLEU, a fraction
    of 1) and exactMatch (the share of texts that are right to the letter) of texts that are written greedily,
    tokenAccuracy (the share of tokens that are right where all before are given) and loss (a token's cross-entropy)."""

    metrics: ClassVar[tuple[Metric, ...]] = ("bleu", "exactMatch", "tokenAccuracy", "loss")
    spaces: ClassVar[tuple[str, ...]] = ("elasticTransformer",)

    dataset: SentencePairs
    """The pairs of texts."""
    number_words: NumberWords = NumberWords()
    """How the built-in pairs are made; not looked at where they are on a volume."""
    selection_percent: Annotated[int, Field(ge=5, le=50)] = 10
    """The share of the training pairs that is set aside to choose between architectures. No weight and no architecture
    parameter is ever trained on it. The test pairs are used only for the final report."""
    vocabulary: Annotated[int, Field(ge=32, le=65_536)] = 256
    """Most tokens of the tokenizer: byte pair encoding (Sennrich et al. 2016), one for both sides, learnt from what
    weights are trained on."""
    max_tokens: Annotated[int, Field(ge=4, le=1024)] = 64
    """Tokens of a text, with one at its end. What is longer is not trained on; of selection and test a longer source is
    cut, and no answer to a longer target is right."""
    training: TranslationTraining = TranslationTraining()
    """How a network is trained from scratch."""


class Task(OneOf):
    """What is to be learnt."""

    image_classification: ImageClassification | None = None
    """One label for each image."""
    translation: Translation | None = None
    """One text for another."""

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
    "translation": Translation,
}
"""The settings of each task, by its name in a spec: `metrics` are what training is judged by, the field's standard
first, and `spaces` those whose networks can learn it, the one that is taken where none is named first."""
