"""What is to be learnt: data, splits, loss and metrics; one module for each task and each layout of data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from archsearch.api.task import (
    CustomTask,
    ImageClassification,
    ObjectDetection,
    SemanticSegmentation,
    SpeechClassification,
    Task,
    TextClassification,
    Translation,
    VisualQuestionAnswering,
)
from archsearch.tasks.base import DataError, Labelled, Meter, Split, TaskData
from archsearch.tasks.custom import load_custom
from archsearch.tasks.detection import BoxData, load_boxes
from archsearch.tasks.image import SPLIT_SEED, ImageData, load_images
from archsearch.tasks.questions import QuestionData, load_questions
from archsearch.tasks.segmentation import MaskData, load_masks
from archsearch.tasks.speech import load_speech
from archsearch.tasks.text import load_texts
from archsearch.tasks.translation import TranslationData, load_translation

__all__ = [
    "SPLIT_SEED", "BoxData", "DataError", "ImageData", "Labelled", "MaskData", "Meter", "QuestionData", "Split",
    "TaskData", "TranslationData", "load",
]  # fmt: skip

LOADERS: Final[dict[type, Callable[[Any, Path | None, int], TaskData]]] = {
    CustomTask: load_custom,
    ImageClassification: load_images,
    TextClassification: load_texts,
    SpeechClassification: load_speech,
    SemanticSegmentation: load_masks,
    ObjectDetection: load_boxes,
    Translation: load_translation,
    VisualQuestionAnswering: load_questions,
}
"""What reads and splits the data of each task, by the type of its settings."""


def load(task: Task, data: Path | None, seed: int = SPLIT_SEED) -> TaskData:
    """The data of a task; see the task's own loader. Raises DataError."""
    settings = task.member[1]
    try:
        return LOADERS[type(settings)](settings, data, seed)
    except PermissionError as error:
        raise DataError(
            f"{error.filename}: must be readable by the trial's user, but is not; change its mode"
        ) from None
