"""Speech classification: recordings as frames of log-mel energies."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
import torch
from torch import Tensor

from archsearch.api.sequence_tasks import LogMel, SpeechClassification
from archsearch.api.signature import Input, Signature
from archsearch.tasks.base import DataError, Labelled, Split
from archsearch.tasks.image import SPLIT_SEED, split
from archsearch.tasks.mel import LEAST, frame_count, log_mel
from archsearch.tasks.named import numbered
from archsearch.tasks.text import CLASSES
from archsearch.tasks.volume import located
from archsearch.tasks.waves import Recordings, read_waves

SHIFT: Final = 10
"""A recording is moved by up to one in so many steps."""
MASKED: Final = 5
"""At most one in so many steps, and one in so many bands, is silenced."""
FRAMES: Final = 100_000
"""Steps of the longest recordings: all are held in memory."""


@dataclass(frozen=True)
class SpeechData(Labelled):
    """Frames (N, mels, T) float32 with a class each."""

    augmentation: str = "None"

    name: ClassVar[str] = "speechClassification"

    def values(self, tally: Tensor) -> dict[str, float]:
        """accuracy, and errorRate: the share of wrong answers."""
        right, count = tally.tolist()
        return {"accuracy": right / count, "errorRate": (count - right) / count}

    def augmented(self, batch: Split, changes: torch.Generator) -> Split:
        """Frames that are moved and partly silenced, as the spec says."""
        if self.augmentation == "None":
            return batch
        assert isinstance(batch.inputs, Tensor)  # noqa: S101 - frames are all that there is
        return Split(spec_augment(batch.inputs, changes), batch.targets)


def load_speech(task: SpeechClassification, data: Path | None, seed: int = SPLIT_SEED) -> SpeechData:
    """Read the recordings, split them and compute their frames.

    data: where the claim of `dataset.volume` is mounted. seed: of the split; it is the same for every trial of every
    search. Raises DataError with the file, what is wrong, the value and what to do.
    """
    folder, root = located(task.dataset.member[1], data, "a folder with train/CLASS and test/CLASS", folder=True)
    found = read_waves(folder, root, float(task.seconds))
    _check(task, found, folder)
    labels = numbered(found.train_classes, found.test_classes, str(folder), "recordings")
    train, test = (_frames(waves, found.rate, task.features) for waves in (found.train, found.test))
    parts = split(labels.train, task.selection_percent, seed)
    learnt = train[np.concatenate([parts["weights"], parts["architecture"]])].double()
    mean, std = learnt.mean((0, 2)), learnt.std((0, 2), correction=0)
    frames = Input(
        name="frames",
        shape=tuple(train.shape[1:]),
        mean=tuple(mean.tolist()),
        std=tuple(value or 1.0 for value in std.tolist()),  # a band that never changes carries nothing
    )
    made = {name: Split(train[index], torch.from_numpy(labels.train[index])) for name, index in parts.items()}
    features = {"sampleRate": found.rate, "seconds": float(task.seconds), **task.features.wire(), "floor": LEAST}
    return SpeechData(
        Signature(inputs=(frames,), outputs="Classes", classes=len(labels.names)),
        weights=made["weights"],
        architecture=made["architecture"],
        selection=made["selection"],
        test=Split(test, torch.from_numpy(labels.test)),
        augmentation=task.training.augmentation,
        files={
            "features.json": json.dumps(features, indent=2).encode(),
            CLASSES: json.dumps(labels.names, ensure_ascii=False).encode(),
        },
    )


def _check(task: SpeechClassification, found: Recordings, folder: Path) -> None:
    samples = found.train.shape[1]
    window, hop = (found.rate * ms // 1000 for ms in (task.features.window_ms, task.features.hop_ms))
    if window < 2 * task.features.mels or hop < 1:
        raise DataError(
            f"{folder}: a window of features.windowMs must have at least two samples for each of {task.features.mels} "
            f"bands, but {task.features.window_ms} ms have {window} at {found.rate} Hz; lower features.mels"
        )
    if samples < window:
        raise DataError(
            f"{folder}: seconds must be at least features.windowMs ({task.features.window_ms} ms), but is "
            f"{task.seconds}"
        )
    if (steps := frame_count(samples, window, hop)) > FRAMES:
        raise DataError(f"{folder}: a recording must have at most {FRAMES} frames, but has {steps}; lower seconds")


def _frames(waves: Tensor, rate: int, features: LogMel) -> Tensor:
    """(N, mels, T) of recordings (N, samples) int16."""
    window, hop = rate * features.window_ms // 1000, rate * features.hop_ms // 1000
    return torch.cat(
        [
            log_mel(chunk.float() / 2**15, rate, window=window, hop=hop, mels=features.mels)
            for chunk in torch.split(waves, 256)  # as numbers they take several times the memory
        ]
    )


def spec_augment(frames: Tensor, changes: torch.Generator) -> Tensor:
    """Frames (N, mels, T), each moved in time, with one span of bands and one of steps silenced (Park et al. 2019).

    What comes in from outside is as quiet as the quietest of the frames, and so is what is silenced. The same generator
    state gives the same frames; it is on the CPU.
    """
    count, mels, steps = frames.shape
    device = frames.device
    quiet = frames.amin((1, 2), keepdim=True)
    by = torch.randint(-(steps // SHIFT), steps // SHIFT + 1, (count, 1), generator=changes).to(device)
    places = torch.arange(steps, device=device) - by  # (N, T): where each step is from
    inside = (places >= 0) & (places < steps)
    moved = frames.gather(2, places.clamp(0, steps - 1)[:, None].expand(-1, mels, -1))
    kept = inside[:, None] & ~_span(count, steps, changes).to(device)[:, None]
    kept = kept & ~_span(count, mels, changes).to(device)[:, :, None]
    return torch.where(kept, moved, quiet)


def _span(count: int, size: int, changes: torch.Generator) -> Tensor:
    """(count, size): neighbours, none to a fifth of all, that begin anywhere."""
    length = torch.randint(0, size // MASKED + 1, (count, 1), generator=changes)
    begin = (torch.rand((count, 1), generator=changes) * (size - length + 1)).long()
    places = torch.arange(size)
    return (places >= begin) & (places < begin + length)
