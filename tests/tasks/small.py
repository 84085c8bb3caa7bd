"""The smallest data of every task and the smallest network of every space, as a spec has them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import question_data
from PIL import Image
from scipy.io import wavfile

from archsearch.api.space import Space as SpaceSpec
from archsearch.api.task import Task
from archsearch.spaces import Space, space_of
from archsearch.tasks import TaskData, load

Settings = dict[str, Any]


def digits(_folder: Path) -> Settings:
    return {"dataset": {"builtin": "digits"}}


def questions(folder: Path) -> Settings:
    question_data.write(folder / "small")
    return {"dataset": {"volume": {"claimName": "data", "path": "small"}}}


def number_words(_folder: Path) -> Settings:
    numbers = {"pairs": 400, "largest": 999}
    return {"dataset": {"builtin": "numberWords"}, "numberWords": numbers, "vocabulary": 64}


def masks(folder: Path) -> Settings:
    """Bright squares on a dark ground."""
    squares = np.kron(np.random.default_rng(0).integers(0, 2, (10, 4, 4)), np.ones((8, 8))).astype(np.uint8)
    np.savez(folder / "masks.npz", train_images=squares[:8] * 200, train_masks=squares[:8],
             test_images=squares[8:] * 200, test_masks=squares[8:])  # fmt: skip
    return {"dataset": {"volume": {"claimName": "data", "path": "masks.npz"}}, "crop": 16}


def texts(folder: Path) -> Settings:
    """What is named is an animal or a plant."""
    nouns, rng = {"animal": ["cat", "dog"], "plant": ["tree", "rose"]}, np.random.default_rng(0)
    for part, count in (("train", 80), ("test", 24)):
        rows = [(f"This is a {rng.choice(nouns[label])} .", label) for label in (*nouns,) * (count // 2)]
        (folder / f"{part}.csv").write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in rows))
    return {"dataset": {"volume": {"claimName": "data"}}, "maxTokens": 8, "vocabulary": 32}


def tones(folder: Path) -> Settings:
    """High and low ones with noise."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 30), ("test", 12)):
        for name, pitch in {"high": 1200, "low": 300}.items():
            (folder / part / name).mkdir(parents=True)
            for number in range(count):
                wave = np.sin(2 * np.pi * pitch * np.arange(800) / 4000) + 0.05 * rng.standard_normal(800)
                wavfile.write(folder / part / name / f"{number:02}.wav", 4000, (wave * 2**13).astype(np.int16))
    return {"dataset": {"volume": {"claimName": "data"}}, "seconds": "0.2", "features": {"mels": 10}}


def boxes(folder: Path) -> Settings:
    """A bright square on a dark ground."""
    (folder / "images").mkdir()
    for part, numbers in (("train", range(30)), ("test", range(30, 40))):
        images, found = [], []
        for number in numbers:
            pixels, corner = np.zeros((48, 64), dtype=np.uint8), number % 20
            pixels[10:34, corner : corner + 24] = 200 + number % 40
            Image.fromarray(pixels).save(folder / "images" / f"{number}.png")
            images.append({"id": number, "file_name": f"{number}.png", "width": 64, "height": 48})
            found.append({"image_id": number, "category_id": 1 + number % 2, "bbox": [corner, 10, 24, 24]})
        kinds = [{"id": 1, "name": "even"}, {"id": 2, "name": "odd"}]
        content = {"images": images, "annotations": found, "categories": kinds}
        (folder / f"{part}.json").write_text(json.dumps(content))
    return {"dataset": {"volume": {"claimName": "data"}}}


DATA: dict[str, Callable[[Path], Settings]] = {
    "imageClassification": digits,
    "objectDetection": boxes,
    "semanticSegmentation": masks,
    "speechClassification": tones,
    "textClassification": texts,
    "translation": number_words,
    "visualQuestionAnswering": questions,
}
"""By task: writes its data to a folder, and returns its settings."""


def sized(**size: Any) -> Settings:
    return {"search": size, "final": size}


CHAIN_STEM = {"channels": 4, "separable": 4}
SPACES: dict[str, Settings] = {
    "dartsCells": {"nodes": 2, **sized(channels=2, cells=3)},
    "nasBench201": sized(channels=4, cells=1),
    "nasnetCells": {"nodes": 2, **sized(channels=4, cells=3)},
    "enasMacro": {"layers": 3, **sized(channels=4)},
    "mbconvChain": {
        "stem": CHAIN_STEM,
        "stages": [{"channels": 4, "layers": 2}, {"channels": 8, "layers": 1, "stride": 2}],
        "headChannels": 16,
        "blocks": ["k3e1g2", "k5e2"],
    },
    "elasticChain": {
        "stem": {"channels": 4},
        "stages": [{"channels": 4, "depths": [1, 2]}, {"channels": 8, "depths": [1], "stride": 2}],
        "headChannels": 16,
    },
    "resolutionTrellis": {"layers": 3, "nodes": 1, **sized(channels=4)},
    "elasticTransformer": {
        "widths": [16, 24],
        "encoderDepths": [2],
        "decoderDepths": [1, 2],
        "feedForward": [16, 32],
        "heads": [2, 4],
        "headChannels": 8,
        "attends": [1, 2],
        "search": {"widthPercent": 100},
        "final": {"widthPercent": 100},
    },
    "sequenceCells": {"nodes": 2, "embedding": 8, **sized(channels=8, cells=1)},
    "sequenceChain": {
        "stem": {"channels": 8},
        "stages": [{"channels": 8, "layers": 2, "stride": 2}],
        "headChannels": 16,
        "blocks": ["k3e1", "k5e2", "attention"],
    },
    "featurePyramid": {
        "stages": [{"channels": 8, "layers": 1}] * 4,
        "pyramidChannels": 8,
        "nodes": 3,
        "blocks": ["k3e1", "k5e2"],
    },
    "fusionNetwork": {"nodes": 1, "imageLayers": 2, "questionLayers": 2, **sized(channels=4, width=8)},
    "hierarchicalMotifs": {"motifs": 2, "motifNodes": 3, "cellNodes": 3, **sized(channels=4, cells=1)},
}


def small_data(task: str, folder: Path) -> TaskData:
    return load(Task.model_validate({task: DATA[task](folder)}), folder)


def small_space(name: str) -> Space:
    return space_of(SpaceSpec.model_validate({name: SPACES[name]}))
