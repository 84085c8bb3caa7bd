"""Questions about images as files: a table of each part, CSV or Parquet, and a folder of images that they name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
from pyarrow import csv, parquet

from archsearch.tasks.arrays import MEBIBYTE, available_memory
from archsearch.tasks.base import DataError
from archsearch.tasks.folder import inside, read_images

COLUMNS: Final = ("image", "question", "answer")
SUFFIXES: Final = (".csv", ".parquet")
IMAGES: Final = frozenset({".png", ".jpg", ".jpeg"})


@dataclass(frozen=True)
class Table:
    """The rows of a part. file: where they are from."""

    file: Path
    image: list[str]
    question: list[str]
    answer: list[str]


@dataclass(frozen=True)
class QuestionFiles:
    """A data set as it was read. names: of the training images and then of the test images, sorted; images: in that
    order, (N, H, W, C) uint8."""

    train: Table
    test: Table
    names: Mapping[str, int]
    images: np.ndarray


def read_questions(folder: Path, root: Path) -> QuestionFiles:
    """Read the tables and every image that they name, once. root: the volume, which no link may leave.

    DataError says which file is wrong, how, and what is expected.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: must be a folder with train.csv, test.csv and images, but is no folder")
    train, test = (_read_table(_find(folder, part), root) for part in ("train", "test"))
    if both := sorted({*train.image} & {*test.image}):
        raise DataError(
            f"{test.file}: no image of {train.file.name} may be asked about in the test, but {both[0]} is in both "
            f"({len(both)} such images); remove its rows from one of them"
        )
    names = [*sorted({*train.image}), *sorted({*test.image})]
    files = _files(folder / "images", root, names, (train, test))
    return QuestionFiles(train, test, {name: at for at, name in enumerate(names)}, read_images(files))


def _find(folder: Path, part: str) -> Path:
    found = [folder / f"{part}{suffix}" for suffix in SUFFIXES if (folder / f"{part}{suffix}").exists()]
    if len(found) > 1:
        raise DataError(f"{folder}: must hold one of {found[0].name} and {found[1].name}, but has both; remove one")
    if not found:
        there = ", ".join(sorted(item.name for item in folder.iterdir())[:10]) or "nothing"
        raise DataError(f"{folder}: must hold {part}.csv or {part}.parquet, but has neither (it has {there})")
    return found[0]


def _read_table(file: Path, root: Path) -> Table:
    if not inside(root, file, "a table").is_file():  # reading a pipe would wait for ever
        raise DataError(f"{file}: must be a file, but is none; remove it")
    try:
        table = _csv(file) if file.suffix == ".csv" else _parquet(file)
    except (pa.ArrowException, ValueError, OSError) as error:
        if isinstance(error, (DataError, PermissionError)):
            raise
        said = str(error).partition("\n")[0]
        raise DataError(f"{file}: cannot be read as {file.suffix[1:]} ({said}); write it again as UTF-8 text") from None
    columns = {name: _words(file, table, name) for name in COLUMNS}
    if not columns["image"]:
        raise DataError(f"{file}: must hold at least one question, but has no rows")
    return Table(file, **columns)


def _csv(file: Path) -> pa.Table:
    _check_size(file, file.stat().st_size)
    return csv.read_csv(
        file,
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(column_types=dict.fromkeys(COLUMNS, pa.string())),
    )


def _parquet(file: Path) -> pa.Table:
    with parquet.ParquetFile(file) as opened:
        groups = (opened.metadata.row_group(at) for at in range(opened.metadata.num_row_groups))
        _check_size(file, sum(group.total_byte_size for group in groups))
        _check_columns(file, opened.schema_arrow.names)
        return opened.read(columns=list(COLUMNS))


def _check_size(file: Path, size: int) -> None:
    if size > (there := available_memory()):
        raise DataError(
            f"{file}: must fit into the memory of {there // MEBIBYTE:,} MiB, but takes {size // MEBIBYTE:,} MiB; raise "
            "trial.resources.limits.memory, or use fewer rows"
        )


def _check_columns(file: Path, names: Sequence[str]) -> None:
    if missing := [name for name in COLUMNS if names.count(name) != 1]:
        said = f"has {names.count(missing[0])} columns {missing[0]}"
        raise DataError(
            f"{file}: must have the columns {', '.join(COLUMNS)}, each once, but {said} (it has "
            f"{', '.join(names[:10])}); name them in the first row of a CSV file"
        )


def _words(file: Path, table: pa.Table, name: str) -> list[str]:
    _check_columns(file, table.column_names)
    column = table.column(name)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        raise DataError(f"{file}: the column {name} must be text, but is {column.type}; write it as strings")
    words: list[str | None] = column.to_pylist()
    found = [(word or "").strip() for word in words]
    if "" in found:
        raise DataError(
            f"{file}: the column {name} must hold text in every row, but row {found.index('') + 1} has none; fill it "
            "in or remove the row"
        )
    return found


def _files(folder: Path, root: Path, names: Sequence[str], tables: Sequence[Table]) -> list[Path]:
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
