"""Small questions about images of one colour: what colour, and whether it is one that is named."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from PIL import Image
from pyarrow import parquet

from archsearch.api.task import Task

COLOURS = {"red": (250, 10, 20), "green": (30, 240, 40), "blue": (0, 60, 255)}
TRAIN, TEST = 30, 10


class Row(NamedTuple):
    """A question."""

    image: str
    question: str
    answer: str


def task(path: str = "small", **settings: Any) -> Task:
    """The task of these questions in a folder of the volume."""
    dataset = {"volume": {"claimName": "data", "path": path}}
    return Task.model_validate({"visualQuestionAnswering": {"dataset": dataset, **settings}})


def colour_of(number: int) -> str:
    """The colour of an image."""
    return list(COLOURS)[number % 3]


def rows_of(train: int = TRAIN, test: int = TEST) -> tuple[list[Row], list[Row]]:
    """Three questions about each image."""
    made: tuple[list[Row], list[Row]] = ([], [])
    for rows, part, count in zip(made, ("train", "test"), (train, test), strict=True):
        for number in range(count):
            name, colour, other = f"{part}-{number:02}.png", colour_of(number), colour_of(number + 1 + number // 3 % 2)
            rows.append(Row(name, "what colour is the shape?", colour))
            rows.append(Row(name, f"Is it {colour}?", "yes"))
            rows.append(Row(name, f"Is it {other}?", "no"))
    return made


def write(
    folder: Path,
    train: Sequence[Row] | None = None,
    test: Sequence[Row] | None = None,
    *,
    suffix: str = ".csv",
    order: Callable[[Sequence[Row]], Iterable[Row]] = list,
    counts: tuple[int, int] = (TRAIN, TEST),
) -> None:
    """A data set as the task wants it: images of 8 x 8 with a little noise at their rims."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for part, count in zip(("train", "test"), counts, strict=True):
        for number in range(count):
            pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            pixels[2:6, 2:6] = COLOURS[colour_of(number)]
            Image.fromarray(pixels).save(folder / "images" / f"{part}-{number:02}.png")
    own = rows_of(*counts)
    write_table(folder / f"train{suffix}", order(own[0] if train is None else train))
    write_table(folder / f"test{suffix}", order(own[1] if test is None else test))


def write_table(file: Path, rows: Iterable[Row]) -> None:
    """A table, as its suffix says."""
    if file.suffix == ".csv":
        with file.open("w", newline="") as opened:
            csv.writer(opened).writerows([Row._fields, *rows])
    else:
        parquet.write_table(pa.Table.from_pylist([row._asdict() for row in rows]), file)
