"""Data sets that are two tables, `train` and `test`, of CSV or Parquet, with columns of words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from archsearch.tasks.arrays import MEBIBYTE, available_memory
from archsearch.tasks.base import DataError
from archsearch.tasks.folder import inside

KINDS: Final = ("csv", "parquet")
MAX_CHARACTERS: Final = 100_000
"""Of a text: more is no text but a file that was read wrongly."""
CSV_BLOCK: Final = 2**24
"""Bytes that are read at once; a row must fit in."""
GROWTH: Final = 4
"""Bytes in memory for each byte of a file, roughly: Arrow's own, Python's strings, their tokens."""


@dataclass(frozen=True)
class Table:
    """The columns of a file, by name, each a list of texts."""

    file: Path
    columns: Mapping[str, list[str]]

    def __getitem__(self, name: str) -> list[str]:
        return self.columns[name]


def read_tables(folder: Path, root: Path, columns: Sequence[str]) -> dict[str, Table]:
    """The columns of `train` and of `test`, each as texts. Other columns are not looked at.

    root: the volume, which no link may leave. Raises DataError with the file, what is wrong and what to do.
    """
    files = {part: _file(folder, root, part) for part in ("train", "test")}
    return {part: Table(file, _columns(file, columns)) for part, file in files.items()}


def _file(folder: Path, root: Path, part: str) -> Path:
    found = [file for kind in KINDS if (file := folder / f"{part}.{kind}").exists()]
    if not found:
        there = ", ".join(sorted(item.name for item in folder.iterdir())[:10]) or "nothing"
        raise DataError(f"{folder}: must hold {part}.csv or {part}.parquet, but has neither (it has {there})")
    if len(found) > 1:
        raise DataError(f"{folder}: must hold {part}.csv or {part}.parquet, but has both; remove one of them")
    if not inside(root, found[0], "a table").is_file():  # reading a pipe would wait for ever
        raise DataError(f"{found[0]}: must be a table, but is no regular file; remove it")
    return found[0]


def _columns(file: Path, names: Sequence[str]) -> dict[str, list[str]]:
    read = _read_csv if file.suffix == ".csv" else _read_parquet
    try:
        table = read(file, names)
    except PermissionError:
        raise
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        said = str(error).partition("\n")[0]
        raise DataError(
            f"{file}: must be a {file.suffix[1:]} file in UTF-8, but cannot be read as one ({said:.200})"
        ) from None
    if not table.num_rows:
        raise DataError(f"{file}: must have at least one row, but has none")
    return {name: _words(file, name, table[name]) for name in names}


def _read_csv(file: Path, names: Sequence[str]) -> pa.Table:
    _fits(file, file.stat().st_size)
    with file.open(encoding="utf-8") as source:
        empty = not source.readline(65536).strip()
    if empty:
        raise DataError(f"{file}: must have a first line with the names of the columns, but has none")
    reading = pyarrow.csv.ReadOptions(use_threads=False, block_size=CSV_BLOCK)
    parsing = pyarrow.csv.ParseOptions(newlines_in_values=True)
    with pyarrow.csv.open_csv(file, read_options=reading, parse_options=parsing) as stream:
        _has(file, names, stream.schema.names)
    # Words such as NA and null are texts.
    options = pyarrow.csv.ConvertOptions(
        include_columns=list(names), column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
    )
    return pyarrow.csv.read_csv(file, read_options=reading, parse_options=parsing, convert_options=options)


def _read_parquet(file: Path, names: Sequence[str]) -> pa.Table:
    with pyarrow.parquet.ParquetFile(file) as source:
        _has(file, names, source.schema_arrow.names)
        groups = range(source.metadata.num_row_groups)
        _fits(file, sum(source.metadata.row_group(group).total_byte_size for group in groups))
        return source.read(columns=list(names))


def _has(file: Path, names: Sequence[str], there: Sequence[str]) -> None:
    if wrong := [name for name in names if there.count(name) != 1]:
        raise DataError(
            f"{file}: must have the column {wrong[0]} once, but has it {there.count(wrong[0])} times (it has the "
            f"columns {', '.join(there[:10]):.200}); name the columns {', '.join(names)}"
        )


def _fits(file: Path, size: int) -> None:
    needed, there = GROWTH * size, available_memory()
    if needed > there:
        raise DataError(
            f"{file}: must fit into the memory of {there // MEBIBYTE:,} MiB, but takes {needed // MEBIBYTE:,} MiB; "
            "raise trial.resources.limits.memory, or use fewer rows"
        )


def _words(file: Path, name: str, column: pa.ChunkedArray) -> list[str]:
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_integer(kind)):
        raise DataError(f"{file}: {name} must hold words or integers, but is of the type {column.type}; convert it")
    words = column.to_pylist()
    for row, word in enumerate(words, 1):
        if word is None or not str(word).strip():
            raise DataError(f"{file}: {name} must not be empty, but is so in row {row}; fill it in or remove the row")
        if len(str(word)) > MAX_CHARACTERS:
            raise DataError(
                f"{file}: {name} must have at most {MAX_CHARACTERS:,} characters, but row {row} has {len(word):,}; "
                "split it, or look whether a quotation mark is missing"
            )
    return [str(word).strip() for word in words]
