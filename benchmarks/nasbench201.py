"""Reads tables of NAS-Bench-201: a line for each architecture, under `architecture` in the benchmark's notation."""

from __future__ import annotations

import csv
import gzip
import math
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from archsearch.searchers import Untrained
from archsearch.spaces import Space
from archsearch.spaces.nasbench201 import from_string, to_string


def read(file: Path, space: Space, columns: Collection[str]) -> dict[str, dict[str, float]]:
    """The numbers in these columns by the id of the architecture.

    Raises OSError where the file cannot be read, ValueError where a column, a number or an architecture is missing.
    """
    rows: dict[str, dict[str, float]] = {}
    for line in _lines(file, {"architecture", *columns}):
        rows[from_string(space, line["architecture"]).id] = {column: _number(line, column) for column in columns}
    # At once, and not when a searcher comes to it: which it comes to depends on the seed.
    for number in range(space.size()):
        if (architecture := space.at(number)).id not in rows:
            raise ValueError(
                f"the table must have all {space.size()} architectures, but lacks {to_string(architecture)}"
            )
    return rows


def read_scores(file: Path, space: Space, scores: Sequence[str] | None = None) -> list[Untrained]:
    """What a table of `benchmarks.zero_cost --write` has of some cells; scores: its columns, all where it is None.

    Raises as `read`.
    """
    lines = list(_lines(file, {"architecture", *(scores or ())}))
    names = scores or [name for name in (lines[0] if lines else ()) if name != "architecture"]
    return [
        Untrained(from_string(space, line["architecture"]), {name: _number(line, name) for name in names})
        for line in lines
    ]


def _lines(file: Path, columns: set[str]) -> Iterator[dict[str, str]]:
    with gzip.open(file, "rt", newline="") if file.suffix == ".gz" else file.open(newline="") as stream:
        lines = csv.DictReader(stream, restval="")
        if missing := sorted(columns - set(lines.fieldnames or ())):
            raise ValueError(f"the table must have a column {missing[0]}, but has {', '.join(lines.fieldnames or ())}")
        yield from lines


def _number(line: dict[str, str], column: str) -> float:
    try:
        if math.isfinite(found := float(line[column])):
            return found
    except ValueError:
        pass
    raise ValueError(f"{column} of {line['architecture']} must be a number, but is {line[column]!r}")
