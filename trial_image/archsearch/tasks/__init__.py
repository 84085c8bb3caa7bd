"""What is to be learnt: data, splits and normalisation; one module for each task and each layout of data."""

from __future__ import annotations

from pathlib import Path

from archsearch.api.task import Task
from archsearch.tasks.augment import augment
from archsearch.tasks.base import DataError, ImageData, Split, normalise
from archsearch.tasks.image import SPLIT_SEED, load_images

__all__ = ["SPLIT_SEED", "DataError", "ImageData", "Split", "augment", "load", "normalise"]


def load(task: Task, data: Path | None, seed: int = SPLIT_SEED) -> ImageData:
    """The data of a task; see `load_images`. Raises DataError."""
    if task.image_classification is None:
        raise AssertionError("image classification is the only task")
    return load_images(task.image_classification, data, seed)
