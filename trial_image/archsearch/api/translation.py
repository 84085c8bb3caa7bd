"""One text for another."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from archsearch.api.base import DecimalString, Fraction, Model, OneOf, PositiveDecimal, Rule
from archsearch.api.metrics import Metric
from archsearch.api.training import Training, VolumeSource

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
