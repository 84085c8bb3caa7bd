"""Image classification: a data set in four disjoint, stratified parts, and the normalisation of its images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
import torch

from archsearch.api.signature import Input, Signature
from archsearch.api.task import Dataset, ImageClassification
from archsearch.tasks.arrays import Arrays, digits, read_npz
from archsearch.tasks.augment import Augmentation, augment
from archsearch.tasks.base import DataError, Labelled, Split
from archsearch.tasks.folder import read_folder
from archsearch.tasks.volume import located

SPLIT_SEED: Final = 0
MIN_CLASSES: Final = 2
MIN_IMAGES: Final = 3
"""Training images of a class: one each for the weights, the architecture and the selection."""


@dataclass(frozen=True)
class ImageData(Labelled):
    """Images (N, C, H, W) uint8 with a class each."""

    augmentation: Augmentation = "None"

    name: ClassVar[str] = "imageClassification"

    def augmented(self, batch: Split, changes: torch.Generator) -> Split:
        """Images that are moved, and mirrored, as the spec says."""
        assert isinstance(batch.inputs, torch.Tensor)  # noqa: S101 - images are all that there is
        return Split(augment(batch.inputs, self.augmentation, changes), batch.targets)


def load_images(task: ImageClassification, data: Path | None, seed: int = SPLIT_SEED) -> ImageData:
    """Read the data set and split it.

    data: where the claim of `dataset.volume` is mounted. seed: of the split; it is the same for every trial of every
    search, so that results can be compared. Raises DataError with the file, what is wrong, the value and what to do.
    """
    arrays, origin = _read(task.dataset, data)
    classes = _check_labels(arrays, origin)
    parts = split(arrays.train_labels, task.selection_percent, seed)
    mean, std = moments(arrays.train_images, np.concatenate([parts["weights"], parts["architecture"]]))
    height, width, channels = arrays.train_images.shape[1:]
    images = Input(name="images", shape=(channels, height, width), mean=mean, std=std)
    made = {name: _split(arrays.train_images[index], arrays.train_labels[index]) for name, index in parts.items()}
    return ImageData(
        Signature(inputs=(images,), outputs="Classes", classes=classes),
        weights=made["weights"],
        architecture=made["architecture"],
        selection=made["selection"],
        test=_split(arrays.test_images, arrays.test_labels),
        augmentation=task.training.augmentation,
    )


def split(labels: np.ndarray, selection_percent: int, seed: int) -> dict[str, np.ndarray]:
    """Indices of the training images by purpose: `weights`, `architecture` and `selection`; disjoint, none left out.

    Of each class, selection_percent (at least one image) go to the selection and the rest in halves to the others,
    so every class must have MIN_IMAGES.
    """
    rng = np.random.default_rng(seed)
    parts: dict[str, list[np.ndarray]] = {"weights": [], "architecture": [], "selection": []}
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        chosen = min(max(1, round(len(members) * selection_percent / 100)), len(members) - 2)
        half = (len(members) - chosen + int(label) % 2) // 2  # the odd image goes to each half in turn
        parts["selection"].append(members[:chosen])
        parts["weights"].append(members[chosen : chosen + half])
        parts["architecture"].append(members[chosen + half :])
    return {name: np.sort(np.concatenate(indices)) for name, indices in parts.items()}


def _read(dataset: Dataset, data: Path | None) -> tuple[Arrays, str]:
    if dataset.volume is None:
        return digits(), "digits"
    path, root = located(dataset.volume, data, "a .npz file or a folder")
    return (read_folder(path, root) if path.is_dir() else read_npz(path)), str(path)


def _check_labels(arrays: Arrays, origin: str) -> int:
    """The number of classes. DataError where a class has too few images or a label has no class."""
    labels = arrays.train_labels
    classes = int(labels.max()) + 1
    if classes > len(labels):
        raise DataError(
            f"{origin}: the labels of training images must be numbered from 0 without gaps, but the largest of "
            f"{len(labels)} labels is {classes - 1}"
        )
    counts = np.bincount(labels, minlength=classes)
    if classes < MIN_CLASSES:
        raise DataError(f"{origin}: there must be at least {MIN_CLASSES} classes, but got {classes}")
    if (empty := np.flatnonzero(counts == 0)).size:
        raise DataError(
            f"{origin}: every class from 0 to {classes - 1} must have training images, but class {empty[0]} has none; "
            "number the classes without gaps"
        )
    if (few := np.flatnonzero(counts < MIN_IMAGES)).size:
        raise DataError(
            f"{origin}: every class must have at least {MIN_IMAGES} training images (for the weights, the architecture "
            f"and the selection), but class {few[0]} has {counts[few[0]]}; add images or remove the class"
        )
    if int(arrays.test_labels.max()) >= classes:
        raise DataError(
            f"{origin}: the labels of test images must be below {classes}, the number of classes among the training "
            f"images, but got {arrays.test_labels.max()}"
        )
    return classes


def moments(images: np.ndarray, index: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of each channel over the images (N, H, W, C) at `index`, exact whatever their number."""
    total, squares, count = 0, 0, len(index) * images.shape[1] * images.shape[2]
    for start in range(0, len(index), 1024):  # the whole in 64 bits would take 8 times the memory of the data set
        chunk = images[index[start : start + 1024]].astype(np.int64)
        total, squares = total + chunk.sum(axis=(0, 1, 2)), squares + (chunk**2).sum(axis=(0, 1, 2))
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 0))
    # A channel that never changes carries nothing: keep it finite.
    return tuple(float(value) for value in mean), tuple(float(value) or 1.0 for value in std)


def _split(images: np.ndarray, labels: np.ndarray) -> Split:
    return Split(torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))), torch.from_numpy(labels.copy()))
