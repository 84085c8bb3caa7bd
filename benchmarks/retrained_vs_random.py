"""Is what a differentiable search derives better than chance? Its cell against random cells, all trained equally.

Every cell gets the spec's final network, recipe, epochs and data, and the same seeds. The test images decide, and are
read once for each trained network. Random cells are drawn uniformly from the same space. This is no operator run: the
search runs here, as a trial of work Supernet would, unless `--result` names the result of one that has run.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, median, stdev, variance

import numpy as np
import torch

from archsearch.api.load import InvalidSpec, read_search
from archsearch.api.search import ArchitectureSearchSpec
from archsearch.evaluation import Trainer, derive, evaluate
from archsearch.hardware import count
from archsearch.networks import Mix, SpaceNetwork, network, supernet
from archsearch.planning.defaults import resolve
from archsearch.planning.pipeline import derive_seed
from archsearch.spaces import Architecture, Space, space_of
from archsearch.supernets.search import differentiable_search, network_options
from archsearch.supernets.shared import worth
from archsearch.tasks import TaskData, load


@dataclass(frozen=True)
class Trained:
    """A cell and the test accuracies that its final network reached, one for each seed."""

    name: str
    architecture: str
    parameters: int
    accuracies: tuple[float, ...]
    seconds: float

    @property
    def mean(self) -> float:
        """The mean test accuracy."""
        return fmean(self.accuracies)

    @property
    def std(self) -> float:
        """The deviation over seeds; 0 where there is one."""
        return stdev(self.accuracies) if len(self.accuracies) > 1 else 0.0


@dataclass(frozen=True)
class Spread:
    """The components of the random cells' variance, as deviations (one-way analysis of variance, random effects).

    cells: of what a cell is worth, which is all that a search can find; seeds: of one cell over its trainings;
    error: of a cell's mean over them.
    """

    cells: float
    seeds: float
    error: float


@dataclass(frozen=True)
class Comparison:
    """Derived cells and random cells. rank: of each derived cell among itself and the random ones, 1 is the best."""

    derived: tuple[Trained, ...]
    random: tuple[Trained, ...]

    @property
    def median(self) -> float:
        """The median of the random cells' means."""
        return median(cell.mean for cell in self.random)

    def rank(self, cell: Trained) -> int:
        """1 where no random cell did better."""
        return 1 + sum(other.mean > cell.mean for other in self.random)

    def spread(self) -> Spread | None:
        """How much the random cells differ, and how well that can be seen; None with one cell or one seed."""
        seeds = len(self.random[0].accuracies)
        if len(self.random) < 2 or seeds < 2:
            return None
        within = fmean(cell.std**2 for cell in self.random)
        between = variance(cell.mean for cell in self.random) - within / seeds
        return Spread(cells=max(0.0, between) ** 0.5, seeds=within**0.5, error=(within / seeds) ** 0.5)


def search(spec: ArchitectureSearchSpec, space: Space, data: TaskData, seed: int) -> tuple[Architecture, float]:
    """The cell that the spec's search derives from a seed, as its first trial would, and the seconds that it took."""
    settings = spec.algorithm.differentiable if spec.algorithm else None
    if settings is None:
        raise ValueError("spec.algorithm must be differentiable, or --result must name the result of another search")

    def build(of: Space, own: int) -> SpaceNetwork:
        torch.manual_seed(derive(own))
        return supernet(of, signature=data.signature, **network_options(settings))

    def judge(shared: SpaceNetwork, mix: Mix) -> tuple[float, ...]:
        return worth(shared, mix, data, data.selection)

    training = differentiable_search(
        space, data, settings, build=build, judge=judge, seed=derive_seed(seed, "Supernet", 0)
    )
    start = time.perf_counter()
    while training.epoch < training.epochs:
        report = training.run_epoch(lambda: False)
        assert report is not None
        say(f"search seed {seed} epoch {report.epoch}: loss {report.loss:.3f}")
    return training.architecture(), time.perf_counter() - start


def retrain(
    spec: ArchitectureSearchSpec, space: Space, data: TaskData, name: str, cell: Architecture, seeds: int
) -> Trained:
    """Train a cell's final network from scratch from the first `seeds` seeds of the spec's retraining."""
    accuracies, parameters, start = [], 0, time.perf_counter()
    for number in range(seeds):
        seed = derive_seed(spec.seed, "Retrain", number)
        torch.manual_seed(derive(seed))
        built = network(space, cell, stack="final", signature=data.signature)
        parameters, _ = count(built, data.raw(data.test.first(1)))
        training = Trainer(built, data, spec.task.training, epochs=spec.retrain.epochs, seed=seed)
        while training.epoch < training.epochs:
            training.run_epoch(lambda: False)
        accuracies.append(evaluate(built, data, data.test)["accuracy"])
    trained = Trained(name, cell.json(), parameters, tuple(accuracies), time.perf_counter() - start)
    say(f"{name}: {trained.mean:.4f} +- {trained.std:.4f}, {parameters} parameters, {trained.seconds:.0f} s")
    return trained


def found(result: Path, space: Space) -> Architecture:
    """The best architecture of a finished search: of a resource, or the result.json of `archsearch run`."""
    document = json.loads(result.read_text(encoding="utf-8"))
    try:
        return space.architecture(document.get("status", document)["best"]["genotype"])
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{result}: must hold status.best.genotype, but has none ({error})") from None


def random_cells(space: Space, number: int, seed: int, without: set[Architecture]) -> list[Architecture]:
    """Different cells, drawn uniformly, none of those in `without`."""
    rng = np.random.default_rng(seed)
    cells: dict[Architecture, None] = {}
    while len(cells) < number:
        cell = space.sample(rng)
        if cell not in without:
            cells[cell] = None
    return list(cells)


def say(text: str) -> None:
    """Progress, apart from the result."""
    sys.stderr.write(text + "\n")


def table(comparison: Comparison) -> str:
    """The comparison as text."""
    lines = [f"{'cell':<16}{'test accuracy':>20}{'parameters':>12}"]
    lines += [
        f"{cell.name:<16}{f'{cell.mean:.4f} +- {cell.std:.4f}':>20}{cell.parameters:>12,}"
        for cell in sorted((*comparison.derived, *comparison.random), key=lambda cell: -cell.mean)
    ]
    sizes = median(cell.parameters for cell in comparison.random)
    lines.append(f"{'random, median':<16}{f'{comparison.median:.4f}':>20}{sizes:>12,.0f}")
    lines += [
        f"{cell.name}: {cell.mean - comparison.median:+.4f} against the median of {len(comparison.random)} random "
        f"cells, rank {comparison.rank(cell)} of {len(comparison.random) + 1}"
        for cell in comparison.derived
    ]
    if spread := comparison.spread():
        lines.append(
            f"random cells differ by a deviation of {spread.cells:.4f}; one cell's trainings by {spread.seeds:.4f}, "
            f"its mean by {spread.error:.4f}"
        )
    return "\n".join(lines)


def main() -> int:
    """0 where every derived cell is at least the random median; 1 where one is not; 2 for input that is wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.retrained_vs_random", description=__doc__)
    parser.add_argument("--spec", type=Path, required=True, help="a search, such as examples/darts-digits.yaml")
    parser.add_argument("--result", type=Path, help="result of a finished search: do not search here")
    parser.add_argument("--data", type=Path, help="where the spec's data volume is mounted")
    parser.add_argument("--random", type=int, default=8, help="random cells (default 8)")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each cell (default 3)")
    parser.add_argument("--searches", type=int, default=1, help="searches, from the spec's seed and those after it")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args()
    try:
        if min(arguments.random, arguments.seeds, arguments.searches) < 1:
            raise ValueError("--random, --seeds and --searches must be at least 1")
        spec = resolve(read_search(arguments.spec)[1], "")
        assert spec.space is not None
        space, data = space_of(spec.space), load(spec.task, arguments.data)
        if arguments.result:
            derived = {"derived": found(arguments.result, space)}
        else:
            seeds = range(spec.seed, spec.seed + arguments.searches)
            derived = {f"derived, seed {seed}": search(spec, space, data, seed)[0] for seed in seeds}
    except (InvalidSpec, OSError, ValueError) as error:
        say(str(error))
        return 2
    cells = random_cells(space, arguments.random, spec.seed, set(derived.values()))
    comparison = Comparison(
        tuple(retrain(spec, space, data, name, cell, arguments.seeds) for name, cell in derived.items()),
        tuple(retrain(spec, space, data, f"random {n}", cell, arguments.seeds) for n, cell in enumerate(cells)),
    )
    if arguments.json:
        document = {
            "derived": [
                asdict(cell) | {"mean": cell.mean, "std": cell.std, "rank": comparison.rank(cell)}
                for cell in comparison.derived
            ],
            "random": [asdict(cell) | {"mean": cell.mean, "std": cell.std} for cell in comparison.random],
            "randomMedian": comparison.median,
            "spread": asdict(spread) if (spread := comparison.spread()) else None,
            "threads": torch.get_num_threads(),
        }
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    else:
        sys.stdout.write(table(comparison) + "\n")
    return 0 if all(cell.mean >= comparison.median for cell in comparison.derived) else 1


if __name__ == "__main__":
    sys.exit(main())
