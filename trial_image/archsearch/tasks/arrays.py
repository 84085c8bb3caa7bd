"""Data sets that are arrays: scikit-learn's digits, and `.npz` files."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np

from archsearch.tasks.base import Arrays, DataError

ARRAYS: Final = ("train_images", "train_labels", "test_images", "test_labels")
MAX_CHANNELS: Final = 16
DIGITS_SEED: Final = 0
DIGITS_TEST_SHARE: Final = 0.2


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
    """Read the four arrays of a `.npz` file. DataError says which array is wrong, how, and what is expected."""
    try:
        # Opened here: numpy leaves its own stream open where the zip is broken.
        with file.open("rb") as stream:
            found = _load(file, stream)
    except (OSError, EOFError, zipfile.BadZipFile) as error:
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


def _load(file: Path, stream: BinaryIO) -> dict[str, np.ndarray]:
    try:
        archive = np.load(stream, allow_pickle=False)
    except ValueError as error:  # what numpy takes for a pickle is any file that is neither a zip nor an array
        raise DataError(f"{file}: must be a .npz file (a zip of arrays) ({error}); write it with numpy.savez") from None
    if not isinstance(archive, np.lib.npyio.NpzFile):
        raise DataError(f"{file}: must be a .npz file with {', '.join(ARRAYS)}, but is a single array; use numpy.savez")
    if missing := [name for name in ARRAYS if name not in archive.files]:
        raise DataError(
            f"{file}: must hold the arrays {', '.join(ARRAYS)}, but has no {', '.join(missing)} "
            f"(it has {', '.join(archive.files[:10]) or 'none'}); name them so in numpy.savez"
        )
    return {name: _member(file, archive, name) for name in ARRAYS}


def _member(file: Path, archive: np.lib.npyio.NpzFile, name: str) -> np.ndarray:
    try:
        array: np.ndarray = archive[name]
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(
            f"{file}: {name} cannot be read ({error}); the file may be cut short, or the array holds Python objects: "
            "write it again with numpy.savez from plain arrays"
        ) from None
    return array


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
