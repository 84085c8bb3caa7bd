"""Every example is a search that runs to its end, here with little training and few trials."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from local_runs import REPOSITORY, run_example
from scipy.io import wavfile
from sklearn.datasets import load_digits

EXAMPLES = REPOSITORY / "examples"
SUPERNET = ("algorithm.differentiable.epochs=1", "retrain.seeds=1", "retrain.epochs=1")
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
    "auto-deeplab": SUPERNET,
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
    "beta-darts": SUPERNET,
    "darts-first-order": SUPERNET,
    "fbnet": SUPERNET,
    "gdas": SUPERNET,
    "one-shot": (
        "evaluation.sharedWeights.epochs=1",
        "evaluation.sharedWeights.architecturesPerTrial=3",
        "budget={maxTrials: 2, parallelTrials: 2}",
        "retrain={seeds: 1, epochs: 1}",
    ),
    "pc-darts": SUPERNET,
    "proxylessnas": SUPERNET,
    "proxylessnas-reinforce": SUPERNET,
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
        "export.format=None",
    ),
    "text": (*SUPERNET, "export.format=None"),
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


def test_no_example_is_left_out():
    assert set(LITTLE) == {path.stem for path in EXAMPLES.glob("*.yaml")}


@pytest.mark.parametrize("name", sorted(LITTLE))
@pytest.mark.timeout(300)
def test_an_example_runs_to_its_end(name: str, tmp_path: Path):
    images, labels = load_digits(return_X_y=True)
    images = (images.reshape(-1, 8, 8) * 15).astype(np.uint8)
    data = tmp_path / "data"
    data.mkdir()
    np.savez(data / "images.npz", train_images=images[:600], train_labels=labels[:600],
             test_images=images[600:700], test_labels=labels[600:700])  # fmt: skip
    for part, count in (("train", 30), ("test", 4)):
        write_texts(data / f"{part}.csv", count)
        write_tones(data / part, count)
    options = ["--volume", f"data={data}"] if name in ("npz-volume", "speech", "text") else []
    run_example(name, tmp_path / "out", LITTLE[name], *options)
    status = json.loads((tmp_path / "out" / "result.json").read_text())
    assert status["stage"] == "Done"
    assert {item["type"]: item["status"] for item in status["conditions"]}["Succeeded"] == "True"
    assert status["best"]["genotype"]
    assert status["hardware"][0]["latencyMs"]["p50"] > 0
