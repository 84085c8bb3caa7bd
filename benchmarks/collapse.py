"""Does a differentiable search end with skip connections only? On the cell of NAS-Bench-201, with real images.

    python -m benchmarks.collapse --data ../shared/data --methods DARTS,BetaDARTS --seeds 3 [--json]

Runs each method, of first order, on a small supernet (8 channels, 1 cell a stage) and images of 16x16: 1,000 for
either kind of weights, of the 3,125 that are split as every trial does. Prints how many of the six edges of the
derived cell are skip connections as the epochs go by, how undecided the edges are, and what the last cell reaches in
the table, on the test images after 200 epochs of training. Six skip connections have no weights and reach 54.30 %.

data: a folder with `images/cifar10_jpeg_train.npz` (`blob`, all JPEG files one after the other, `lens`, their lengths
in bytes, and `label`) and, for the accuracies, `nasbench201/cifar10.csv.gz` (`architecture`, `test_accuracy_200`).

The architecture weights move by 0.01 a step where papers have 0.0003, because there are 1,500 steps where papers have
about 39,000; everything else is as the method fills it in.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, stdev

import torch

from archsearch.api import NasBench201
from archsearch.api import Space as SpaceSpec
from archsearch.api.differentiable import Differentiable
from archsearch.evaluation import derive
from archsearch.networks import Mix, SpaceNetwork, supernet
from archsearch.networks.operations import SKIP
from archsearch.spaces import Architecture, Space, space_of
from archsearch.spaces.nasbench201 import to_string
from archsearch.supernets.search import differentiable_search, network_options
from archsearch.supernets.shared import worth
from archsearch.tasks import TaskData
from benchmarks.shared_weights_rank import read_images


@dataclass(frozen=True)
class Epoch:
    """What a search stands for after an epoch."""

    epoch: int
    skips: int  # of the six edges
    entropy: float  # of the mixing weights of an edge, in nats; 1.609 where undecided
    loss: float


@dataclass(frozen=True)
class Run:
    """One search. accuracy: that of its cell in the table, in percent; None without a table."""

    method: str
    seed: int
    epochs: tuple[Epoch, ...]
    cell: str
    accuracy: float | None
    seconds: float


def read_table(path: Path) -> dict[str, float]:
    """Test accuracies by the cells' own notation; empty where there is no such file."""
    if not path.exists():
        return {}
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return {row["architecture"]: float(row["test_accuracy_200"]) for row in csv.DictReader(file)}


def space_with(channels: int, cells: int) -> Space:
    """The space with a supernet of this size."""
    return space_of(
        SpaceSpec(nas_bench201=NasBench201.model_validate({"search": {"channels": channels, "cells": cells}}))
    )


def epochs_of(
    space: Space, data: TaskData, settings: Differentiable, seed: int
) -> Iterator[tuple[Epoch, Architecture]]:
    """A search, epoch by epoch."""

    def build(of: Space, own: int) -> SpaceNetwork:
        torch.manual_seed(derive(own))
        return supernet(of, signature=data.signature, **network_options(settings))

    def judge(network: SpaceNetwork, mix: Mix) -> tuple[float, ...]:
        return worth(network, mix, data, data.selection)

    search = differentiable_search(space, data, settings, build=build, judge=judge, seed=seed)
    while search.epoch < search.epochs:
        report = search.run_epoch(lambda: False)
        assert report is not None
        cell = search.architecture()
        skips = sum(value == SKIP for value in cell.values.values())
        yield Epoch(report.epoch, skips, report.entropy, report.loss), cell


def run(method: str, seed: int, data: TaskData, table: dict[str, float], arguments: argparse.Namespace) -> Run:
    """One search from a seed."""
    start, seen, cell = time.perf_counter(), [], None
    settings = Differentiable.model_validate(
        {
            "method": method, "order": "First", "epochs": arguments.epochs, "batch_size": 64,
            "architecture_learning_rate": arguments.rate,
        }
    )  # fmt: skip
    space = space_with(arguments.channels, arguments.cells)
    for epoch, cell in epochs_of(space, data, settings, seed):  # noqa: B007 - the last one counts
        seen.append(epoch)
        if epoch.epoch % 10 == 0:
            sys.stderr.write(f"{method} seed {seed} epoch {epoch.epoch}: {epoch.skips} skips, loss {epoch.loss:.3f}\n")
    assert cell is not None
    text = to_string(cell)
    return Run(method, seed, tuple(seen), text, table.get(text), time.perf_counter() - start)


def report(runs: list[Run], every: int) -> str:
    """A line for each method, and its cells."""
    lines = []
    for method in dict.fromkeys(one.method for one in runs):
        own = [one for one in runs if one.method == method]
        last = min(len(one.epochs) for one in own)
        shown = sorted({*range(every, last + 1, every), last})
        skips = "  ".join(f"{epoch}: {fmean(one.epochs[epoch - 1].skips for one in own):.1f}" for epoch in shown)
        entropy = fmean(one.epochs[-1].entropy for one in own)
        lines.append(f"{method}: skips of 6 by epoch, mean of {len(own)} seeds: {skips}")
        lines.append(f"  entropy of an edge at the end: {entropy:.3f} nats")
        if known := [one.accuracy for one in own if one.accuracy is not None]:
            spread = stdev(known) if len(known) > 1 else 0.0
            lines.append(f"  test accuracy in the table: {fmean(known):.2f} +- {spread:.2f}")
        lines += [f"  seed {one.seed}: {one.cell} {one.accuracy or '':} ({one.seconds:.0f} s)" for one in own]
    return "\n".join(lines)


def main() -> int:
    """0 where every method has run; what it comes to is printed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.collapse", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with images/ and nasbench201/")
    parser.add_argument("--methods", default="DARTS,BetaDARTS", help="names of methods, with commas")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--rate", default="0.01", help="learning rate of the architecture weights")
    parser.add_argument("--images", type=int, default=3125)
    parser.add_argument("--channels", type=int, default=8)
    parser.add_argument("--cells", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print all epochs of all runs")
    arguments = parser.parse_args()
    data = read_images(str(arguments.data / "images" / "cifar10_jpeg_train.npz"), arguments.images, "ShiftFlip")
    table = read_table(arguments.data / "nasbench201" / "cifar10.csv.gz")
    runs = [
        run(method, seed, data, table, arguments)
        for method in arguments.methods.split(",")
        for seed in range(arguments.seeds)
    ]
    print(json.dumps([asdict(one) for one in runs]) if arguments.json else report(runs, every=10))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
