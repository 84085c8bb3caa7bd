"""Classes that have names, as columns of labels and folders give them: numbered, and checked."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from archsearch.tasks.base import DataError
from archsearch.tasks.image import MIN_CLASSES, MIN_IMAGES

INTEGER: Final = re.compile(r"-?\d{1,18}")


@dataclass(frozen=True)
class Labels:
    """The names of the classes in the order of their numbers, and the classes (N,) int64 of each part."""

    names: tuple[str, ...]
    train: np.ndarray
    test: np.ndarray


def numbered(train: Sequence[str], test: Sequence[str], origin: str, examples: str) -> Labels:
    """Classes in the order of their names, or of the numbers that all names are.

    origin: what a DataError names. examples: what there must be enough of in each class, in plural.
    """
    counts = Counter(train)
    if len(counts) < MIN_CLASSES:
        raise DataError(f"{origin}: there must be at least {MIN_CLASSES} classes, but got {len(counts)}")
    numbers = all(INTEGER.fullmatch(name) for name in counts)
    names = sorted(counts, key=lambda name: (int(name) if numbers else 0, name))
    if few := [name for name in names if counts[name] < MIN_IMAGES]:
        raise DataError(
            f"{origin}: every class must have at least {MIN_IMAGES} training {examples} (for the weights, the "
            f"architecture and the selection), but class {few[0]!r:.80} has {counts[few[0]]}; add some or remove the "
            "class"
        )
    place = {name: number for number, name in enumerate(names)}
    if unknown := [name for name in test if name not in place]:
        raise DataError(
            f"{origin}: every class must have training {examples}, but {unknown[0]!r:.80} is only among the test "
            f"{examples}; add some or remove the class"
        )
    return Labels(tuple(names), *(np.array([place[name] for name in part], dtype=np.int64) for part in (train, test)))
