"""Semantic segmentation: images with a class for each pixel, cut into tiles and split by image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from archsearch.api.metrics import Metric
from archsearch.api.segmentation import SemanticSegmentation
from archsearch.api.signature import Input, Signature
from archsearch.tasks.augment import turned
from archsearch.tasks.base import DataError, Split, TaskData
from archsearch.tasks.image import SPLIT_SEED, moments
from archsearch.tasks.masks import Masked, read_masked

IGNORED: Final = 255
"""In targets: a pixel that is neither trained nor judged."""
MAX_CLASSES: Final = 255
MIN_IMAGES: Final = 3
"""Training images: one each for the weights, the architecture and the selection."""


@dataclass(frozen=True)
class MaskData(TaskData):
    """Images (N, C, H, W) uint8 with masks (N, H, W), uint8 while they are kept and int64 when they are prepared."""

    augmentation: Literal["None", "Flip", "FlipRotate"] = "None"

    name: ClassVar[str] = "semanticSegmentation"
    metric: ClassVar[Metric] = "mIoU"

    @property
    def counts(self) -> int:
        """Pixels by their class and the one that was answered."""
        return self.classes**2

    def prepare(self, batch: Split, changes: torch.Generator | None = None) -> Split:
        """Images normalised, masks int64; changed alike before with `changes`."""
        prepared = super().prepare(batch, changes)
        return Split(prepared.inputs, prepared.targets.long())

    def augmented(self, batch: Split, changes: torch.Generator) -> Split:
        """Images and masks mirrored and turned, as the spec says."""
        assert isinstance(batch.inputs, Tensor)  # noqa: S101 - images are all that there is
        return Split(*turned(batch.inputs, batch.targets, self.augmentation, changes))

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The mean over the pixels that count of the cross-entropy; 0 where none does."""
        total = functional.cross_entropy(outputs, targets, ignore_index=IGNORED, reduction="sum")
        return total / (targets != IGNORED).sum().clamp(min=1)

    def tally(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The confusion matrix, row by row: the pixels of class 0 by what was answered, those of class 1, ..."""
        counted = targets != IGNORED
        cells = targets[counted] * self.classes + outputs.argmax(1)[counted]
        return torch.bincount(cells, minlength=self.counts)

    def values(self, tally: Tensor) -> dict[str, float]:
        """mIoU: the mean over the classes that occur, in a mask or an answer, of intersection over union. accuracy: the
        share of right pixels."""
        matrix = tally.view(self.classes, self.classes).double()
        right, union = matrix.diagonal(), matrix.sum(0) + matrix.sum(1) - matrix.diagonal()
        occurs = union > 0
        overlap = float((right[occurs] / union[occurs]).mean()) if occurs.any() else 0.0
        return {"mIoU": overlap, "accuracy": float(right.sum() / matrix.sum().clamp(min=1))}


def load_masks(task: SemanticSegmentation, data: Path | None, seed: int = SPLIT_SEED) -> MaskData:
    """Read the data set, make it smaller, cut it into tiles and split it by image.

    data: where the claim of `dataset.volume` is mounted. seed: of the split; it is the same for every trial of every
    search. Raises DataError with the file, what is wrong, the value and what to do.
    """
    train, test, origin = read_masked(task.dataset.member[1], data)
    classes = _check_classes(train.masks, test.masks, task.ignored_label, origin)
    train, test = (_tiles(task, part, classes, origin) for part in (train, test))
    parts = split(len(train.images), task.selection_percent, seed, origin)
    height, width, channels = train.images.shape[2:]
    used = train.images[np.concatenate([parts["weights"], parts["architecture"]])]
    mean, std = moments(used.reshape(-1, height, width, channels), np.arange(used.shape[0] * used.shape[1]))
    images = Input(name="images", shape=(channels, height, width), mean=mean, std=std)
    made = {name: _split(train, index) for name, index in parts.items()}
    return MaskData(
        Signature(inputs=(images,), outputs="Map", classes=classes),
        weights=made["weights"],
        architecture=made["architecture"],
        selection=made["selection"],
        test=_split(test, np.arange(len(test.images))),
        augmentation=task.training.augmentation,
    )


def split(count: int, selection_percent: int, seed: int, origin: str) -> dict[str, np.ndarray]:
    """Indices of so many images by purpose: `weights`, `architecture` and `selection`; disjoint, none left out.

    selection_percent of them, at least one, go to the selection and the rest in halves to the others. Raises DataError
    for fewer than MIN_IMAGES.
    """
    if count < MIN_IMAGES:
        raise DataError(
            f"{origin}: there must be at least {MIN_IMAGES} training images (for the weights, the architecture and the "
            f"selection), but got {count}; add images, or cut large ones up into several beforehand"
        )
    order = np.random.default_rng(seed).permutation(count)
    chosen = min(max(1, round(count * selection_percent / 100)), count - 2)
    half = (count - chosen) // 2
    parts = {"selection": order[:chosen], "weights": order[chosen:][half:], "architecture": order[chosen:][:half]}
    return {name: np.sort(parts[name]) for name in ("weights", "architecture", "selection")}


def _check_classes(train: np.ndarray, test: np.ndarray, ignored: int | None, origin: str) -> int:
    """The number of classes. DataError where one has no pixel, or a number stands for none."""
    counts, tested = (np.bincount(masks.reshape(-1), minlength=256) for masks in (train, test))
    if ignored is not None:
        counts[ignored] = tested[ignored] = 0
    found = np.flatnonzero(counts)
    classes = int(found[-1]) + 1 if found.size else 0
    hint = (
        "give task.semanticSegmentation.ignoredLabel the number of pixels without a class, or number the classes anew"
    )
    if found.size < 2:
        raise DataError(f"{origin}: there must be at least 2 classes in the training masks, but got {found.tolist()}")
    if found.size < classes:
        missing = next(label for label in range(classes) if not counts[label])
        raise DataError(
            f"{origin}: every class from 0 to {classes - 1} must have pixels in the training masks, but class "
            f"{missing} has none (there are {_show(found.tolist())}); {hint}"
        )
    if classes > MAX_CLASSES:
        raise DataError(f"{origin}: there must be at most {MAX_CLASSES} classes, but got {classes}")
    if (unknown := np.flatnonzero(tested[classes:])).size:
        raise DataError(
            f"{origin}: the numbers in test masks must be below {classes}, the number of classes in the training "
            f"masks, but got {classes + int(unknown[-1])}; {hint}"
        )
    return classes


def _show(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers[:10])) + (" ..." if len(numbers) > 10 else "")


def _tiles(task: SemanticSegmentation, part: Masked, classes: int, origin: str) -> Masked:
    """Images (N, tiles, H, W, C) and masks (N, tiles, H, W) as they are trained with: IGNORED where nothing counts."""
    masks = part.masks
    if task.ignored_label is not None:
        masks = np.where(masks == task.ignored_label, np.uint8(IGNORED), masks)
    small = shrunk(part.images, task.downscale, origin), shrunk_masks(masks, task.downscale, classes)
    height, width = small[0].shape[1:3]
    rows, columns = task.crop or height, task.crop or width
    if rows > height or columns > width:
        raise DataError(
            f"{origin}: task.semanticSegmentation.crop must be at most the {height} rows and {width} columns of the "
            f"images (after downscale), but got {task.crop}; lower it"
        )
    return Masked(*(_cut(array, rows, columns) for array in small))


def _cut(array: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """(N, H, W, ...) -> (N, tiles, rows, columns, ...), tile by tile from left to right and down."""
    count, height, width = array.shape[:3]
    down, right = height // rows, width // columns
    whole = array[:, : down * rows, : right * columns]
    cut = whole.reshape(count, down, rows, right, columns, *array.shape[3:]).swapaxes(2, 3)
    return cut.reshape(count, down * right, rows, columns, *array.shape[3:])


def shrunk(images: np.ndarray, times: int, origin: str) -> np.ndarray:
    """Images (N, H, W, C) whose pixels are the means of squares of `times` pixels a side. Raises DataError."""
    if times == 1:
        return images
    if min(images.shape[1:3]) < times:
        raise DataError(
            f"{origin}: task.semanticSegmentation.downscale must be at most the height and width of the images, "
            f"{images.shape[1]} and {images.shape[2]}, but got {times}; lower it"
        )
    # One by one: in float64 all of them would take 8 times the memory.
    means = [_squares(image, times).mean(axis=(1, 3)) for image in images]
    rounded: np.ndarray = np.rint(np.stack(means)).astype(np.uint8)
    return rounded


def shrunk_masks(masks: np.ndarray, times: int, classes: int) -> np.ndarray:
    """Masks (N, H, W) of the classes that are most frequent in such squares; of equally frequent ones the lowest."""
    if times == 1:
        return masks
    labels = np.array([*range(classes), IGNORED], dtype=np.uint8)

    def small(mask: np.ndarray) -> np.ndarray:
        squares = _squares(mask, times)
        best, found = np.full(squares.shape[::2], -1), np.zeros(squares.shape[::2], dtype=np.uint8)
        for label in labels:
            votes = (squares == label).sum(axis=(1, 3))
            found, best = np.where(votes > best, label, found), np.maximum(best, votes)
        return found

    return np.stack([small(mask) for mask in masks])


def _squares(array: np.ndarray, side: int) -> np.ndarray:
    """(H, W, ...) -> (H / side, side, W / side, side, ...), without what fills no square."""
    rows, columns = array.shape[0] // side, array.shape[1] // side
    whole: np.ndarray = array[: rows * side, : columns * side]
    squares: np.ndarray = whole.reshape(rows, side, columns, side, *array.shape[2:])
    return squares


def _split(part: Masked, index: np.ndarray) -> Split:
    """The tiles of the images at `index`."""
    images = part.images[index].reshape(-1, *part.images.shape[2:]).transpose(0, 3, 1, 2)
    masks = part.masks[index].reshape(-1, *part.masks.shape[2:])
    return Split(torch.from_numpy(np.ascontiguousarray(images)), torch.from_numpy(np.ascontiguousarray(masks)))
