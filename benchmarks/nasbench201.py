"""Reads tables of NAS-Bench-201: a line for each architecture, under `architecture` in the benchmark's notation."""

from __future__ import annotations

import csv
import gzip
import math
from collections.abc import Collection
from pathlib import Path

from archsearch.spaces import Architecture, Space
from archsearch.spaces.nasbench201 import from_string, to_string

Numbers = dict[str, float]


def rows(file: Path, space: Space, columns: Collection[str] | None = None) -> list[tuple[Architecture, Numbers]]:
    """The numbers in these columns, or in all others, of each architecture in the table.

    Raises OSError where the file cannot be read, ValueError where a column or a number is missing.
    """
    with gzip.open(file, "rt", newline="") if file.suffix == ".gz" else file.open(newline="") as stream:
        lines = csv.DictReader(stream, restval="")
        there = list(lines.fieldnames or ())
        if missing := sorted({"architecture", *(columns or ())} - set(there)):
            raise ValueError(f"the table must have a column {missing[0]}, but has {', '.join(there)}")
        wanted = [name for name in there if name != "architecture"] if columns is None else columns
        return [
            (from_string(space, line["architecture"]), {column: _number(line, column) for column in wanted})
            for line in lines
        ]


def read(file: Path, space: Space, columns: Collection[str]) -> dict[str, Numbers]:
    """The numbers in these columns by the id of the architecture. Raises as `rows`, and where one is missing."""
    found = {architecture.id: numbers for architecture, numbers in rows(file, space, columns)}
    # At once, and not when a searcher comes to it: which it comes to depends on the seed.
    for number in range(space.size()):
        if (architecture := space.at(number)).id not in found:
            raise ValueError(
                f"the table must have all {space.size()} architectures, but lacks {to_string(architecture)}"
            )
    return found


def _number(line: dict[str, str], column: str) -> float:
    try:
        if math.isfinite(found := float(line[column])):
            return found
    except ValueError:
        pass
    raise ValueError(f"{column} of {line['architecture']} must be a number, but is {line[column]!r}")
