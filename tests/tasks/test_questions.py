"""Questions about images: parts share no image, words become tokens, and each kind of wrong data is said."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from pyarrow import parquet
from question_data import COLOURS, Row, rows_of, task, write, write_table
from tokenizers import Tokenizer

from archsearch.networks.inputs import normalise
from archsearch.tasks import DataError, QuestionData, Split, load


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> QuestionData:
    folder = tmp_path_factory.mktemp("questions")
    write(folder / "small")
    return load(task(), folder)


def names(data: QuestionData, split: Split) -> set[int]:
    return set(split.inputs[0].tolist())


def test_parts_share_no_image_and_leave_none_out(data: QuestionData) -> None:
    parts = [data.weights, data.architecture, data.selection, data.test]
    images = [names(data, part) for part in parts]
    assert sum(map(len, images)) == len(set.union(*images)) == len(data.images) == 40
    assert [len(found) for found in images] == [12, 12, 6, 10]  # of 30, a fifth for the selection
    assert sum(map(len, parts)) == 40 * 3
    assert len(data.training) == len(data.weights) + len(data.architecture)


def test_the_split_is_the_same_every_time_and_another_with_another_seed(tmp_path: Path, data: QuestionData) -> None:
    write(tmp_path / "small", order=reversed)  # the order of the rows does not matter
    again, other = load(task(), tmp_path), load(task(), tmp_path, seed=1)
    assert names(again, again.selection) == names(data, data.selection) != names(other, other.selection)
    assert again.files == data.files
    assert again.signature == data.signature


def test_a_question_has_its_image_its_words_and_its_answer(data: QuestionData) -> None:
    tokenizer = Tokenizer.from_str(data.files["tokenizer.json"].decode())
    answers = json.loads(data.files["answers.json"])
    assert answers == sorted([*COLOURS, "no", "yes"])
    assert data.classes == len(answers)
    colours = torch.tensor(list(COLOURS.values()), dtype=torch.uint8)
    asked = 0
    for part in (data.weights, data.architecture, data.selection, data.test):
        images, tokens = data.raw(part)
        for image, ids, target in zip(images, tokens, part.targets, strict=True):
            question, answer = tokenizer.decode(ids.tolist()), answers[int(target)]
            shown = list(COLOURS)[(colours == image[:, 4, 4]).all(1).nonzero().item()]
            if question.startswith("what"):
                assert answer == shown
                asked += 1
            else:
                assert answer == ("yes" if shown in question else "no")
    assert asked == 40


def test_words_are_lower_case_marks_are_words_and_unknown_ones_are_told(data: QuestionData) -> None:
    tokenizer = Tokenizer.from_str(data.files["tokenizer.json"].decode())
    encoded = tokenizer.encode("IS it red?")
    assert encoded.tokens == ["is", "it", "red", "?", "[PAD]", "[PAD]"]
    assert encoded.ids[-1] == 0
    assert tokenizer.encode("is it purple").tokens[2] == "[UNK]"
    assert data.signature.inputs[1].vocabulary == tokenizer.get_vocab_size()
    assert data.signature.inputs[1].shape == (6,)  # what colour is the shape?


def test_a_word_of_the_selection_or_test_alone_is_unknown(tmp_path: Path) -> None:
    train, test = rows_of()
    test = [Row(row.image, f"{row.question} please", row.answer) for row in test]
    write(tmp_path / "small", train, test)
    found = load(task(), tmp_path)
    assert "please" not in json.loads(found.files["tokenizer.json"])["model"]["vocab"]
    assert (found.test.inputs[1] == 1).any(1).all()  # [UNK]
    assert not (found.training.inputs[1] == 1).any()


def test_networks_get_normalised_images_and_moved_ones_where_asked(data: QuestionData) -> None:
    batch = data.weights.first(5)
    images, tokens = data.prepare(batch).inputs
    item = data.signature.inputs[0]
    raw = data.raw(batch)[0]
    assert raw.dtype == torch.uint8
    torch.testing.assert_close(images, normalise(raw, item.mean, item.std))
    assert torch.equal(tokens, batch.inputs[1])
    every = data.images[sorted(names(data, data.training))].double()
    assert item.mean == pytest.approx(every.mean((0, 2, 3)).tolist())
    assert item.std == pytest.approx(every.std((0, 2, 3), correction=0).tolist())


def test_a_shift_moves_images_and_keeps_questions(tmp_path: Path, data: QuestionData) -> None:
    write(tmp_path / "small")
    shifted = load(task(training={"augmentation": "Shift"}), tmp_path)
    batch = shifted.weights.first(9)
    images, tokens = shifted.prepare(batch, torch.Generator().manual_seed(1)).inputs
    again = shifted.prepare(batch, torch.Generator().manual_seed(1)).inputs[0]
    assert torch.equal(images, again)
    assert not torch.equal(images, shifted.prepare(batch).inputs[0])
    assert torch.equal(tokens, batch.inputs[1])
    unmoved = data.prepare(batch, torch.Generator().manual_seed(1)).inputs[0]
    assert torch.equal(unmoved, data.prepare(batch).inputs[0])


def test_accuracy_and_loss_are_those_computed_by_hand(data: QuestionData) -> None:
    targets = torch.tensor([0, 1, 2, 2])
    outputs = torch.zeros(4, data.classes)
    outputs[range(4), [0, 1, 2, 0]] = 2.0
    tally = data.tally(outputs, targets)
    assert data.values(tally + tally) == {"accuracy": 0.75}
    total = np.exp(2) + data.classes - 1
    expected = -(3 * np.log(np.exp(2) / total) + np.log(1 / total)) / 4
    assert float(data.loss(outputs, targets)) == pytest.approx(expected, rel=1e-6)


def test_parquet_gives_what_csv_gives(tmp_path: Path, data: QuestionData) -> None:
    write(tmp_path / "small", suffix=".parquet")
    found = load(task(), tmp_path)
    assert torch.equal(found.weights.inputs[1], data.weights.inputs[1])
    assert torch.equal(found.images, data.images)
    table = parquet.read_table(tmp_path / "small" / "train.parquet")
    coded = table.set_column(2, "answer", table["answer"].combine_chunks().dictionary_encode())
    parquet.write_table(coded, tmp_path / "small" / "train.parquet")
    assert torch.equal(load(task(), tmp_path).weights.targets, data.weights.targets)


def rewrite(part: str, change: Callable[[list[list[str]]], Sequence[Sequence[str]] | None]) -> Callable[[Path], None]:
    """A change of the rows of a CSV file, the first being the header."""

    def apply(folder: Path) -> None:
        file = folder / f"{part}.csv"
        with file.open(newline="") as opened:
            rows = list(csv.reader(opened))
        rows = change(rows) or rows
        with file.open("w", newline="") as opened:
            csv.writer(opened).writerows(rows)

    return apply


def cell(row: int, column: int, word: str) -> Callable[[list[list[str]]], None]:
    return lambda rows: rows[row].__setitem__(column, word)


def as_parquet(**columns: Any) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        (folder / "train.csv").unlink()
        given = {"image": ["a.png"], "question": ["q"], "answer": ["yes"]} | columns
        parquet.write_table(pa.table({name: value for name, value in given.items() if value}), folder / "train.parquet")

    return apply


def picture(name: str, size: tuple[int, int], mode: str = "RGB") -> Callable[[Path], None]:
    return lambda folder: Image.new(mode, size).save(folder / "images" / name)


BAD: dict[str, tuple[Callable[[Path], Any], list[str]]] = {
    "no training table": (lambda f: (f / "train.csv").unlink(), ["train.csv or train.parquet", "images, test.csv"]),
    "two tables": (lambda f: (f / "test.parquet").touch(), ["test.csv or test.parquet, but has both", "remove one"]),
    "a folder as table": (
        lambda f: ((f / "test.csv").unlink(), (f / "test.csv").mkdir()), ["test.csv", "is no regular file"]),
    "no images folder": (lambda f: (f / "images").rename(f / "pictures"), ["images", "must be a folder"]),
    "no Parquet file": (
        lambda f: ((f / "test.csv").unlink(), (f / "test.parquet").write_bytes(b"PAR1")),
        ["test.parquet", "must be a parquet file"]),
    "rows of different length": (lambda f: (f / "test.csv").write_text("image,question,answer\na,b\n"),
        ["test.csv", "must be a csv file"]),
    "no text": (lambda f: (f / "test.csv").write_bytes(b"image,question,answer\na.png,\xff\xfe,yes\n"),
        ["test.csv", "must be a csv file", "UTF-8"]),
    "empty file": (lambda f: (f / "test.csv").write_bytes(b""), ["test.csv", "must have a first line"]),
    "no rows": (rewrite("test", lambda rows: rows[:1]), ["test.csv", "at least one row"]),
    "no answers": (
        rewrite("train", lambda rows: [row[:2] for row in rows]), ["image, question, answer", "has it 0 times"]),
    "column twice": (
        rewrite("train", lambda rows: [[*row, row[1]] for row in rows]), ["train.csv", "has it 2 times"]),
    "blank question": (rewrite("train", cell(4, 1, "  ")), ["question must not be empty", "row 4"]),
    "blank answer": (rewrite("test", cell(2, 2, "")), ["test.csv", "answer must not be empty", "row 2"]),
    "a number for a text": (as_parquet(answer=[1.5]), ["train.parquet", "answer must hold words", "double"]),
    "null": (as_parquet(answer=["yes", None], image=["a.png"] * 2, question=["q"] * 2), ["must not be empty", "row 2"]),
    "no column in Parquet": (as_parquet(question=None), ["train.parquet", "has it 0 times", "image, answer"]),
    "missing image": (rewrite("train", cell(1, 0, "gone.png")), ["train.csv", "row 1", "'gone.png'"]),
    "path for a name": (rewrite("test", cell(3, 0, "../train.csv")), ["test.csv", "row 3", "'../train.csv'"]),
    "absolute path": (rewrite("test", cell(3, 0, "/etc/passwd")), ["row 3", "'/etc/passwd'", "name of a file"]),
    "zero byte": (rewrite("train", cell(1, 0, "a\0.png")), ["train.csv", "row 1"]),
    "no image by its name": (
        lambda f: (rewrite("train", cell(1, 0, "a.txt"))(f), (f / "images" / "a.txt").touch()),
        ["must end in .jpeg, .jpg, .png", "row 1"]),
    "no image by its bytes": (lambda f: (f / "images" / "train-00.png").write_bytes(b"GIF"), ["train-00.png"]),
    "broken image": (
        lambda f: (f / "images" / "train-00.png").write_bytes((f / "images" / "train-00.png").read_bytes()[:60]),
        ["train-00.png"]),
    "folder for an image": (
        lambda f: ((f / "images" / "train-00.png").unlink(), (f / "images" / "train-00.png").mkdir()),
        ["train-00.png", "no regular file"]),
    "another size": (picture("test-03.png", (9, 8)), ["test-03.png", "one size", "9x8"]),
    "16 bits": (picture("test-03.png", (8, 8), "I;16"), ["test-03.png", "8 bits"]),
    "image in both parts": (
        rewrite("test", cell(3, 0, "train-05.png")), ["test.csv", "train-05.png is in both", "1 such"]),
    "unknown answer": (rewrite("test", cell(3, 2, "maybe")), ["test.csv", "row 3 has 'maybe'"]),
    "one answer": (
        rewrite("train", lambda rows: [rows[0], *([*row[:2], "yes"] for row in rows[1:])]),
        ["train.csv", "at least 2 answers", "'yes'"]),
    "two images": (lambda f: rewrite("train", lambda rows: rows[:7])(f), ["at least 3 images", "got 2"]),
    "long question": (rewrite("train", cell(5, 1, "why " * 65)), ["at most 64 words", "row 5 has 65"]),
}  # fmt: skip


@pytest.mark.parametrize(("change", "said"), BAD.values(), ids=BAD.keys())
def test_the_error_says_which_file_is_wrong_and_how(
    tmp_path: Path, change: Callable[[Path], Any], said: list[str]
) -> None:
    write(tmp_path / "small")
    change(tmp_path / "small")
    with pytest.raises(DataError) as raised:
        load(task(), tmp_path)
    for words in said:
        assert words in str(raised.value)
    assert str(tmp_path) in str(raised.value)


def test_an_answer_that_the_split_leaves_to_the_selection_is_named(tmp_path: Path, data: QuestionData) -> None:
    train, test = rows_of()
    chosen = min(names(data, data.selection))
    train[3 * chosen] = Row(train[3 * chosen].image, "how many?", "seven")
    write(tmp_path / "small", train, test)
    with pytest.raises(DataError, match="'seven' is the answer for 1 images only"):
        load(task(), tmp_path)


def test_nothing_outside_the_volume_is_read(tmp_path: Path) -> None:
    volume, outside = tmp_path / "volume", tmp_path / "outside"
    for name in ("images/train-00.png", "train.csv", "images"):
        write(volume / "small")
        write(outside)
        path = volume / "small" / name
        path.rename(volume / f"moved-{path.name}")
        path.symlink_to(outside / name)
        with pytest.raises(DataError, match="must stay inside the volume"):
            load(task(), volume)
        path.unlink()
        (volume / f"moved-{path.name}").rename(path)
    (volume / "away").symlink_to(outside)
    with pytest.raises(DataError, match="must stay inside the volume"):
        load(task(path="away"), volume)


def test_the_size_is_looked_at_before_memory_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "small")
    monkeypatch.setattr("archsearch.tasks.tables.available_memory", lambda: 100)
    with pytest.raises(DataError, match=r"train\.csv: must fit into the memory of 0 MiB"):
        load(task(), tmp_path)
    monkeypatch.setattr("archsearch.tasks.tables.available_memory", lambda: 10**9)
    monkeypatch.setattr("archsearch.tasks.folder.available_memory", lambda: 40 * 8 * 8 * 3 - 1)
    with pytest.raises(DataError, match="images: the images must fit into the memory"):
        load(task(), tmp_path)


def test_a_volume_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="claim data must be mounted, but the trial has no data folder"):
        load(task(), None)
    with pytest.raises(DataError, match="must be mounted here, but there is no folder"):
        load(task(), tmp_path / "gone")
    with pytest.raises(DataError, match=r"small: (does not exist|is no folder); .* must name a folder with train\.csv"):
        load(task(), tmp_path)


def test_grey_images_have_one_channel(tmp_path: Path) -> None:
    write(tmp_path / "small")
    for file in (tmp_path / "small" / "images").iterdir():
        with Image.open(file) as image:
            image.convert("L").save(file)
    assert load(task(), tmp_path).signature.shape == (1, 8, 8)


def test_tables_are_written_as_documented(tmp_path: Path) -> None:
    write_table(tmp_path / "train.csv", rows_of()[0][:1])
    assert (tmp_path / "train.csv").read_text().splitlines() == [
        "image,question,answer", "train-00.png,what colour is the shape?,red"
    ]  # fmt: skip
