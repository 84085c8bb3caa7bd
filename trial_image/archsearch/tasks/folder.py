"""Data sets that are folders of images: `train/CLASS/**` and `test/CLASS/**`, as torchvision's ImageFolder has them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence, Set
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, UnidentifiedImageError

from archsearch.tasks.arrays import MEBIBYTE, Arrays, available_memory
from archsearch.tasks.base import DataError

SUFFIXES: Final = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
FORMATS: Final = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""Pillow's decoders for these. The others are not asked, whatever a file holds: some start programs."""
MODES: Final = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")
"""Pillow's modes of at most 8 bits a channel, whose conversion to L or RGB loses none."""
MAX_SIDE: Final = 1024
"""Pixels. All images are held in memory, and no space here is meant for larger ones."""


def inside(root: Path, path: Path, meaning: str) -> Path:
    """The path with its links followed. DataError where it leaves `root`: a volume must not lead out of itself."""
    try:
        resolved, base = path.resolve(), root.resolve()
    except (OSError, RuntimeError) as error:  # a loop of links is a RuntimeError before Python 3.13
        raise DataError(f"{path}: {meaning} cannot be followed ({error}); remove the loop of links") from None
    if not resolved.is_relative_to(base):
        raise DataError(
            f"{path}: {meaning} must stay inside the volume, but it leads to {resolved}; copy the files instead of "
            "linking to them"
        )
    return resolved


def read_folder(folder: Path, root: Path) -> Arrays:
    """Read all images below `folder`; classes are numbered in the order of their names.

    root: the volume, which no link may leave. A class is all that is below its folder, at any depth, without what has a
    name that starts with a dot. Images are read as grey where every one of them is, otherwise as RGB.
    """
    names, tested = (listing(folder, part, "images", "; or let path name a .npz file") for part in ("train", "test"))
    if unknown := [name for name in tested if name not in names]:
        raise DataError(
            f"{folder / 'test' / unknown[0]}: every class must have training images, but there is no "
            f"{folder / 'train' / unknown[0]}"
        )
    train = [(file, label) for label, name in enumerate(names) for file in files_of(folder / "train" / name, root)]
    test = [
        (file, label)
        for label, name in enumerate(names)
        if (folder / "test" / name).is_dir()
        for file in files_of(folder / "test" / name, root)
    ]
    if not test:
        raise DataError(f"{folder / 'test'}: must hold at least one image, but has none")
    first = train[0][0]
    with open_image(first) as image:
        size = image.size
    modes = {image_mode(file, first, size) for file, _ in (*train, *test)}
    mode = "L" if modes <= {"1", "L"} else "RGB"
    labels = (np.array([label for _, label in part], dtype=np.int64) for part in (train, test))
    images = (_read([file for file, _ in part], mode) for part in (train, test))
    (train_images, test_images), (train_labels, test_labels) = images, labels
    return Arrays(train_images, train_labels, test_images, test_labels)


def read_images(files: Sequence[Path]) -> np.ndarray:
    """The images (N, H, W, C) uint8 of at least one file; grey where all are, otherwise RGB.

    DataError where one is no image, has more than MAX_SIDE pixels a side or another size than the first, or where all
    together would not fit into memory.
    """
    with open_image(files[0]) as image:
        size = image.size
    modes = {image_mode(file, files[0], size) for file in files}
    mode = "L" if modes <= {"1", "L"} else "RGB"
    needed, there = len(files) * size[0] * size[1] * len(mode), available_memory()
    if needed > there:
        raise DataError(
            f"{files[0].parent}: the images must fit into the memory of {there // MEBIBYTE:,} MiB, but take "
            f"{needed // MEBIBYTE:,} MiB; raise trial.resources.limits.memory, make them smaller, or use fewer"
        )
    return _read(files, mode)


def listing(folder: Path, part: str, examples: str, otherwise: str = "") -> list[str]:
    """The classes of a part, `train` or `test`: the names of its folders, in order. DataError where there is none.

    examples: what a class holds, in plural. otherwise: what else the user may do.
    """
    if not (folder / part).is_dir():
        there = ", ".join(sorted(item.name for item in folder.iterdir())[:10]) or "nothing"
        raise DataError(
            f"{folder}: must hold the folders train/CLASS and test/CLASS, but has no {part} (it has {there}){otherwise}"
        )
    names = sorted(item.name for item in (folder / part).iterdir() if item.is_dir() and not item.name.startswith("."))
    if not names:
        raise DataError(
            f"{folder / part}: must hold one folder for each class, but has none; put the {examples} in "
            f"{folder / part}/CLASS/"
        )
    return names


def files_of(folder: Path, root: Path, suffixes: Set[str] = SUFFIXES, example: str = "image") -> list[Path]:
    """The files of a class with these suffixes, at any depth, in order. DataError where there is none."""
    files = sorted(_walk(folder, root, (), suffixes, example))
    if not files:
        raise DataError(
            f"{folder}: must hold at least one {example} ({' '.join(sorted(suffixes))}), but has none; remove the "
            f"class or add its {example}s"
        )
    return files


def _walk(folder: Path, root: Path, above: tuple[Path, ...], suffixes: Set[str], example: str) -> Iterator[Path]:
    """Such files below a folder. above: the folders that it is in, their links followed."""
    real = inside(root, folder, f"a folder of {example}s")
    if real in above:
        raise DataError(f"{folder}: must not lead back to {real}, which it is in; remove the loop of links")
    for item in folder.iterdir():
        if item.name.startswith("."):
            continue
        if item.is_dir():
            yield from _walk(item, root, (*above, real), suffixes, example)
        elif item.suffix.lower() in suffixes:
            # Reading a pipe would wait for ever.
            if not inside(root, item, f"an {example}" if example == "image" else f"a {example}").is_file():
                raise DataError(f"{item}: must be an {example}, but is no regular file; remove it")
            yield item


def open_image(file: Path) -> Image.Image:
    """An image of which only the header has been read. Raises DataError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the size is checked by image_mode
            return Image.open(file, formats=FORMATS)
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise DataError(f"{file}: must be an image, but cannot be read ({error}); replace or remove it") from None


def image_mode(file: Path, first: Path, size: tuple[int, int]) -> str:
    """The image's mode, from its header. DataError unless it is one of MODES and the size is that of the first one."""
    with open_image(file) as image:
        if max(image.size) > MAX_SIDE:
            raise DataError(
                f"{file}: must have at most {MAX_SIDE} pixels a side, but got {_text(image.size)}; resize it beforehand"
            )
        if image.size != size:
            raise DataError(
                f"{file}: all images must have one size, {_text(size)} as {first} has it, but got {_text(image.size)}; "
                "resize all of them to one size beforehand"
            )
        if image.mode not in MODES:
            raise DataError(
                f"{file}: must have at most 8 bits a channel (mode {' '.join(MODES)}), but has mode {image.mode}; "
                "convert it beforehand"
            )
        return str(image.mode)


def _text(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def _read(files: Sequence[Path], mode: str) -> np.ndarray:
    """Images (N, H, W, C) uint8."""
    return np.stack([read_image(file, mode) for file in files])


def read_image(file: Path, mode: str | None = None) -> np.ndarray:
    """The pixels (H, W, C) uint8 of an image, converted to a mode of Pillow or as they are. Raises DataError."""
    with open_image(file) as image:
        try:
            pixels = np.asarray(image.convert(mode) if mode else image, dtype=np.uint8)
        except (OSError, ValueError, SyntaxError) as error:
            raise DataError(f"{file}: must be a whole image, but breaks off ({error}); replace or remove it") from None
    return pixels if pixels.ndim == 3 else pixels[..., None]
