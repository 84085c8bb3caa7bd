"""Data sets that are folders of recordings: `train/CLASS/**.wav` and `test/CLASS/**.wav`."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from scipy.io import wavfile
from torch import Tensor

from archsearch.tasks.arrays import MEBIBYTE, available_memory
from archsearch.tasks.base import DataError
from archsearch.tasks.folder import files_of, listing

SUFFIXES: Final = frozenset({".wav"})
KINDS: Final = ("uint8", "int16", "int32", "float32", "float64")
"""Samples of 8, 16, 24 and 32 bits, and numbers from -1 to 1. Those of 24 bits are read as ones of 32."""
LONGEST: Final = 60.0
"""Seconds. A longer recording is no word and no command."""


@dataclass(frozen=True)
class Recordings:
    """`train` and `test` (N, samples) int16, cut off or padded to one length, and the names of their classes."""

    rate: int
    train: Tensor
    train_classes: list[str]
    test: Tensor
    test_classes: list[str]


def read_waves(folder: Path, root: Path, seconds: float) -> Recordings:
    """Read all recordings below `folder`, of each so many seconds.

    root: the volume, which no link may leave. Raises DataError with the file, what is wrong, the value and what to do.
    """
    if seconds > LONGEST:
        raise DataError(f"{folder}: seconds must be at most {LONGEST:g}, but is {seconds:g}")
    found = {
        part: [
            (file, name)
            for name in listing(folder, part, "recordings")
            for file in files_of(folder / part / name, root, SUFFIXES, "recording")
        ]
        for part in ("train", "test")
    }
    first = found["train"][0][0]
    rate = _read(first)[0]
    samples = round(rate * seconds)
    if (size := 2 * samples * sum(map(len, found.values()))) > available_memory():
        raise DataError(
            f"{folder}: the recordings must fit into the memory of {available_memory() // MEBIBYTE:,} MiB, but take "
            f"{size // MEBIBYTE:,} MiB; raise trial.resources.limits.memory, lower seconds, or use fewer"
        )
    waves = {}
    for part, files in found.items():
        waves[part] = np.zeros((len(files), samples), dtype=np.int16)
        for row, (file, _) in enumerate(files):
            own, wave = _read(file)
            if own != rate:
                raise DataError(
                    f"{file}: all recordings must have one sample rate, {rate} Hz as {first} has it, but got {own} Hz; "
                    "resample all of them to one rate beforehand"
                )
            waves[part][row, : len(wave)] = wave[:samples]
    train, test = (torch.from_numpy(waves[part]) for part in ("train", "test"))
    return Recordings(rate, train, [name for _, name in found["train"]], test, [name for _, name in found["test"]])


def _read(file: Path) -> tuple[int, np.ndarray]:
    """The sample rate, and the samples (N,) int16 of one channel. DataError for what is no recording."""
    if file.stat().st_size > available_memory():
        raise DataError(f"{file}: must fit into the memory of {available_memory() // MEBIBYTE:,} MiB; cut it")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", wavfile.WavFileWarning)  # of chunks with comments
            rate, samples = wavfile.read(file)
    except PermissionError:
        raise DataError(f"{file}: must be readable by the trial's user, but is not; change its mode") from None
    except Exception as error:  # what scipy raises for broken headers has no common base
        raise DataError(
            f"{file}: must be a WAV file with PCM samples, but cannot be read as one ({error!s:.200}); convert it"
        ) from None
    if samples.dtype.name not in KINDS:
        raise DataError(f"{file}: must have samples of {', '.join(KINDS)}, but has {samples.dtype}; convert it")
    if not len(samples) or rate < 1:
        raise DataError(f"{file}: must have samples, but has {len(samples)} at {rate} Hz; remove it")
    if len(samples) > rate * LONGEST:
        raise DataError(
            f"{file}: must have at most {LONGEST:g} seconds, but has {len(samples) / rate:.1f}; cut it into words"
        )
    return rate, _as_int16(file, samples)


def _as_int16(file: Path, samples: np.ndarray) -> np.ndarray:
    if samples.dtype.kind == "f" and not np.isfinite(samples).all():
        raise DataError(f"{file}: samples must be numbers, but some are not; remove it")
    numbers = samples.astype(np.float64)
    if samples.dtype == np.uint8:
        numbers = (numbers - 128) * 2**8
    elif samples.dtype == np.int32:
        numbers /= 2**16
    elif samples.dtype.kind == "f":
        numbers *= 2**15
    mixed = numbers if numbers.ndim == 1 else numbers.mean(1)
    return np.clip(np.rint(mixed), -(2**15), 2**15 - 1).astype(np.int16)
