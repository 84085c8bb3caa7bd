"""Texts become tokens of a vocabulary of the training examples; each way in which tables can be wrong is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from tokenizers import Tokenizer

from archsearch.api import Space as SpaceSpec
from archsearch.api.sequence_tasks import TextClassification
from archsearch.api.task import Task
from archsearch.evaluation import Trainer, evaluate
from archsearch.networks import network
from archsearch.spaces import space_of
from archsearch.tasks import DataError, load
from archsearch.tasks.base import Split
from archsearch.tasks.text import TextData, word_tokenizer

NOUNS = {"animal": ["cat", "dog", "horse"], "plant": ["tree", "rose", "grass"]}
SPACE = space_of(
    SpaceSpec.model_validate({"sequenceCells": {"nodes": 1, "embedding": 8, "final": {"channels": 4, "cells": 1}}})
)


def settings(**changed: Any) -> TextClassification:
    given = {"dataset": {"volume": {"claimName": "data", "path": "texts"}}, "maxTokens": 6, "vocabulary": 32}
    return TextClassification.model_validate(given | changed)


def read(volume: Path, **changed: Any) -> TextData:
    found = load(Task(text_classification=settings(**changed)), volume)
    assert isinstance(found, TextData)
    return found


def rows(count: int) -> list[tuple[str, str]]:
    rng = np.random.default_rng(count)
    return [
        (f"The {rng.choice(NOUNS[label])}, no. {number}!", label)
        for number in range(count)
        for label in [sorted(NOUNS)[number % 2]]
    ]


def write(volume: Path, part: str, content: str | list[tuple[Any, Any]]) -> Path:
    file = volume / "texts" / f"{part}.csv"
    file.parent.mkdir(parents=True, exist_ok=True)
    if not isinstance(content, str):
        content = "text,label\n" + "".join(f'"{text}",{label}\n' for text, label in content)
    file.write_text(content)
    return file


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    write(tmp_path, "train", rows(60))
    write(tmp_path, "test", rows(20))
    return tmp_path


def test_texts_are_tokens_in_four_parts_that_never_overlap(volume: Path) -> None:
    data, again = read(volume), read(volume)
    assert [len(part) for part in (data.weights, data.architecture, data.selection, data.test)] == [24, 24, 12, 20]
    assert data.signature.inputs[0].shape == (6,)
    assert data.classes == 2
    seen: list[torch.Tensor] = []
    for part, other in ((data.weights, again.weights), (data.selection, again.selection)):
        assert isinstance(part.inputs, torch.Tensor)
        assert isinstance(other.inputs, torch.Tensor)
        assert torch.equal(part.inputs, other.inputs)
        assert part.targets.bincount().tolist() == [len(part) // 2] * 2
        seen.append(part.inputs)
    assert all(data.files[name] == again.files[name] for name in data.files)


def test_the_vocabulary_has_no_word_that_only_other_examples_have(volume: Path) -> None:
    data = read(volume)
    words = Tokenizer.from_str(data.files["tokenizer.json"].decode()).get_vocab()
    numbers = {int(word) for word in words if word.isdigit()}
    # Every text has its own number; the most frequent words fill the vocabulary.
    assert words["[PAD]"] == 0
    assert words["[UNK]"] == 1
    assert {"the", ",", "!", "cat", "rose"} <= words.keys()
    assert len(words) == data.signature.inputs[0].vocabulary == 32
    assert numbers < set(range(60))
    whole = read(volume, vocabulary=500)
    known = Tokenizer.from_str(whole.files["tokenizer.json"].decode()).get_vocab()
    assert sum(word.isdigit() for word in known) == 48  # those of the weights and architecture texts
    assert isinstance(whole.selection.inputs, torch.Tensor)
    assert (whole.selection.inputs == 1).any(1).all()
    assert not (whole.weights.inputs == 1).any()  # type: ignore[operator, union-attr]
    assert json.loads(whole.files["classes.json"]) == ["animal", "plant"]


def test_the_tokenizer_that_is_exported_gives_the_tokens() -> None:
    tokenizer = word_tokenizer(["What's a cat?", "a cat"], 16, 5)
    made = Tokenizer.from_str(tokenizer.to_str())
    assert made.encode("A Cat, a dog").tokens == ["a", "cat", "[UNK]", "a", "[UNK]"]
    assert made.encode("CAT?").tokens == ["cat", "?", "[PAD]", "[PAD]", "[PAD]"]
    assert made.encode("CAT?").ids[2:] == [0, 0, 0]
    assert len(made.encode("a a a a a a a").ids) == 5


def test_parquet_is_read_as_csv_is(volume: Path) -> None:
    expected = read(volume)
    for part, count in (("train", 60), ("test", 20)):
        (volume / "texts" / f"{part}.csv").unlink()
        texts, labels = zip(*rows(count), strict=True)
        table = pa.table({"more": range(count), "label": pa.array(labels).dictionary_encode(), "text": texts})
        pyarrow.parquet.write_table(table, volume / "texts" / f"{part}.parquet")
    found = read(volume)
    assert torch.equal(found.test.inputs, expected.test.inputs)  # type: ignore[arg-type]
    assert torch.equal(found.test.targets, expected.test.targets)


def test_integers_are_classes_in_the_order_of_numbers(volume: Path) -> None:
    write(volume, "train", [(f"cat {number}", (10, 9, -1)[number % 3]) for number in range(30)])
    write(volume, "test", [("cat", 10), ("cat", -1)])
    data = read(volume)
    assert json.loads(data.files["classes.json"]) == ["-1", "9", "10"]
    assert data.test.targets.tolist() == [2, 0]


BAD: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "no table": (lambda v: (v / "texts/test.csv").unlink(), ["texts: must hold test.csv or test.parquet", "train.csv"]),
    "two tables": (lambda v: (v / "texts/train.parquet").touch(), ["train.csv or train.parquet, but has both"]),
    "no folder": (lambda v: (v / "texts").rename(v / "others"), ["texts: does not exist", "there is others"]),
    "a link out": (
        lambda v: ((v / "texts/test.csv").unlink(), (v / "texts/test.csv").symlink_to("/etc/passwd")),
        ["test.csv: a table must stay inside the volume", "/etc/passwd"],
    ),
    "an empty file": (lambda v: write(v, "train", ""), ["train.csv: must have a first line"]),
    "no rows": (lambda v: write(v, "test", "text,label\n"), ["test.csv: must have at least one row"]),
    "no column": (lambda v: write(v, "train", "text,class\na,b\n"), ["column label once, but has it 0", "text, class"]),
    "a column twice": (lambda v: write(v, "train", "text,label,text\na,b,c\n"), ["column text once, but has it 2"]),
    "a row too long": (lambda v: write(v, "train", "text,label\na,b,c\n"), ["train.csv: must be a csv file", "3"]),
    "an empty text": (lambda v: write(v, "train", [("a", "b"), (" ", "b")]), ["text must not be empty", "row 2"]),
    "an empty label": (lambda v: write(v, "test", "text,label\na,\n"), ["test.csv: label must not be empty", "row 1"]),
    "one class": (lambda v: write(v, "train", [("a", "b")] * 9), ["at least 2 classes, but got 1"]),
    "a small class": (
        lambda v: write(v, "train", [*rows(20), ("a", "c"), ("a", "c")]), ["at least 3 training texts", "'c' has 2"]),
    "an unknown class": (lambda v: write(v, "test", [("a", "rock")]), ["'rock' is only among the test texts"]),
    "no Parquet": (
        lambda v: ((v / "texts/train.csv").rename(v / "texts/train.parquet")),
        ["train.parquet: must be a parquet file", "cannot be read"],
    ),
    "other letters": (
        lambda v: write(v, "train", "").write_bytes(b"text,label\n\xff\xfe,b\n"),
        ["train.csv", "UTF-8", "cannot be read"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_tables_that_cannot_be_used_are_told(volume: Path, name: str) -> None:
    spoil, said = BAD[name]
    spoil(volume)
    with pytest.raises(DataError) as caught:
        read(volume)
    assert not [words for words in said if words not in str(caught.value)], str(caught.value)


def test_numbers_that_are_no_integers_are_no_labels(volume: Path) -> None:
    (volume / "texts/train.csv").unlink()
    pyarrow.parquet.write_table(pa.table({"text": ["a"], "label": [0.5]}), volume / "texts/train.parquet")
    with pytest.raises(DataError, match=r"label must hold words or integers, but is of the type double"):
        read(volume)


def test_tables_larger_than_the_memory_are_not_read(volume: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("archsearch.tasks.tables.available_memory", lambda: 100)
    with pytest.raises(DataError, match=r"train\.csv: must fit into the memory"):
        read(volume)


def test_metrics_are_those_of_a_case_counted_by_hand(volume: Path) -> None:
    data = read(volume)
    outputs = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    tally = data.tally(outputs, torch.tensor([0, 0, 1, 1]))
    # Class 0: 2 right of 3 answers and 2 examples; class 1: 1 right of 1 and 2.
    assert tally.tolist() == [2, 1, 3, 1, 2, 2]
    assert data.values(tally) == pytest.approx({"accuracy": 0.75, "f1": (4 / 5 + 2 / 3) / 2})
    assert data.values(torch.tensor([2, 0, 2, 0, 2, 0])) == {"accuracy": 1.0, "f1": 1.0}  # the other does not occur


def test_word_dropout_makes_words_unknown_and_keeps_the_padding(volume: Path) -> None:
    data = read(volume)
    inputs = torch.tensor([[5, 6, 7, 0, 0]]).expand(4000, -1)
    batch = Split(inputs, torch.zeros(4000, dtype=torch.int64))
    made = data.augmented(batch, torch.Generator().manual_seed(0)).inputs
    assert isinstance(made, torch.Tensor)
    assert torch.equal(made, data.augmented(batch, torch.Generator().manual_seed(0)).inputs)  # type: ignore[arg-type]
    assert float((made == 1).double().mean()) == pytest.approx(0.1 * 3 / 5, abs=0.01)
    assert ((made == inputs) | (made == 1)).all()
    assert (made[:, 3:] == 0).all()
    assert read(volume, training={"augmentation": "None"}).augmented(batch, torch.Generator()) is batch


def test_training_lowers_the_loss_and_goes_on_as_if_never_interrupted(volume: Path) -> None:
    data, recipe = read(volume), settings(training={"batchSize": 8, "learningRate": "0.01"}).training

    def trainer() -> Trainer:
        torch.manual_seed(0)
        built = network(SPACE, SPACE.at(35), stack="final", signature=data.signature)
        return Trainer(built, data, recipe, epochs=4, seed=1)

    whole, first = trainer(), trainer()
    before = evaluate(whole.network, data, data.selection)
    for _ in range(4):
        whole.run_epoch(lambda: False)
    assert evaluate(whole.network, data, data.selection)["loss"] < before["loss"]
    asked = iter([False] * 8 + [True])
    first.run_epoch(lambda: next(asked))
    first.run_epoch(lambda: next(asked))
    second = trainer()
    second.load(first.state())
    while second.epoch < 4:
        second.run_epoch(lambda: False)
    for name, tensor in whole.network.state_dict().items():
        assert torch.equal(tensor, second.network.state_dict()[name]), name
