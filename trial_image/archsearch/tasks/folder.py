"""Data sets that are folders of images: `train/CLASS/**` and `test/CLASS/**`, as torchvision's ImageFolder has them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Set
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, UnidentifiedImageError

from archsearch.tasks.arrays import Arrays
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
    with _open(first) as image:
        size = image.size
    modes = {_mode(file, first, size) for file, _ in (*train, *test)}
    mode = "L" if modes <= {"1", "L"} else "RGB"
    return Arrays(*_read(train, mode), *_read(test, mode))


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


def _open(file: Path) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the size is checked by _mode
            return Image.open(file, formats=FORMATS)
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise DataError(f"{file}: must be an image, but cannot be read ({error}); replace or remove it") from None


def _mode(file: Path, first: Path, size: tuple[int, int]) -> str:
    """The image's mode, from its header. DataError unless it is one of MODES and the size is that of the first one."""
    with _open(file) as image:
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


def _read(listing: list[tuple[Path, int]], mode: str) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, H, W, C) uint8 and labels (N,)."""
    images = []
    for file, _ in listing:
        with _open(file) as image:
            try:
                pixels = np.asarray(image.convert(mode), dtype=np.uint8)
            except (OSError, ValueError, SyntaxError) as error:
                raise DataError(
                    f"{file}: must be a whole image, but breaks off ({error}); replace or remove it"
                ) from None
        images.append(pixels if pixels.ndim == 3 else pixels[..., None])
    return np.stack(images), np.array([label for _, label in listing], dtype=np.int64)
