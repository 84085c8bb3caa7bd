"""Images with boxes in the format of COCO: `train.json`, `test.json`, and the images below `images/`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image
from pydantic import BaseModel, Field, FiniteFloat, ValidationError

from archsearch.tasks.arrays import MEBIBYTE, available_memory
from archsearch.tasks.base import DataError
from archsearch.tasks.folder import image_mode, inside, open_image, read_image

PADDING: Final = -1
"""The class of rows that stand for no box."""
BYTES: Final = 20
"""Memory that a byte of JSON takes once it is read, about."""
BEYOND: Final = 1.0
"""Pixels by which a box may leave its image: many tools round so. It is cut off."""


class CocoImage(BaseModel):
    """An image's entry."""

    id: int
    file_name: str = Field(min_length=1)
    width: int = Field(ge=1)
    height: int = Field(ge=1)


class CocoAnnotation(BaseModel):
    """A box's entry: left, top, width and height in pixels. Crowds (`iscrowd`) are not read."""

    image_id: int
    category_id: int
    bbox: tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]
    iscrowd: int = 0


class CocoCategory(BaseModel):
    """A class's entry."""

    id: int
    name: str


class Coco(BaseModel):
    """A file: what is needed of it."""

    images: list[CocoImage] = Field(min_length=1)
    annotations: list[CocoAnnotation]
    categories: list[CocoCategory] = Field(min_length=1)


@dataclass(frozen=True)
class Boxed:
    """Images (N, H, W, C) uint8, and of each its boxes (boxes, 5): class, left, top, right, bottom in pixels."""

    images: np.ndarray
    boxes: Sequence[np.ndarray]


def read_coco(folder: Path, root: Path, width: int | None, height: int | None) -> tuple[Boxed, Boxed, int]:
    """The training and the test examples, and the number of classes, which are numbered in the order of their ids.

    root: the volume, which nothing may lead out of. width, height: what images are resized to. Raises DataError.
    """
    files = [folder / "train.json", folder / "test.json"]
    parts = [_read(file, root) for file in files]
    classes = {category.id: number for number, category in enumerate(sorted(parts[0].categories, key=lambda c: c.id))}
    paths = [
        [_image(file, folder, root, image) for image in part.images] for file, part in zip(files, parts, strict=True)
    ]
    first = parts[0].images[0]
    size = width or first.width, height or first.height
    for file, part in zip(files, parts, strict=True):
        for image in part.images:
            if (width or image.width, height or image.height) != size:
                raise DataError(
                    f"{file}: all images must have one size, {size[0]}x{size[1]}, but {image.file_name} has "
                    f"{image.width}x{image.height}; give task.objectDetection.width and height"
                )
    everything = [path for listed in paths for path in listed]
    mode = "L" if {image_mode(path, path, _size(path)) for path in everything} <= {"1", "L"} else "RGB"
    needed, there = len(everything) * size[0] * size[1] * len(mode), available_memory()
    if needed > there:
        raise DataError(
            f"{folder}: the images must fit into the memory of {there // MEBIBYTE:,} MiB, but take "
            f"{needed // MEBIBYTE:,} MiB; raise trial.resources.limits.memory, or resize them with width and height"
        )
    train, test = (
        Boxed(np.stack([_pixels(path, mode, size) for path in listed]), _boxes(file, part, classes, size))
        for file, part, listed in zip(files, parts, paths, strict=True)
    )
    return train, test, _checked(train, classes, parts[0], files[0])


def _read(file: Path, root: Path) -> Coco:
    if not inside(root, file, "a file of annotations").is_file():
        raise DataError(f"{file}: does not exist; the folder must hold train.json, test.json and images/")
    if (needed := file.stat().st_size * BYTES) > available_memory():
        raise DataError(f"{file}: must fit into memory, but takes about {needed // MEBIBYTE:,} MiB when it is read")
    try:
        part = Coco.model_validate(json.loads(file.read_bytes()))
    except ValidationError as error:
        wrong: Any = error.errors()[0]
        place = ".".join(map(str, wrong["loc"])) or "the file"
        raise DataError(
            f"{file}: {place} is wrong ({wrong['msg']}), but got {wrong['input']!r:.80}; write it as COCO's annotations"
        ) from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file}: must be JSON, but cannot be read ({error}); write it as COCO's annotations") from None
    for name, entries in (("images", part.images), ("categories", part.categories)):
        ids = [entry.id for entry in entries]
        if len(set(ids)) < len(ids):
            twice = next(one for one in ids if ids.count(one) > 1)
            raise DataError(f"{file}: every id in {name} must be there once, but {twice} is there twice")
    return part


def _image(file: Path, folder: Path, root: Path, image: CocoImage) -> Path:
    """Where an image is. DataError where it is not, or has another size than the annotations say."""
    path = folder / "images" / image.file_name
    if "\0" in image.file_name or not inside(root, path, "an image").is_file():
        raise DataError(f"{path}: must be an image, as {file} says of id {image.id}, but there is no regular file")
    if (found := _size(path)) != (image.width, image.height):
        raise DataError(
            f"{path}: must have the size that {file} says, {image.width}x{image.height}, but has {found[0]}x{found[1]}"
        )
    return path


def _size(path: Path) -> tuple[int, int]:
    with open_image(path) as image:
        return image.size


def _pixels(path: Path, mode: str, size: tuple[int, int]) -> np.ndarray:
    pixels = read_image(path, mode)
    if (pixels.shape[1], pixels.shape[0]) == size:
        return pixels
    resized = Image.fromarray(pixels if mode == "RGB" else pixels[..., 0]).resize(size, Image.Resampling.BILINEAR)
    return np.asarray(resized, dtype=np.uint8).reshape(size[1], size[0], len(mode))


def _boxes(file: Path, part: Coco, classes: dict[int, int], size: tuple[int, int]) -> list[np.ndarray]:
    """The boxes of each image, in pixels of the resized images. Raises DataError."""
    images = {image.id: image for image in part.images}
    found: dict[int, list[list[float]]] = {image.id: [] for image in part.images}
    for number, annotation in enumerate(part.annotations):
        if annotation.iscrowd:
            continue
        if (image := images.get(annotation.image_id)) is None:
            raise DataError(
                f"{file}: annotations.{number}.image_id must be an id in images, but got {annotation.image_id}"
            )
        if (label := classes.get(annotation.category_id)) is None:
            raise DataError(
                f"{file}: annotations.{number}.category_id must be one of the categories of train.json "
                f"({', '.join(map(str, list(classes)[:10]))}), but got {annotation.category_id}"
            )
        left, top, width, height = annotation.bbox
        right, bottom = left + width, top + height
        if (
            min(width, height) <= 0
            or min(left, top) < -BEYOND
            or (right > image.width + BEYOND or bottom > image.height + BEYOND)
        ):
            raise DataError(
                f"{file}: annotations.{number}.bbox must be [left, top, width, height] of a box inside of the image of "
                f"{image.width}x{image.height} pixels, but got {list(annotation.bbox)}"
            )
        right, bottom = min(right, image.width), min(bottom, image.height)
        wide, high = size[0] / image.width, size[1] / image.height
        sides = max(left, 0.0) * wide, max(top, 0.0) * high, right * wide, bottom * high
        found[image.id].append([float(label), *sides])
    return [np.array(boxes, dtype=np.float32).reshape(-1, 5) for boxes in found.values()]


def _checked(train: Boxed, classes: dict[int, int], part: Coco, file: Path) -> int:
    """The number of classes. DataError where one has no box to learn from."""
    have = {int(label) for boxes in train.boxes for label in boxes[:, 0]}
    for category in part.categories:
        if classes[category.id] not in have:
            raise DataError(
                f"{file}: every category must have boxes to learn from, but {category.name} (id {category.id}) has "
                "none; remove it"
            )
    return len(classes)
