"""How well scores at initialisation rank the cells of NAS-Bench-201, beside what parameters and FLOPs alone do.

    python -m benchmarks.zero_cost --table cifar10.csv.gz --data cifar10_jpeg_train.npz --cells 100 [--json]

Draws cells of the table, scores the network of each as large as while searching (16 channels, 5 cells a stage) with new
weights on two batches of CIFAR-10, and prints the rank correlation with `test_accuracy_200`: Spearman's and Kendall's,
each with the interval that holds 95 % of 1,000 draws of the cells with replacement. Below, Spearman's less that of the
parameter count on the same draws: a score is better than counting only where that interval is above zero.

data: a .npz with `blob`, all JPEG files one after the other, `lens`, their lengths in bytes, and `label`.
With --seeds every cell is scored anew with other weights and images, and correlations are means over the seeds.
With --write the scores of the first seed are written as a table too, for benchmarks.query_efficiency.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from archsearch.api import NasBench201
from archsearch.api import Space as SpaceSpec
from archsearch.api.evaluation import ScoreName
from archsearch.api.signature import image_signature
from archsearch.evaluation.zero_cost import Batches, score
from archsearch.networks import network
from archsearch.spaces import Space, space_of
from archsearch.spaces.nasbench201 import from_string

Numbers = NDArray[np.float64]

SHAPE: Final = (3, 32, 32)
CLASSES: Final = 10
BATCHES: Final = 2
DRAWS: Final = 1000
MEAN, DEVIATION = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
"""Of CIFAR-10's training images, by channel."""


def ranks(values: Numbers) -> Numbers:
    """Ranks from 0; equal values share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts + 1) / 2)[inverse])


def spearman(first: Numbers, second: Numbers) -> float:
    """Rank correlation; 0 where all values of one are equal."""
    a, b = (ranks(values) - (len(values) - 1) / 2 for values in (first, second))
    scale = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / scale) if scale else 0.0


def kendall(first: Numbers, second: Numbers) -> float:
    """Kendall's tau-b: pairs in the same order less pairs in the opposite, of the pairs that are not equal."""
    a, b = (np.sign(values[:, None] - values) for values in (first, second))
    scale = np.sqrt((a**2).sum() * (b**2).sum())
    return float((a * b).sum() / scale) if scale else 0.0


def read_table(file: Path) -> list[tuple[str, float]]:
    """The cells in the notation of NAS-Bench-201, and their test accuracies in percent."""
    with gzip.open(file, "rt", newline="") if file.suffix == ".gz" else file.open(newline="") as stream:
        return [(line["architecture"], float(line["test_accuracy_200"])) for line in csv.DictReader(stream)]


def read_batches(file: Path, size: int, seed: int) -> list[tuple[Tensor, Tensor]]:
    """Batches of normalised images (B, 3, 32, 32) and labels, drawn without replacement."""
    with np.load(file, allow_pickle=False) as arrays:
        blob, lengths, labels = arrays["blob"], arrays["lens"], arrays["label"]
    ends = np.cumsum(lengths.astype(np.int64))
    chosen = np.random.default_rng(seed).permutation(len(lengths))[: BATCHES * size].reshape(BATCHES, size)
    mean, deviation = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, DEVIATION))

    def pixels(index: int) -> NDArray[np.uint8]:
        file = io.BytesIO(blob[ends[index] - lengths[index] : ends[index]].tobytes())
        return np.asarray(Image.open(file).convert("RGB"))

    found = []
    for indices in chosen:
        images = torch.from_numpy(np.stack([pixels(index) for index in indices])).permute(0, 3, 1, 2).float() / 255
        found.append(((images - mean) / deviation, torch.from_numpy(labels[indices].astype(np.int64))))
    return found


def scores_of(
    space: Space, cells: Sequence[str], names: Sequence[ScoreName], batches: Batches, seed: int
) -> tuple[dict[ScoreName, Numbers], dict[ScoreName, float]]:
    """By score, the scores of the cells, and the seconds that one took."""
    values: dict[ScoreName, Numbers] = {name: np.zeros(len(cells)) for name in names}
    seconds: dict[ScoreName, float] = dict.fromkeys(names, 0.0)
    for at, cell in enumerate(cells):
        torch.manual_seed(1000 * seed + at)
        built = network(space, from_string(space, cell), stack="search", signature=image_signature(SHAPE, CLASSES))
        for name in names:
            start = time.perf_counter()
            values[name][at] = score(name, built, batches)
            seconds[name] += (time.perf_counter() - start) / len(cells)
    return values, seconds


def write_scores(file: Path, cells: Sequence[str], values: Mapping[ScoreName, Numbers]) -> None:
    """A table of the cells and their scores, a column each."""
    with gzip.open(file, "wt", newline="") if file.suffix == ".gz" else file.open("w", newline="") as stream:
        lines = csv.writer(stream, lineterminator="\n")
        lines.writerow(["architecture", *values])
        lines.writerows([cell, *(f"{values[name][at]:.6g}" for name in values)] for at, cell in enumerate(cells))


def interval(statistic: Callable[[NDArray[np.int64]], float], cells: int) -> tuple[float, float]:
    """What holds 95 % of the statistic's values over draws of so many cells with replacement."""
    rng = np.random.default_rng(0)
    low, high = np.percentile([statistic(rng.integers(cells, size=cells)) for _ in range(DRAWS)], (2.5, 97.5))
    return float(low), float(high)


def compare(values: Sequence[Numbers], baseline: Sequence[Numbers], accuracy: Numbers) -> dict[str, Any]:
    """Correlations of one score with the accuracy, means over the seeds, and how much better than the baseline."""
    cells = np.arange(len(accuracy))

    def mean(correlation: Callable[[Numbers, Numbers], float], of: Sequence[Numbers], at: NDArray[np.int64]) -> float:
        return float(np.mean([correlation(each[at], accuracy[at]) for each in of]))

    def gain(at: NDArray[np.int64]) -> float:
        return mean(spearman, values, at) - mean(spearman, baseline, at)

    return {
        "spearman": mean(spearman, values, cells),
        "spearman_interval": interval(lambda at: mean(spearman, values, at), len(cells)),
        "spearman_of_seeds": [spearman(each, accuracy) for each in values],
        "kendall": mean(kendall, values, cells),
        "kendall_interval": interval(lambda at: mean(kendall, values, at), len(cells)),
        "gain_over_parameters": gain(cells),
        "gain_interval": interval(gain, len(cells)),
        "test_accuracy_of_best": float(np.mean([accuracy[each.argmax()] for each in values])),
    }


def main() -> None:
    """The command."""
    names: tuple[ScoreName, ...] = get_args(ScoreName)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cells", type=int, default=200)
    parser.add_argument("--scores", nargs="+", choices=names, default=names)
    parser.add_argument("--batch", type=int, default=64, help="images in each of the two batches")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--write", type=Path, help="a table of the cells and their scores, .csv or .csv.gz")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    space = space_of(SpaceSpec(nas_bench201=NasBench201()))
    table = read_table(chosen.table)
    drawn = np.random.default_rng(0).permutation(len(table))[: chosen.cells]
    cells, accuracy = [table[at][0] for at in drawn], np.array([table[at][1] for at in drawn])
    scored = tuple(dict.fromkeys((*chosen.scores, "parameters")))
    runs = [
        scores_of(space, cells, scored, read_batches(chosen.data, chosen.batch, seed), seed)
        for seed in range(chosen.seeds)
    ]
    if chosen.write is not None:
        write_scores(chosen.write, cells, runs[0][0])
    baseline = [values["parameters"] for values, _ in runs]
    found = {
        name: compare([values[name] for values, _ in runs], baseline, accuracy)
        | {"seconds": float(np.mean([seconds[name] for _, seconds in runs]))}
        for name in scored
    }
    best = float(accuracy.max())
    if chosen.json:
        said = {"cells": len(cells), "batch": chosen.batch, "seeds": chosen.seeds, "best_test_accuracy": best}
        print(json.dumps(said | {"scores": found}, indent=1))
        return
    print(f"{len(cells)} cells, {chosen.seeds} seeds; the best of them has a test accuracy of {best:.2f} %")
    print(f"{'score':11} {'Spearman':>22} {'Kendall':>22} {'less parameters':>23} {'test of best':>13} {'seconds':>8}")
    for name, one in sorted(found.items(), key=lambda item: -item[1]["spearman"]):
        columns = [
            f"{one[key]:.3f} ({one[bounds][0]:.3f} to {one[bounds][1]:.3f})"
            for key, bounds in (
                ("spearman", "spearman_interval"),
                ("kendall", "kendall_interval"),
                ("gain_over_parameters", "gain_interval"),
            )
        ]
        print(f"{name:11}", *(f"{text:>23}" for text in columns), f"{one['test_accuracy_of_best']:12.2f}",
              f"{one['seconds']:8.3f}")  # fmt: skip


if __name__ == "__main__":
    main()
