"""How well weights that a supernet shares rank cells of NAS-Bench-201, beside what training each from scratch says.

    python -m benchmarks.shared_weights_rank --data digits|cifar10_jpeg_train.npz [--table cifar10.csv.gz] [--json]

Trains one supernet a seed, one path at a time, and evaluates random cells with its weights on the selection images:
with the supernet's own BatchNorm statistics, and with statistics of the cell's own. Trains the first of these cells
from scratch in the same stack, once a seed, and evaluates them on the test images. Prints Kendall's tau between the
two, means over the seeds of the supernet, with the interval that holds 95 % of 1,000 draws of the cells with
replacement; with a table of NAS-Bench-201 also that with the published test accuracy, over all cells. The parameter
count is the baseline.

data: digits, or a .npz with `blob`, all JPEG files one after the other, `lens`, their lengths in bytes, and `label`; of
its images the first --images are used, averaged to half their height and width.
"""

from __future__ import annotations

import argparse
import io
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from archsearch.api import NasBench201
from archsearch.api import Space as SpaceSpec
from archsearch.api.task import Task, Training
from archsearch.evaluation import Trainer, evaluate
from archsearch.evaluation.shared import evaluate_shared
from archsearch.hardware.count import count
from archsearch.networks import SpaceNetwork, network, supernet
from archsearch.spaces import Architecture, Space, space_of
from archsearch.spaces.nasbench201 import from_string
from archsearch.supernets.one_path import OnePath
from archsearch.tasks import TaskData, load
from benchmarks.zero_cost import Numbers, interval, kendall, read_table

HELD_OUT: Final = 5
"""One image in so many is for the test."""
CALIBRATION: Final = 1024
"""Images that a cell's own BatchNorm statistics are taken over."""


def read_images(source: str, images: int, augmentation: str) -> TaskData:
    """The images in their four parts, split as every trial does it."""
    if source == "digits":
        return _load({"builtin": "digits"}, augmentation, None)
    with np.load(source, allow_pickle=False) as arrays:
        blob, lengths, labels = arrays["blob"], arrays["lens"], arrays["label"]
    ends = np.cumsum(lengths.astype(np.int64))
    chosen = np.random.default_rng(0).permutation(len(lengths))[:images]

    def pixels(index: int) -> NDArray[np.uint8]:
        image = Image.open(io.BytesIO(blob[ends[index] - lengths[index] : ends[index]].tobytes())).convert("RGB")
        return np.asarray(image.reduce(2))

    read, test = np.stack([pixels(index) for index in chosen]), len(chosen) // HELD_OUT
    dataset = {"volume": {"claimName": "images", "path": "images.npz"}}
    with tempfile.TemporaryDirectory() as folder:
        np.savez(
            Path(folder) / "images.npz", train_images=read[test:], train_labels=labels[chosen[test:]].astype(np.int64),
            test_images=read[:test], test_labels=labels[chosen[:test]].astype(np.int64),
        )  # fmt: skip
        return _load(dataset, augmentation, Path(folder))


def _load(dataset: dict[str, Any], augmentation: str, folder: Path | None) -> TaskData:
    settings = {"dataset": dataset, "training": {"augmentation": augmentation}}
    return load(Task.model_validate({"imageClassification": settings}), folder)


def shared_accuracies(
    space: Space, data: TaskData, cells: Sequence[Architecture], chosen: argparse.Namespace, seed: int
) -> dict[str, Any]:
    """What a supernet's weights say of the cells: accuracies without and with statistics of their own, and seconds."""
    torch.manual_seed(seed)
    net = supernet(space, signature=data.signature)
    recipe = Training(batch_size=64, learning_rate="0.1", weight_decay="0.00004")
    passes = OnePath(space, net, data, chosen.sampling, seed=seed)
    training = Trainer(net, data, recipe, epochs=chosen.epochs, seed=seed, passes=passes)
    start = time.perf_counter()
    for _ in range(chosen.epochs):
        training.run_epoch(lambda: False)
    trained = time.perf_counter() - start
    net = cast("SpaceNetwork", training.network)
    # Before any of them takes the statistics anew, which leaves its own behind.
    raw = [evaluate(net, data, data.selection, mix=cell.values)["accuracy"] for cell in cells]
    start, calibration = time.perf_counter(), data.training.first(CALIBRATION)
    own = [
        evaluate_shared(net, cell, data, calibration=calibration, selection=data.selection)["accuracy"]
        for cell in cells
    ]
    each = (time.perf_counter() - start) / len(cells)
    return {"raw": np.array(raw), "own": np.array(own), "training_seconds": trained, "seconds_a_cell": each}


def scratch_accuracy(space: Space, data: TaskData, cell: Architecture, chosen: argparse.Namespace, seed: int) -> float:
    """The test accuracy of a cell that is trained from scratch in the stack of the supernet."""
    torch.manual_seed(seed)
    net = network(space, cell, stack="search", signature=data.signature)
    recipe = Training(batch_size=64, learning_rate="0.1", weight_decay="0.0003")
    training = Trainer(net, data, recipe, epochs=chosen.scratch_epochs, seed=seed)
    for _ in range(chosen.scratch_epochs):
        training.run_epoch(lambda: False)
    return evaluate(training.network, data, data.test)["accuracy"]


def compare(estimates: Sequence[Numbers], truth: Numbers) -> dict[str, Any]:
    """Kendall's tau with the truth, the mean over the estimates, and its interval over draws of the cells."""

    def mean(at: NDArray[np.int64]) -> float:
        return float(np.mean([kendall(each[at], truth[at]) for each in estimates]))

    return {
        "kendall": mean(np.arange(len(truth))),
        "interval": interval(mean, len(truth)),
        "of_seeds": [kendall(each, truth) for each in estimates],
    }


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--table", type=Path)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--architectures", type=int, default=16, help="cells that are trained from scratch")
    parser.add_argument("--cells", type=int, default=100, help="cells that are evaluated with shared weights")
    parser.add_argument("--epochs", type=int, default=60, help="of the supernet")
    parser.add_argument("--scratch-epochs", type=int, default=12)
    parser.add_argument("--channels", type=int, default=8)
    parser.add_argument("--sampling", choices=("Uniform", "Fair"), default="Uniform")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    chosen.augmentation = "None" if chosen.data == "digits" else "ShiftFlip"
    size = {"channels": chosen.channels, "cells": 1}
    space = space_of(SpaceSpec(nas_bench201=NasBench201.model_validate({"search": size, "final": size})))
    data, rng = read_images(chosen.data, chosen.images, chosen.augmentation), np.random.default_rng(0)
    if chosen.table:
        table = read_table(chosen.table)
        drawn = [table[at] for at in rng.permutation(len(table))[: chosen.cells]]
        cells, published = [from_string(space, cell) for cell, _ in drawn], np.array([value for _, value in drawn])
    else:
        cells, published = [space.sample(rng) for _ in range(chosen.cells)], None
    some = slice(chosen.architectures)
    runs = [shared_accuracies(space, data, cells, chosen, seed) for seed in range(chosen.seeds)]
    start = time.perf_counter()
    trained = np.array(
        [[scratch_accuracy(space, data, cell, chosen, s) for cell in cells[some]] for s in range(chosen.seeds)]
    )
    per_training = (time.perf_counter() - start) / trained.size
    scratch = trained.mean(axis=0)
    parameters = np.array([_parameters(space, data, cell) for cell in cells])

    def against(truth: Numbers, at: slice) -> dict[str, Any]:
        estimates: dict[str, Callable[[], list[Numbers]]] = {
            "shared weights, own statistics": lambda: [run["own"][at] for run in runs],
            "shared weights, supernet's statistics": lambda: [run["raw"][at] for run in runs],
            "parameters": lambda: [parameters[at]],
        }
        return {name: compare(values(), truth) for name, values in estimates.items()}

    found = {
        "accuracy_own_statistics": float(np.mean([run["own"] for run in runs])),
        "accuracy_supernet_statistics": float(np.mean([run["raw"] for run in runs])),
        "accuracy_from_scratch": float(scratch.mean()),
        "supernet_seconds": float(np.mean([run["training_seconds"] for run in runs])),
        "seconds_a_cell": float(np.mean([run["seconds_a_cell"] for run in runs])),
        "seconds_a_training": per_training,
        "with_training_from_scratch": against(scratch, some),
        "seeds_of_training_from_scratch": kendall(*trained[:2]) if chosen.seeds > 1 else None,
        "with_published": None if published is None else against(published, slice(None)),
        "scratch_with_published": None if published is None else compare([scratch], published[some]),
    }
    print(json.dumps(found, indent=1) if chosen.json else _text(found, chosen))


def _parameters(space: Space, data: TaskData, cell: Architecture) -> float:
    net = network(space, cell, stack="search", signature=data.signature)
    return float(count(net, data.test.inputs)[0])


def _text(found: dict[str, Any], chosen: argparse.Namespace) -> str:
    lines = [
        f"accuracy with shared weights and the supernet's statistics: {found['accuracy_supernet_statistics']:.3f}",
        f"accuracy with shared weights and statistics of the cell: {found['accuracy_own_statistics']:.3f}",
        f"accuracy from scratch: {found['accuracy_from_scratch']:.3f}",
        f"seconds for a supernet: {found['supernet_seconds']:.0f}",
        f"seconds for a cell in it: {found['seconds_a_cell']:.2f}",
        f"seconds for a training from scratch: {found['seconds_a_training']:.1f}",
    ]
    if found["seeds_of_training_from_scratch"] is not None:
        lines.append(f"tau of two seeds of training from scratch: {found['seeds_of_training_from_scratch']:.3f}")
    sections = [("with_training_from_scratch", f"training from scratch, {chosen.architectures} cells")]
    if found["with_published"] is not None:
        sections.append(("with_published", f"published accuracies, {chosen.cells} cells"))
    for key, title in sections:
        lines.append(f"Kendall's tau with {title}")
        lines += [_tau(name, one) for name, one in found[key].items()]
    if found["scratch_with_published"] is not None:
        lines.append(_tau(f"from scratch, {chosen.architectures} cells", found["scratch_with_published"]))
    return "\n".join(lines)


def _tau(name: str, one: dict[str, Any]) -> str:
    low, high = one["interval"]
    return f"  {name:38} {one['kendall']:6.3f} ({low:.3f} to {high:.3f})"


if __name__ == "__main__":
    main()
