"""Questions about images as files: a table of each part, CSV or Parquet, and a folder of images that they name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from archsearch.tasks.base import DataError
from archsearch.tasks.folder import inside, read_images
from archsearch.tasks.tables import read_tables

COLUMNS: Final = ("image", "question", "answer")
IMAGES: Final = frozenset({".png", ".jpg", ".jpeg"})


@dataclass(frozen=True)
class Questions:
    """The rows of a part. file: where they are from."""

    file: Path
    image: list[str]
    question: list[str]
    answer: list[str]


@dataclass(frozen=True)
class QuestionFiles:
    """A data set as it was read. names: of the training images and then of the test images, sorted; images: in that
    order, (N, H, W, C) uint8."""

    train: Questions
    test: Questions
    names: Mapping[str, int]
    images: np.ndarray


def read_questions(folder: Path, root: Path) -> QuestionFiles:
    """Read the tables and every image that they name, once. root: the volume, which no link may leave.

    DataError says which file is wrong, how, and what is expected.
    """
    tables = read_tables(folder, root, COLUMNS)
    train, test = (Questions(table.file, **table.columns) for table in (tables["train"], tables["test"]))
    if both := sorted({*train.image} & {*test.image}):
        raise DataError(
            f"{test.file}: no image of {train.file.name} may be asked about in the test, but {both[0]} is in both "
            f"({len(both)} such images); remove its rows from one of them"
        )
    names = [*sorted({*train.image}), *sorted({*test.image})]
    files = _files(folder / "images", root, names, (train, test))
    return QuestionFiles(train, test, {name: at for at, name in enumerate(names)}, read_images(files))


def _files(folder: Path, root: Path, names: Sequence[str], tables: Sequence[Questions]) -> list[Path]:
    """The image files, in the order of their names."""
    if not folder.is_dir():
        raise DataError(f"{folder}: must be a folder with the images that the tables name, but is no folder")
    there = {item.name for item in inside(root, folder, "the folder of images").iterdir()}
    for name in names:
        if name in there and Path(name).suffix.lower() in IMAGES:
            if not inside(root, folder / name, "an image").is_file():
                raise DataError(f"{folder / name}: must be an image, but is no regular file; remove it")
            continue
        table = next(table for table in tables if name in table.image)
        what = (
            f"must end in {', '.join(sorted(IMAGES))}" if name in there else f"must be the name of a file in {folder}"
        )
        raise DataError(
            f"{table.file}: image {what}, but row {table.image.index(name) + 1} has {name[:100]!r}; correct the name "
            "or add the file"
        )
    return [folder / name for name in names]
