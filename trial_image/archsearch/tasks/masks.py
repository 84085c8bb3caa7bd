"""Images with masks: `.npz` files, and folders with `train/images/*`, `train/masks/*` and the same of `test`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from archsearch.api.training import VolumeSource
from archsearch.tasks.arrays import MEBIBYTE, available_memory, image_arrays, read_arrays
from archsearch.tasks.base import DataError
from archsearch.tasks.folder import files_of, image_mode, inside, open_image, read_image
from archsearch.tasks.volume import located

ARRAYS: Final = ("train_images", "train_masks", "test_images", "test_masks")
PARTS: Final = ("train", "test")
MODES: Final = ("1", "L", "P")
"""Pillow's modes of one number a pixel."""
LOSSLESS: Final = (".png", ".bmp", ".gif", ".tif", ".tiff")
"""Suffixes of masks; others do not keep the numbers."""


@dataclass(frozen=True)
class Masked:
    """Images (N, H, W, C) uint8 and their masks (N, H, W) of whole numbers from 0 to 255."""

    images: np.ndarray
    masks: np.ndarray


def read_masked(volume: VolumeSource, data: Path | None) -> tuple[Masked, Masked, str]:
    """The training and the test examples, and where they are. Raises DataError."""
    path, root = located(volume, data, "a .npz file or a folder with train/images and train/masks")
    train, test = _read_folder(path, root) if path.is_dir() else _read_npz(path)
    return train, test, str(path)


def _read_npz(file: Path) -> tuple[Masked, Masked]:
    found = read_arrays(file, ARRAYS)
    train, test = image_arrays(file, found)
    return Masked(train, _masks(file, "train", found)), Masked(test, _masks(file, "test", found))


def _masks(file: Path, part: str, found: dict[str, np.ndarray]) -> np.ndarray:
    name, masks, shape = f"{part}_masks", found[f"{part}_masks"], found[f"{part}_images"].shape[:3]
    if masks.dtype.kind not in "iub":
        raise DataError(
            f"{file}: {name} must be whole numbers from 0, but got {masks.dtype}; number the classes from 0"
        )
    if masks.shape not in {shape, (*shape, 1)}:
        raise DataError(
            f"{file}: {name} must have a number for each pixel of {part}_images, so the shape {shape}, but got "
            f"{masks.shape}; make them of the size of the images"
        )
    low, high = int(masks.min()), int(masks.max())
    if low < 0 or high > 255:
        raise DataError(
            f"{file}: {name} must be at least 0 and at most 255, but got {low} to {high}; number the classes from 0"
        )
    return masks.reshape(shape).astype(np.uint8)


def _read_folder(folder: Path, root: Path) -> tuple[Masked, Masked]:
    pairs = {part: _pairs(folder / part, root) for part in PARTS}
    first = pairs["train"][0][0]
    with open_image(first) as image:
        size = image.size
    images = [file for part in PARTS for file, _ in pairs[part]]
    modes = {image_mode(file, first, size) for file in images}
    for part in PARTS:
        for _, mask in pairs[part]:
            if (mode := image_mode(mask, first, size)) not in MODES:
                raise DataError(
                    f"{mask}: a mask must hold one number a pixel (mode {' '.join(MODES)}), but has mode {mode}; save "
                    "it as a grey image whose values are the numbers of the classes"
                )
    mode = "L" if modes <= {"1", "L"} else "RGB"
    needed, there = len(images) * size[0] * size[1] * (len(mode) + 1), available_memory()
    if needed > there:
        raise DataError(
            f"{folder}: the images and masks must fit into the memory of {there // MEBIBYTE:,} MiB, but take "
            f"{needed // MEBIBYTE:,} MiB; raise trial.resources.limits.memory, or use fewer or smaller ones"
        )
    train, test = (
        Masked(
            np.stack([read_image(file, mode) for file, _ in pairs[part]]),
            np.stack([read_image(mask)[..., 0] for _, mask in pairs[part]]),
        )
        for part in PARTS
    )
    return train, test


def _pairs(part: Path, root: Path) -> list[tuple[Path, Path]]:
    """Each image of a part and its mask, in the order of their names."""
    for name in ("images", "masks"):
        if not (part / name).is_dir():
            raise DataError(f"{part / name}: must be a folder, but there is none; or let path name a .npz file")
    folder, pairs = part / "images", []
    for file in files_of(folder, root):
        stem = (part / "masks" / file.relative_to(folder)).with_suffix("")
        named = [stem.with_name(stem.name + suffix) for suffix in LOSSLESS]
        masks = [mask for mask in named if mask.exists()]
        if len(masks) != 1:
            raise DataError(
                f"{file}: must have one mask, {stem}.png (or {' '.join(LOSSLESS[1:])}), but has "
                f"{', '.join(map(str, masks)) or 'none'}"
            )
        if not inside(root, masks[0], "a mask").is_file():
            raise DataError(f"{masks[0]}: must be an image, but is no regular file; remove it")
        pairs.append((file, masks[0]))
    return pairs
