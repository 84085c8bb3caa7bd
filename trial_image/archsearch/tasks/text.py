"""Text classification: texts as tokens of a vocabulary that is learnt from the training examples alone."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from torch import Tensor

from archsearch.api.sequence_tasks import TextClassification
from archsearch.api.signature import Input, Signature
from archsearch.tasks.base import Labelled, Split
from archsearch.tasks.image import SPLIT_SEED, split
from archsearch.tasks.named import numbered
from archsearch.tasks.tables import read_tables
from archsearch.tasks.volume import located

PAD, UNKNOWN = 0, 1
SPECIAL: Final = ("[PAD]", "[UNK]")
"""Their names in the tokenizer, by number."""
DROPPED: Final = 0.1
"""Share of the words that WordDropout makes unknown."""
TOKENIZER: Final = "tokenizer.json"
CLASSES: Final = "classes.json"


@dataclass(frozen=True)
class TextData(Labelled):
    """Tokens (N, T) int64 with a class each."""

    augmentation: str = "None"

    name: ClassVar[str] = "textClassification"

    @property
    def counts(self) -> int:
        """Of each class: answers that are right, answers, and examples."""
        return 3 * self.classes

    def tally(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """(3 x classes,): those three after each other."""
        answers = outputs.argmax(1)
        found = [answers[answers == targets], answers, targets]
        return torch.cat([torch.bincount(item, minlength=self.classes) for item in found])

    def values(self, tally: Tensor) -> dict[str, float]:
        """accuracy, and f1: its mean over the classes that occur, among the answers or the examples."""
        right, answers, examples = tally.double().view(3, self.classes)
        occurs = answers + examples > 0
        f1 = 2 * right[occurs] / (answers + examples)[occurs]
        return {"accuracy": float(right.sum() / examples.sum()), "f1": float(f1.mean())}

    def augmented(self, batch: Split, changes: torch.Generator) -> Split:
        """Texts of which some words are unknown, as the spec says."""
        if self.augmentation == "None":
            return batch
        assert isinstance(batch.inputs, Tensor)  # noqa: S101 - tokens are all that there is
        drawn = (torch.rand(batch.inputs.shape, generator=changes) < DROPPED).to(batch.inputs.device)
        return Split(batch.inputs.masked_fill(drawn & (batch.inputs != PAD), UNKNOWN), batch.targets)


def load_texts(task: TextClassification, data: Path | None, seed: int = SPLIT_SEED) -> TextData:
    """Read the tables, split them, learn the vocabulary and number the words.

    data: where the claim of `dataset.volume` is mounted. seed: of the split; it is the same for every trial of every
    search. Raises DataError with the file, what is wrong, the value and what to do.
    """
    folder, root = located(task.dataset.member[1], data, "a folder with a train and a test table", folder=True)
    tables = read_tables(folder, root, ("text", "label"))
    labels = numbered(tables["train"]["label"], tables["test"]["label"], str(folder), "texts")
    parts = split(labels.train, task.selection_percent, seed)
    texts = tables["train"]["text"]
    learnt = [texts[index] for index in np.concatenate([parts["weights"], parts["architecture"]])]
    tokenizer = word_tokenizer(learnt, task.vocabulary, task.max_tokens)
    train, test = (_tokens(tokenizer, tables[part]["text"]) for part in ("train", "test"))
    made = {name: Split(train[index], torch.from_numpy(labels.train[index])) for name, index in parts.items()}
    tokens = Input(name="tokens", shape=(task.max_tokens,), vocabulary=tokenizer.get_vocab_size())
    return TextData(
        Signature(inputs=(tokens,), outputs="Classes", classes=len(labels.names)),
        weights=made["weights"],
        architecture=made["architecture"],
        selection=made["selection"],
        test=Split(test, torch.from_numpy(labels.test)),
        augmentation=task.training.augmentation,
        files={
            TOKENIZER: tokenizer.to_str(pretty=True).encode(),
            CLASSES: json.dumps(labels.names, ensure_ascii=False).encode(),
        },
    )


def word_tokenizer(texts: list[str], vocabulary: int, length: int) -> Tokenizer:
    """Words in lower case and marks apart, the most frequent of the texts; cut off or padded to a length."""
    tokenizer = Tokenizer(models.WordLevel(unk_token=SPECIAL[UNKNOWN]))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()  # punctuation is a word of its own
    # Sorted, because the trainer numbers words that are as frequent as each other in the order in which it meets them.
    trainer = trainers.WordLevelTrainer(vocab_size=vocabulary, special_tokens=list(SPECIAL), show_progress=False)
    tokenizer.train_from_iterator(sorted(texts), trainer)
    tokenizer.enable_truncation(length)
    tokenizer.enable_padding(pad_id=PAD, pad_token=SPECIAL[PAD], length=length)
    return tokenizer


def _tokens(tokenizer: Tokenizer, texts: list[str]) -> Tensor:
    """(N, T) int64."""
    return torch.tensor([encoding.ids for encoding in tokenizer.encode_batch(texts)])
