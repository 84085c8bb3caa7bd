"""The examples with little to do, and the smallest data for those that read any."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from local_runs import REPOSITORY, run_example
from PIL import Image
from question_data import write
from scipy.io import wavfile
from sklearn.datasets import load_digits

EXAMPLES = REPOSITORY / "examples"
SUPERNET = ("algorithm.differentiable.epochs=1", "retrain.seeds=1", "retrain.epochs=1")
SEARCH_ALONE = ("algorithm.differentiable.epochs=1", "retrain.topK=0")
"""What comes after a differentiable search is the same for every method."""
LITTLE = {
    "amoebanet": (
        "evaluation.train.epochs=1",
        "budget={maxTrials: 2, parallelTrials: 2}",
        "retrain={seeds: 1, epochs: 1}",
    ),
    "bayesian": (
        "evaluation.train={epochs: 2, fidelities: [1]}",
        "budget={maxTrials: 3, parallelTrials: 1}",
        "algorithm.gaussianProcess.initial=2",
        "retrain={seeds: 1, epochs: 1}",
    ),
    "auto-deeplab": SEARCH_ALONE,
    "hyperband": (
        "evaluation.train={epochs: 2, halving: {minEpochs: 1, reduction: 2}}",
        "budget={maxTrials: 3, parallelTrials: 1}",
        "retrain={seeds: 1, epochs: 1}",
    ),
    "nasnet": (
        "evaluation.train.epochs=1",
        "algorithm.policyGradient.batch=1",
        "budget={maxTrials: 2, parallelTrials: 1}",
        "retrain={seeds: 1, epochs: 1}",
    ),
    "enas-macro": (
        "algorithm.enas.epochs=1",
        "algorithm.enas.controllerSteps=1",
        "retrain={seeds: 1, epochs: 1}",
    ),
    "front-under-latency": (
        "evaluation.train.epochs=1",
        "budget={maxTrials: 2, parallelTrials: 1}",
        "retrain={seeds: 1, epochs: 1}",
        "profiles.0.searchLatency.measuredTable.networks=20",
        "constraints.0.max=500",  # what is small enough here depends on what else the machine does
    ),
    "beta-darts": SEARCH_ALONE,
    "darts-first-order": SEARCH_ALONE,
    "fbnet": SEARCH_ALONE,
    "multimodal": SUPERNET,
    "gdas": SEARCH_ALONE,
    "one-shot": (
        "evaluation.sharedWeights.epochs=1",
        "evaluation.sharedWeights.architecturesPerTrial=3",
        "budget={maxTrials: 2, parallelTrials: 2}",
        "retrain={seeds: 1, epochs: 1}",
    ),
    "pc-darts": SEARCH_ALONE,
    "segmentation": SUPERNET,
    "detection": (
        "evaluation.train.epochs=1",
        "budget={maxTrials: 2, parallelTrials: 1}",
        "retrain={seeds: 1, epochs: 1}",
    ),
    "proxylessnas": SEARCH_ALONE,
    "proxylessnas-reinforce": SEARCH_ALONE,
    "translation": (
        "task.translation.numberWords.pairs=400",
        "evaluation.sharedWeights.epochs=1",
        "evaluation.sharedWeights.architecturesPerTrial=3",
        "budget={maxTrials: 2, parallelTrials: 2}",
        "retrain={seeds: 1, epochs: 1}",
    ),
    "zero-cost": (
        "evaluation.zeroCost.architecturesPerTrial=3",
        "budget={maxTrials: 1, parallelTrials: 1}",
        "retrain={seeds: 1, epochs: 1}",
    ),
    "darts-digits": ("algorithm.differentiable.epochs=1", "retrain.seeds=1", "retrain.epochs=1"),
    "enas": (
        "algorithm.enas.epochs=1",
        "algorithm.enas.controllerSteps=2",
        "budget.maxTrials=1",
        "retrain={topK: 1, seeds: 1, epochs: 1}",
    ),
    "evolution-digits": (
        "evaluation.train.epochs=1",
        "budget={maxTrials: 2, parallelTrials: 2}",
        "retrain={seeds: 1, epochs: 1}",
    ),
    "mobile": (
        "evaluation.sharedWeights={epochs: 1, batchSize: 16, architecturesPerTrial: 3}",
        "constraints.0.max=500",
        "profiles.0.searchLatency.measuredTable.networks=20",
        "budget={maxTrials: 1, parallelTrials: 1}",
        "retrain={seeds: 1, epochs: 1}",
    ),
    "minimal": ("evaluation.train.epochs=1", "budget.maxTrials=1", "retrain.topK=0"),
    "npz-volume": (
        "evaluation.train.epochs=1",
        "budget={maxTrials: 1}",
        "retrain.epochs=1",
    ),
    "speech": (
        "algorithm.differentiable.epochs=1",
        "retrain={seeds: 1, epochs: 1}",
        "constraints.0.max=1M",
    ),
    "text": SUPERNET,
    "random-digits": ("evaluation.train.epochs=1", "budget={maxTrials: 2, parallelTrials: 2}", "retrain.epochs=1"),
}


def write_texts(file: Path, count: int) -> None:
    words = {"animal": "cat", "plant": "tree"}
    rows = (f"the {word} no. {number},{label}\n" for number in range(count) for label, word in words.items())
    file.write_text("text,label\n" + "".join(rows))


def write_tones(folder: Path, count: int) -> None:
    for name, pitch in (("low", 300), ("high", 1200)):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            wave = np.sin(2 * np.pi * (pitch + number) * np.arange(6000) / 8000) * 2**13
            wavfile.write(folder / name / f"{number}.wav", 8000, wave.astype(np.int16))


def write_images(data: Path) -> None:
    """Digits, as examples/npz-volume.yaml has them."""
    images, labels = load_digits(return_X_y=True)
    images = (images.reshape(-1, 8, 8) * 15).astype(np.uint8)
    np.savez(data / "images.npz", train_images=images[:600], train_labels=labels[:600],
             test_images=images[600:700], test_labels=labels[600:700])  # fmt: skip


def write_masks(data: Path) -> None:
    """Bright squares on a dark ground, as examples/data/membranes.py writes images and masks."""
    masks = np.kron(np.random.default_rng(0).integers(0, 2, (8, 8, 8)), np.ones((32, 32))).astype(np.uint8)
    np.savez(data / "membranes.npz", train_images=masks[:6] * 200, train_masks=masks[:6],
             test_images=masks[6:] * 200, test_masks=masks[6:])  # fmt: skip


def write_boxes(data: Path) -> None:
    """A bright square in each image, as examples/data/blood_cells.py writes images and boxes."""
    (data / "cells" / "images").mkdir(parents=True)
    for part, count in (("train", 12), ("test", 2)):
        images, boxes = [], []
        for number in range(count):
            pixels = np.zeros((120, 160), dtype=np.uint8)
            pixels[20:60, 30 + number : 70 + number] = 200
            Image.fromarray(pixels).save(data / "cells" / "images" / f"{part}{number}.png")
            images.append({"id": number, "file_name": f"{part}{number}.png", "width": 160, "height": 120})
            boxes.append({"image_id": number, "category_id": 1, "bbox": [30 + number, 20, 40, 40]})
        content = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "square"}]}
        (data / "cells" / f"{part}.json").write_text(json.dumps(content))


def write_photographs(data: Path) -> None:
    """Squares of colours, as examples/data/cifar10.py writes photographs."""
    labels = np.arange(200) % 10
    images = np.random.default_rng(0).integers(0, 100, (200, 32, 32, 3)) + 15 * labels[:, None, None, None]
    np.savez(data / "cifar10.npz", train_images=images[:160].astype(np.uint8), train_labels=labels[:160],
             test_images=images[160:].astype(np.uint8), test_labels=labels[160:])  # fmt: skip


DATA = {
    "detection": write_boxes,
    "mobile": write_photographs,
    "multimodal": lambda data: write(data / "easy_vqa"),
    "npz-volume": write_images,
    "segmentation": write_masks,
    "speech": lambda data: [write_tones(data / part, count) for part, count in (("train", 30), ("test", 4))],
    "text": lambda data: [write_texts(data / f"{part}.csv", count) for part, count in (("train", 30), ("test", 4))],
}


def run_to_its_end(name: str, folder: Path, *said: str) -> None:
    """Run an example with little to do, below a folder, and hold what everybody expects of its result.

    said: files that must be beside the result.
    """
    data = folder / "data"
    data.mkdir()
    if name in DATA:
        DATA[name](data)
    options = ["--volume", f"data={data}"] if name in DATA else []
    run_example(name, folder / "out", LITTLE[name], *options)
    status = json.loads((folder / "out" / "result.json").read_text())
    assert status["stage"] == "Done"
    assert {item["type"]: item["status"] for item in status["conditions"]}["Succeeded"] == "True"
    assert status["best"]["genotype"]
    assert status["hardware"][0]["latencyMs"]["p50"] > 0
    assert {name for name in said if not (folder / "out" / name).exists()} == set()
