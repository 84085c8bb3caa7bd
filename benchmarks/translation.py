"""Does a search for a Transformer find a better one than chance, or than somebody who takes the largest of everything?

The network that a search has found, the fixed one and random ones get the spec's final size, recipe, epochs, data and
seeds. The test pairs decide, and are read once for each trained network.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from statistics import fmean, median, stdev

import torch

from archsearch.api.load import InvalidSpec, read_search
from archsearch.api.search import ArchitectureSearchSpec
from archsearch.evaluation import Trainer, derive, evaluate
from archsearch.hardware import count
from archsearch.networks import network
from archsearch.planning.defaults import resolve
from archsearch.planning.pipeline import derive_seed
from archsearch.spaces import Architecture, Space, space_of
from archsearch.tasks import TaskData, load
from benchmarks.retrained_vs_random import found, random_cells, say

METRICS = ("bleu", "exactMatch", "tokenAccuracy")


def largest(space: Space) -> Architecture:
    """The largest option of every choice: the whole Transformer."""
    return space.architecture({choice.name: choice.options[-1] for choice in space.choices})


def trained(
    spec: ArchitectureSearchSpec, space: Space, data: TaskData, name: str, architecture: Architecture, seeds: int
) -> dict[str, float]:
    """The means over seeds of what the final network reaches on the test, and their deviations (`bleu/std`)."""
    results, parameters = [], 0
    for number in range(seeds):
        seed = derive_seed(spec.seed, "Retrain", number)
        torch.manual_seed(derive(seed))
        built = network(space, architecture, stack="final", signature=data.signature)
        parameters, _ = count(built, data.test.first(1).inputs)
        training = Trainer(built, data, spec.task.training, epochs=spec.retrain.epochs, seed=seed)
        while training.epoch < training.epochs:
            training.run_epoch(lambda: False)
        results.append(evaluate(built, data, data.test))
        say(f"{name}, seed {number}: {', '.join(f'{metric} {results[-1][metric]:.4f}' for metric in METRICS)}")
    values = {metric: [result[metric] for result in results] for metric in METRICS}
    deviations = {f"{metric}/std": stdev(each) if seeds > 1 else 0.0 for metric, each in values.items()}
    return {**{metric: fmean(each) for metric, each in values.items()}, **deviations, "parameters": float(parameters)}


def row(name: str, values: dict[str, float]) -> str:
    """A line of the table."""
    cells = [f"{values[metric]:.4f} +- {values[f'{metric}/std']:.4f}" for metric in METRICS]
    return f"| {name} | {' | '.join(cells)} | {values['parameters']:,.0f} |"


def main() -> int:
    """0 once the table is printed, 2 for input that is wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.translation", description=__doc__)
    parser.add_argument("--spec", type=Path, default=Path("examples/translation.yaml"))
    parser.add_argument("--result", type=Path, required=True, help="result.json of a finished search")
    parser.add_argument("--random", type=int, default=5, help="random architectures (default 5)")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each architecture (default 3)")
    arguments = parser.parse_args()
    try:
        spec = resolve(read_search(arguments.spec)[1], "")
        assert spec.space is not None
        space, data = space_of(spec.space), load(spec.task, None)
        named = {"searched": found(arguments.result, space), "the largest": largest(space)}
    except (InvalidSpec, OSError, ValueError) as error:
        say(str(error))
        return 2
    drawn = random_cells(space, arguments.random, spec.seed, set(named.values()))
    named |= {f"random {number}": architecture for number, architecture in enumerate(drawn)}
    results = {name: trained(spec, space, data, name, each, arguments.seeds) for name, each in named.items()}
    sys.stdout.write(f"| architecture | {' | '.join(METRICS)} | parameters |\n|---|---|---|---|---|\n")
    for name, values in results.items():
        sys.stdout.write(row(name, values) + "\n")
    medians = [median(results[f"random {n}"][metric] for n in range(len(drawn))) for metric in (*METRICS, "parameters")]
    shares = [f"{value:.4f}" for value in medians[:-1]]
    sys.stdout.write(f"| random, median | {' | '.join(shares)} | {medians[-1]:,.0f} |\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
