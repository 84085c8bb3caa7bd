"""Lookup: a table of results says what architectures are worth; nothing is trained."""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from archsearch.api.evaluation import Tabular
from archsearch.api.work import Message
from archsearch.spaces import Architecture, InvalidArchitecture, Space
from archsearch.spaces.nasbench201 import from_string
from archsearch.tasks.folder import inside
from archsearch.work.context import Context
from archsearch.work.errors import UserError

MAX_BYTES: Final = 1 << 30
"""Largest table, unpacked: a packed file of a megabyte can hold a thousand."""


def run(context: Context) -> Message:
    """The table's metrics of each architecture, in order; empty for one that the table does not have."""
    evaluation = context.work.evaluation
    settings = evaluation.tabular if evaluation else None
    if settings is None or context.work.paths.table is None:
        raise UserError("evaluation.tabular must be set for Lookup")
    wanted = [context.space.architecture(values) for values in context.work.spec.architectures]
    found = look_up(Path(context.work.paths.table), settings, context.space, wanted)
    missing = sum(not metrics for metrics in found)
    context.log(f"{len(found) - missing} of {len(found)} architectures are in the table")
    return Message(results=tuple(found))


def look_up(root: Path, settings: Tabular, space: Space, wanted: list[Architecture]) -> list[dict[str, float]]:
    """What the table in the volume `root` has of each architecture. UserError says what is wrong with the file."""
    path = inside(root, root / settings.volume.path, "evaluation.tabular.volume.path")
    by_id = {architecture.id: at for at, architecture in enumerate(wanted)}
    found: list[dict[str, float]] = [{} for _ in wanted]
    left = set(by_id)
    for number, row in _rows(path, settings):
        try:
            identifier = _architecture(space, row[settings.architecture_column]).id
        except InvalidArchitecture:
            continue  # a table may hold more than this space
        if identifier in left:
            found[by_id[identifier]] = {
                column.metric: _number(path, number, column.column, row[column.column], percent=column.percent)
                for column in settings.columns
            }
            left.discard(identifier)
            if not left:
                break
    return found


def _rows(path: Path, settings: Tabular) -> Iterator[tuple[int, Mapping[str, str]]]:
    """The lines by their number, from the second on."""
    if not path.is_file():
        raise UserError(f"{path}: must be a CSV file; evaluation.tabular.volume.path names it in its claim")
    needed = [settings.architecture_column, *(column.column for column in settings.columns)]
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            stream = gzip.GzipFile(fileobj=raw) if packed else raw
            text = io.TextIOWrapper(stream, encoding="utf-8", newline="")
            reader = csv.DictReader(text)
            names = reader.fieldnames or []
            if missing := [name for name in needed if name not in names]:
                raise UserError(
                    f"{path}: must have the columns {', '.join(needed)}, but has no {', '.join(missing)} "
                    f"(it has {', '.join(list(names)[:20]) or 'none'}); see evaluation.tabular"
                )
            for row in reader:
                if stream.tell() > MAX_BYTES:
                    raise UserError(f"{path}: must be at most {MAX_BYTES:,} bytes unpacked; leave columns out")
                if any(row.get(name) is None for name in needed):
                    raise UserError(f"{path}: line {reader.line_num} must have {len(names)} fields, but has fewer")
                yield reader.line_num, row
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(
            f"{path}: must be a CSV file, plain or packed with gzip, but cannot be read ({error})"
        ) from None


def _architecture(space: Space, text: str) -> Architecture:
    if space.name == "nasBench201" and text.startswith("|"):
        return from_string(space, text)
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidArchitecture(f"an architecture must be JSON, but got {text[:80]!r}") from None
    if not isinstance(values, dict):
        raise InvalidArchitecture(f"an architecture must be a JSON object, but got {text[:80]!r}")
    return space.architecture(values)


def _number(path: Path, line: int, column: str, text: str, *, percent: bool) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UserError(f"{path}: line {line}: {column} must be a number, but got {text[:80]!r}")
    return value / 100 if percent else value
