"""What is to be learnt: data, splits, loss and metrics; one module for each task and each layout of data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from archsearch.api.task import ImageClassification, ObjectDetection, SemanticSegmentation, Task
from archsearch.tasks.base import DataError, Labelled, Meter, Split, TaskData
from archsearch.tasks.detection import BoxData, load_boxes
from archsearch.tasks.image import SPLIT_SEED, ImageData, load_images
from archsearch.tasks.segmentation import MaskData, load_masks

__all__ = [
    "SPLIT_SEED",
    "BoxData",
    "DataError",
    "ImageData",
    "Labelled",
    "MaskData",
    "Meter",
    "Split",
    "TaskData",
    "load",
]

LOADERS: Final[dict[type, Callable[[Any, Path | None, int], TaskData]]] = {
    ImageClassification: load_images,
    SemanticSegmentation: load_masks,
    ObjectDetection: load_boxes,
}
"""What reads and splits the data of each task, by the type of its settings."""


def load(task: Task, data: Path | None, seed: int = SPLIT_SEED) -> TaskData:
    """The data of a task; see the task's own loader. Raises DataError."""
    settings = task.member[1]
    return LOADERS[type(settings)](settings, data, seed)
