"""Data sets that are pairs of texts: number words that num2words makes, and tables in CSV or Parquet files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from archsearch.api.training import VolumeSource
from archsearch.api.translation import Language, NumberWords
from archsearch.tasks.tables import read_tables
from archsearch.tasks.volume import located

COLUMNS: Final = ("source", "target")
DRAWN_SEED: Final = 0
TEST_SHARE: Final = 0.1

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
    folder, root = located(volume, data, "a folder with a train and a test table", folder=True)
    tables = read_tables(folder, root, COLUMNS)
    train, test = (list(zip(*(tables[part][name] for name in COLUMNS), strict=True)) for part in ("train", "test"))
    return PairSet(train, test, str(folder))
