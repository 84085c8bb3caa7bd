"""Data sets that are arrays: scikit-learn's digits, and `.npz` files."""

from __future__ import annotations

import math
import zipfile
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import IO, Final

import numpy as np
import psutil

from archsearch.tasks.base import DataError

ARRAYS: Final = ("train_images", "train_labels", "test_images", "test_labels")
MAX_CHANNELS: Final = 16
DIGITS_SEED: Final = 0
DIGITS_TEST_SHARE: Final = 0.2
CGROUP_LIMIT: Final = Path("/sys/fs/cgroup/memory.max")
MEBIBYTE: Final = 2**20
HEADERS: Final = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
"""Version 3 is only written for names of fields, which no array here has."""


@dataclass(frozen=True)
class Arrays:
    """A data set as it was read: `train` and `test` images (N, H, W, C) uint8 and labels (N,) int64 from 0."""

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


def digits() -> Arrays:
    """The 1,797 handwritten digits of scikit-learn (8x8, 10 classes), a fifth of each class set aside for testing.

    The package has no split of its own; this one never changes.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[..., None]  # (N, 8, 8, 1); the source counts to 16
    labels = bunch.target.astype(np.int64)
    rng = np.random.default_rng(DIGITS_SEED)
    test = np.zeros(len(labels), dtype=bool)
    for label in range(10):
        members = rng.permutation(np.flatnonzero(labels == label))
        test[members[: round(len(members) * DIGITS_TEST_SHARE)]] = True
    return Arrays(images[~test], labels[~test], images[test], labels[test])


def read_npz(file: Path) -> Arrays:
    """Read the four arrays of a `.npz` file. DataError says which array is wrong, how, and what is expected.

    The arrays must fit into the container's memory by the sizes that the file declares; nothing is read before.
    """
    try:
        with file.open("rb") as stream:
            found = _load(file, stream)
    except (DataError, MemoryError):
        raise
    except Exception as error:  # what zipfile, its four decompressors and numpy's parser raise has no common base
        raise DataError(
            f"{file}: must be a .npz file (a zip of arrays), but cannot be read as one ({error}); write it with "
            "numpy.savez or numpy.savez_compressed"
        ) from None
    train, test = _images(file, "train_images", found), _images(file, "test_images", found)
    if train.shape[1:] != test.shape[1:]:
        raise DataError(
            f"{file}: test_images must have the shape of train_images, {train.shape[1:]} (height, width, channels), "
            f"but got {test.shape[1:]}; resize them"
        )
    return Arrays(train, _labels(file, "train", found), test, _labels(file, "test", found))


def _load(file: Path, stream: BufferedReader) -> dict[str, np.ndarray]:
    if stream.peek(6)[:6] == np.lib.format.MAGIC_PREFIX:
        raise DataError(f"{file}: must be a .npz file with {', '.join(ARRAYS)}, but is a single array; use numpy.savez")
    with zipfile.ZipFile(stream) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist()]
        if missing := [name for name in ARRAYS if f"{name}.npy" not in archive.namelist()]:
            raise DataError(
                f"{file}: must hold the arrays {', '.join(ARRAYS)}, but has no {', '.join(missing)} "
                f"(it has {', '.join(names[:10]) or 'none'}); name them so in numpy.savez"
            )
        members = {name: archive.getinfo(f"{name}.npy") for name in ARRAYS}
        needed, there = sum(info.file_size for info in members.values()), memory()
        if needed > there:
            largest = max(members, key=lambda name: members[name].file_size)
            raise DataError(
                f"{file}: the arrays must fit into the memory of {there // MEBIBYTE:,} MiB, but take "
                f"{needed // MEBIBYTE:,} MiB, most of it {largest}; raise trial.resources.limits.memory, or use fewer"
            )
        return {name: _member(file, archive, info, name) for name, info in members.items()}


def memory() -> int:
    """Bytes that the container may use, or that the machine has."""
    total: int = psutil.virtual_memory().total
    try:
        return min(total, int(CGROUP_LIMIT.read_text()))
    except (OSError, ValueError):  # no such file, or the word max
        return total


def _member(file: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> np.ndarray:
    try:
        with archive.open(info) as stream:
            expected = _declared(stream)
            if stream.tell() + expected != info.file_size:
                raise ValueError(f"its header declares {expected:,} bytes, and the file has {info.file_size:,} in all")
        with archive.open(info) as stream:
            array: np.ndarray = np.lib.format.read_array(stream, allow_pickle=False)
    except MemoryError:
        raise
    except Exception as error:
        raise DataError(
            f"{file}: {name} cannot be read ({error}); the file may be cut short, encrypted or packed in a way that "
            "numpy does not know, or the array holds Python objects: write it again with numpy.savez from plain arrays"
        ) from None
    return array


def _declared(stream: IO[bytes]) -> int:
    """Bytes of the array that follows, by its header, which is read. ValueError for one that is not a plain array's."""
    version = np.lib.format.read_magic(stream)
    if version not in HEADERS:
        raise ValueError(f"its format must be 1.0 or 2.0, but is {version[0]}.{version[1]}")
    shape, _, dtype = HEADERS[version](stream)
    if dtype.hasobject:
        raise ValueError("it holds Python objects")
    return math.prod(shape) * dtype.itemsize


def _images(file: Path, name: str, found: dict[str, np.ndarray]) -> np.ndarray:
    images = found[name]
    if images.dtype != np.uint8:
        raise DataError(f"{file}: {name} must be uint8 (0 to 255), but got {images.dtype}; convert it with .astype")
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4:
        raise DataError(
            f"{file}: {name} must have 3 or 4 dimensions (images, height, width, channels), but got shape "
            f"{images.shape}; reshape it"
        )
    if 0 in images.shape:
        raise DataError(f"{file}: {name} must hold images, but got shape {images.shape}")
    if images.shape[3] > MAX_CHANNELS:
        raise DataError(
            f"{file}: {name} must have at most {MAX_CHANNELS} channels in its last dimension, but got shape "
            f"{images.shape}; if the channels come first, move them with .transpose(0, 2, 3, 1)"
        )
    return images


def _labels(file: Path, part: str, found: dict[str, np.ndarray]) -> np.ndarray:
    labels, count = found[f"{part}_labels"], len(found[f"{part}_images"])
    if labels.dtype.kind not in "iu":
        raise DataError(
            f"{file}: {part}_labels must be integers from 0, but got {labels.dtype}; number the classes from 0"
        )
    if labels.shape not in {(count,), (count, 1)}:  # a column is what some published collections use
        raise DataError(
            f"{file}: {part}_labels must have one label for each of the {count} images of {part}_images, but got shape "
            f"{labels.shape}"
        )
    flat = labels.reshape(-1)
    if flat.size and (int(flat.min()) < 0 or int(flat.max()) > 2**31):
        raise DataError(
            f"{file}: {part}_labels must be at least 0 and below 2^31, but got {flat.min()} to {flat.max()}; "
            "number the classes from 0"
        )
    return flat.astype(np.int64)
