"""Visual question answering: one of several answers for a question about an image; parts are split by image."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from torch import Tensor

from archsearch.api.signature import Input, Signature
from archsearch.api.task import VisualQuestionAnswering
from archsearch.networks.inputs import Inputs, laid_out, normalised, tensors
from archsearch.tasks.augment import Augmentation, augment
from archsearch.tasks.base import DataError, Labelled, Split
from archsearch.tasks.image import MIN_IMAGES, SPLIT_SEED, moments, split
from archsearch.tasks.question_files import QuestionFiles, Questions, read_questions
from archsearch.tasks.volume import located

SPECIAL: Final = ("[PAD]", "[UNK]")
"""The first tokens: what fills a question up, and a word that no question that is trained on has."""
MAX_TOKENS: Final = 64
"""Words and marks of a question."""


@dataclass(frozen=True)
class QuestionData(Labelled):
    """Questions about images with an answer each.

    The inputs of a split are the place of each question's image in `images` (N, C, H, W) uint8, and its tokens: an
    image is held once, however many questions there are about it.
    """

    images: Tensor = field(kw_only=True)
    augmentation: Augmentation = field(default="None", kw_only=True)

    name: ClassVar[str] = "visualQuestionAnswering"

    def raw(self, examples: Split) -> Inputs:
        """The image and the tokens of each question."""
        index, tokens = tensors(examples.inputs)
        return self.images[index.to(self.images.device)].to(index.device), tokens

    def prepare(self, batch: Split, changes: torch.Generator | None = None) -> Split:
        """Normalised images, moved at random before with `changes`, and tokens."""
        images, tokens = tensors(self.raw(batch))
        if changes is not None:
            images = augment(images, self.augmentation, changes)
        return Split(laid_out(normalised(self.signature, (images, tokens))), batch.targets)


def load_questions(task: VisualQuestionAnswering, data: Path | None, seed: int = SPLIT_SEED) -> QuestionData:
    """Read the data set and split it, so that no image is in two parts.

    data: where the claim of `dataset.volume` is mounted. seed: of the split; it is the same for every trial of every
    search. The tokenizer has the words of the questions that networks are trained on. Raises DataError with the file,
    what is wrong, the value and what to do.
    """
    folder, root = located(task.dataset.volume, data, "a folder with train.csv, test.csv and images", folder=True)
    read = read_questions(folder, root)
    count = len({*read.train.image})
    if count < MIN_IMAGES:
        raise DataError(
            f"{read.train.file}: there must be questions about at least {MIN_IMAGES} images (for the weights, the "
            f"architecture and the selection), but got {count}"
        )
    answers = _answers(read)
    parts = split(np.zeros(count, dtype=np.int64), task.selection_percent, seed)  # the training images come first
    train = np.array([read.names[name] for name in read.train.image])
    rows = {name: np.flatnonzero(np.isin(train, index)) for name, index in parts.items()}
    trained = np.concatenate([rows["weights"], rows["architecture"]])
    _check_trained(read.train, answers, trained)
    tokenizer, tokens, test_tokens = _tokens(read, trained)
    classes = {answer: at for at, answer in enumerate(answers)}
    targets = torch.tensor([classes[answer] for answer in read.train.answer])
    images = torch.from_numpy(np.ascontiguousarray(read.images.transpose(0, 3, 1, 2)))
    places = torch.from_numpy(train)
    made = {name: Split((places[index], tokens[index]), targets[index]) for name, index in rows.items()}
    mean, std = moments(read.images, np.concatenate([parts["weights"], parts["architecture"]]))
    signature = Signature(
        inputs=(
            Input(name="images", shape=tuple(images.shape[1:]), mean=mean, std=std),
            Input(name="question", shape=(tokens.shape[1],), vocabulary=tokenizer.get_vocab_size()),
        ),
        outputs="Classes",
        classes=len(answers),
    )
    return QuestionData(
        signature,
        weights=made["weights"],
        architecture=made["architecture"],
        selection=made["selection"],
        test=Split(
            (torch.tensor([read.names[name] for name in read.test.image]), test_tokens),
            torch.tensor([classes[answer] for answer in read.test.answer]),
        ),
        files={
            "tokenizer.json": tokenizer.to_str(pretty=True).encode(),
            "answers.json": json.dumps(answers, ensure_ascii=False, indent=1).encode(),
        },
        images=images,
        augmentation=task.training.augmentation,
    )


def _answers(read: QuestionFiles) -> list[str]:
    """The answers, sorted. DataError where there is only one, or the test has another."""
    answers = sorted({*read.train.answer})
    if len(answers) < 2:
        raise DataError(f"{read.train.file}: there must be at least 2 answers, but all are {answers[0]!r}")
    known = {*answers}
    for row, answer in enumerate(read.test.answer, 1):
        if answer not in known:
            raise DataError(
                f"{read.test.file}: every answer must be one of the {len(answers)} of {read.train.file.name}, but row "
                f"{row} has {answer[:100]!r}; write it as there, or remove the row"
            )
    return answers


def _check_trained(table: Questions, answers: Sequence[str], trained: np.ndarray) -> None:
    there = {table.answer[row] for row in trained}
    if missing := [answer for answer in answers if answer not in there]:
        images = len({image for image, answer in zip(table.image, table.answer, strict=True) if answer == missing[0]})
        raise DataError(
            f"{table.file}: every answer must be of an image that is trained on, but {missing[0][:100]!r} is the "
            f"answer for {images} images only, which the split gives to the selection; add such images or remove "
            "the rows"
        )


def _tokens(read: QuestionFiles, trained: np.ndarray) -> tuple[Tokenizer, Tensor, Tensor]:
    """A tokenizer of the trained rows, and the tokens (N, T) of training and test, T being those of the longest."""
    tokenizer = Tokenizer(models.WordLevel(unk_token=SPECIAL[1]))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()  # words, and marks such as ?
    trainer = trainers.WordLevelTrainer(special_tokens=list(SPECIAL), show_progress=False)
    tokenizer.train_from_iterator((read.train.question[row] for row in trained), trainer)
    length = 0
    for table in (read.train, read.test):
        lengths = [len(encoded) for encoded in tokenizer.encode_batch(table.question)]
        if (most := max(lengths)) > MAX_TOKENS:
            row = lengths.index(most)
            raise DataError(
                f"{table.file}: a question must have at most {MAX_TOKENS} words and marks, but row {row + 1} has "
                f"{most} ({table.question[row][:60]!r}...); shorten it or remove the row"
            )
        length = max(length, most)
    tokenizer.enable_padding(length=length, pad_id=0, pad_token=SPECIAL[0])
    tokenizer.enable_truncation(length)
    train, test = (
        torch.tensor([encoded.ids for encoded in tokenizer.encode_batch(table.question)])
        for table in (read.train, read.test)
    )
    return tokenizer, train, test
