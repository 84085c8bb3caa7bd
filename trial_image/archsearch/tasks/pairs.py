"""Data sets that are pairs of texts: number words that num2words makes, and tables in CSV or Parquet files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from archsearch.api.task import Language, NumberWords, VolumeSource
from archsearch.tasks.arrays import MEBIBYTE, memory
from archsearch.tasks.base import DataError
from archsearch.tasks.folder import inside

COLUMNS: Final = ("source", "target")
SUFFIXES: Final = (".csv", ".parquet")
DRAWN_SEED: Final = 0
TEST_SHARE: Final = 0.1
MAX_CHARACTERS: Final = 100_000
"""Of a text: more is no sentence but a file that was read wrongly."""
CSV_BLOCK: Final = 2**24
"""Bytes that are read at once; a row must fit in."""
GROWTH: Final = 4
"""Bytes in memory for each byte of texts, roughly: Arrow's own, Python's strings, their tokens."""

Pairs = list[tuple[str, str]]


@dataclass(frozen=True)
class PairSet:
    """A data set as it was read. origin: what messages call it."""

    train: Pairs
    test: Pairs
    origin: str


def number_words(settings: NumberWords) -> PairSet:
    """Different numbers in words, the same ones every time; a tenth of them is the test."""
    rng = np.random.default_rng(DRAWN_SEED)
    numbers = rng.choice(settings.largest + 1, settings.pairs, replace=False).tolist()
    pairs = [(_words(number, settings.source), _words(number, settings.target)) for number in numbers]
    test = round(len(pairs) * TEST_SHARE)
    return PairSet(pairs[test:], pairs[:test], "numberWords")


def _words(number: int, language: Language) -> str:
    from num2words import num2words

    return str(number) if language == "digits" else str(num2words(number, lang=language)).strip()


def read_pairs(volume: VolumeSource, data: Path | None) -> PairSet:
    """Read both tables of a folder. DataError says which file is wrong, how, and what is expected.

    data: where the claim is mounted; nothing outside it is read.
    """
    if data is None:
        raise DataError(
            f"dataset.volume: the claim {volume.claim_name} must be mounted, but the trial has no data folder"
        )
    if not data.is_dir():
        raise DataError(f"{data}: the claim {volume.claim_name} must be mounted here, but there is no folder")
    folder = data / volume.path
    try:
        found = inside(data, folder, "dataset.volume.path")
        if not found.is_dir():
            there = ", ".join(sorted(item.name for item in data.iterdir())[:10]) or "nothing"
            raise DataError(f"{folder}: must be a folder with a train and a test table, but is none (there is {there})")
        files = {part: _table_file(folder, part, data) for part in ("train", "test")}
        return PairSet(_read(files["train"]), _read(files["test"]), str(folder))
    except PermissionError as error:
        raise DataError(
            f"{error.filename or folder}: must be readable by the trial's user, but is not; change its mode"
        ) from None


def _table_file(folder: Path, part: str, root: Path) -> Path:
    found = [file for suffix in SUFFIXES if (file := folder / f"{part}{suffix}").exists()]
    if len(found) != 1:
        there = ", ".join(sorted(item.name for item in folder.iterdir())[:10]) or "nothing"
        raise DataError(
            f"{folder}: must hold either {part}.csv or {part}.parquet, but has {'both' if found else 'neither'} "
            f"(it has {there})"
        )
    if not inside(root, found[0], "a table").is_file():  # reading a pipe would wait for ever
        raise DataError(f"{found[0]}: must be a table, but is no regular file; replace it")
    return found[0]


def _read(file: Path) -> Pairs:
    import pyarrow as pa

    try:
        table = _csv(file) if file.suffix == ".csv" else _parquet(file)
        columns = [table.column(name).to_pylist() for name in COLUMNS]
    except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
        if isinstance(error, PermissionError):
            raise
        said = str(error).partition("\n")[0]
        raise DataError(
            f"{file}: must be a {'CSV file in UTF-8' if file.suffix == '.csv' else 'Parquet file'} with the columns "
            f"{' and '.join(COLUMNS)}, but cannot be read as one ({said}); write it again"
        ) from None
    if not columns[0]:
        raise DataError(f"{file}: must hold at least one pair, but has none")
    for name, texts in zip(COLUMNS, columns, strict=True):
        for row, text in enumerate(texts, 1):
            if text is None or not text.strip():
                raise DataError(f"{file}: {name} must be a text in every row, but row {row} has none; remove the row")
            if len(text) > MAX_CHARACTERS:
                raise DataError(
                    f"{file}: {name} must have at most {MAX_CHARACTERS:,} characters, but row {row} has {len(text):,}; "
                    "split it, or look whether a quotation mark is missing"
                )
    return list(zip(*columns, strict=True))


def _csv(file: Path) -> Any:
    """The table of a CSV file. A text may go over several lines within quotation marks."""
    import pyarrow as pa
    from pyarrow import csv

    _check_size(file, file.stat().st_size)
    reading = csv.ReadOptions(use_threads=False, block_size=CSV_BLOCK)
    parsing = csv.ParseOptions(newlines_in_values=True)
    names = _known(file, csv.open_csv(file, read_options=reading, parse_options=parsing).schema.names)
    # Words such as NA and null are texts.
    texts = csv.ConvertOptions(include_columns=names, column_types=dict.fromkeys(names, pa.string()), null_values=[])
    return csv.read_csv(file, read_options=reading, parse_options=parsing, convert_options=texts)


def _parquet(file: Path) -> Any:
    """The table of a Parquet file, whose sizes are looked at before anything is unpacked."""
    import pyarrow as pa
    from pyarrow import parquet

    with parquet.ParquetFile(file) as opened:
        names = _known(file, opened.schema_arrow.names)
        for name in names:
            kind = opened.schema_arrow.field(name).type
            if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
                raise DataError(f"{file}: {name} must be of type string, but is {kind}; convert it")
        groups = (opened.metadata.row_group(group) for group in range(opened.metadata.num_row_groups))
        _check_size(file, sum(group.total_byte_size for group in groups))
        return opened.read(columns=names)


def _known(file: Path, names: list[str]) -> list[str]:
    """The columns that are read. DataError where one is not there, or there twice."""
    for name in COLUMNS:
        if names.count(name) != 1:
            raise DataError(
                f"{file}: must have one column {name}, but has {names.count(name) or 'none'} (its columns are "
                f"{', '.join(names[:10])}); name it in the first line"
            )
    return list(COLUMNS)


def _check_size(file: Path, size: int) -> None:
    needed, there = GROWTH * size, memory()
    if needed > there:
        raise DataError(
            f"{file}: the texts must fit into the memory of {there // MEBIBYTE:,} MiB, but take about "
            f"{needed // MEBIBYTE:,} MiB; raise trial.resources.limits.memory, or use fewer"
        )
