"""How many trainings a searcher needs to find the best architecture of a tabulated space.

    python -m benchmarks.query_efficiency --table cifar10.csv.gz --searcher default --seeds 50 [--workers 8] [--json]

The table has the columns of NAS-Bench-201: `architecture`, `validation_accuracy_200` and `validation_accuracy_12`,
`test_accuracy_200`, `train_seconds_200`. Searchers are told validation accuracies; the test accuracy of the cell that
is best by validation is only reported. A cost of 1 is one full training, a training of 12 of 200 epochs costs 0.06.
The target is the cell with the best validation accuracy after full training; a run that does not train it within the
budget counts as the budget.

With --workers the trainings run side by side, each for the seconds of the table, and a worker that is free is given
the next proposal at once; wall clock is counted in mean full trainings. What is under way when the target is found
costs nothing: only trainings that have ended are counted.

With --seconds a run ends after so many simulated seconds of training, one after the other, and the 12-epoch accuracy
is told, as in the comparison of Dong and Yang (2020, table 5).

With --zero-cost, a table of cells and their scores (`benchmarks.zero_cost --write`), a searcher is also told the
scores of --pool of these cells, drawn anew for each seed.

Ends with 0, or with 2 and one line for a table that is not there or not whole.
"""

from __future__ import annotations

import argparse
import csv
import heapq
import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from archsearch.api import NasBench201
from archsearch.api import Space as SpaceSpec
from archsearch.searchers import (
    Evidence,
    GaussianProcess,
    LocalSearch,
    Proposal,
    Random,
    RegularizedEvolution,
    Result,
    Searcher,
    Untrained,
)
from archsearch.spaces import Space, space_of
from benchmarks import nasbench201

FULL, SHORT = 200, 12
LOW: Final = SHORT / FULL
COSTS: Final = (5, 10, 20, 40, 100, 200)

SEARCHERS: Final[dict[str, Callable[[Space, int], Searcher]]] = {
    "random": Random,
    "regularizedEvolution": lambda space, seed: RegularizedEvolution(space, seed, population=30, sample=10),
    "regularizedEvolution10": lambda space, seed: RegularizedEvolution(space, seed, population=10, sample=3),
    "localSearch": LocalSearch,
    "gaussianProcess": GaussianProcess,
    "default": lambda space, seed: GaussianProcess(space, seed, fidelities=(LOW, 1.0)),
}
"""`default` is what a search with many trials gets: the Gaussian process, with short trainings first."""


@dataclass(frozen=True)
class Row:
    """What the table has of one architecture; accuracies in percent, by fidelity."""

    validation: dict[float, float]
    test: float
    seconds: float


@dataclass(frozen=True)
class Table:
    """The rows by the id of the architecture."""

    space: Space
    rows: dict[str, Row]

    @property
    def mean_seconds(self) -> float:
        """Of a full training."""
        return statistics.fmean(row.seconds for row in self.rows.values())

    @property
    def best(self) -> str:
        """The architecture with the best validation accuracy after full training."""
        return max(self.rows, key=lambda key: self.rows[key].validation[1.0])


def read(file: Path, target: str) -> Table:
    """The table. target: the column that is told of a full training.

    Raises OSError where the file cannot be read, ValueError where a column, a number or an architecture is missing.
    """
    space = space_of(SpaceSpec(nas_bench201=NasBench201()))
    low, test, seconds = f"validation_accuracy_{SHORT}", f"test_accuracy_{FULL}", f"train_seconds_{FULL}"
    numbers = nasbench201.read(file, space, (low, target, test, seconds))
    return Table(
        space,
        {key: Row({LOW: row[low], 1.0: row[target]}, row[test], row[seconds]) for key, row in numbers.items()},
    )


@dataclass
class Run:
    """One search. cost: full trainings; wall: seconds on the clock."""

    table: Table
    target: str
    untrained: Sequence[Untrained] = ()
    results: list[Result] = field(default_factory=list)
    pending: list[Proposal] = field(default_factory=list)
    proposed: dict[str, float] = field(default_factory=dict)
    cost: float = 0.0
    wall: float = 0.0
    found_at: float | None = None
    found_wall: float | None = None
    best: float = -math.inf
    test_of_best: float = math.nan
    reported: dict[int, float] = field(default_factory=dict)

    def test_accuracy_at(self, cost: int) -> float:
        """What would be reported once so much is used; the last report where less was."""
        return self.reported.get(cost, self.test_of_best)

    def ask(self, searcher: Searcher) -> Proposal | None:
        """The next proposal, noted as pending."""
        index = len(self.results) + len(self.pending)
        proposal = searcher.ask(Evidence(index, self.results, list(self.pending), self.proposed, self.untrained))
        if proposal is not None:
            key = proposal.architecture.id
            assert self.proposed.get(key, 0.0) < proposal.fidelity
            self.pending.append(proposal)
            self.proposed[key] = proposal.fidelity
        return proposal

    def finish(self, proposal: Proposal, wall: float, *, timed: bool) -> None:
        """A training has ended."""
        row = self.table.rows[proposal.architecture.id]
        for cost in COSTS:
            if self.cost + proposal.fidelity > cost + 1e-9:
                self.reported.setdefault(cost, self.test_of_best)
        self.cost += proposal.fidelity
        self.wall = wall
        self.pending.remove(proposal)
        value = row.validation[proposal.fidelity]
        seconds = row.seconds * proposal.fidelity if timed else None
        self.results.append(Result(proposal, (value,), seconds=seconds))
        # The accuracy to report is of what was trained longest.
        rank = value + 1000 * proposal.fidelity
        if rank > self.best:
            self.best, self.test_of_best = rank, row.test
        if proposal.fidelity == 1 and proposal.architecture.id == self.target and self.found_at is None:
            self.found_at, self.found_wall = self.cost, wall


def sequential(
    table: Table, target: str, searcher: Searcher, budget: float, untrained: Sequence[Untrained] = ()
) -> Run:
    """One training after the other. Ends when the target is found."""
    run = Run(table, target, untrained)
    while run.found_at is None and run.cost < budget and (proposal := run.ask(searcher)) is not None:
        run.finish(proposal, run.wall + table.rows[proposal.architecture.id].seconds * proposal.fidelity, timed=False)
    return run


def asynchronous(
    table: Table, target: str, searcher: Searcher, budget: float, workers: int, untrained: Sequence[Untrained] = ()
) -> Run:
    """Every worker trains; whoever is free gets the next proposal. Ends when the target is found."""
    run = Run(table, target, untrained)
    ends: list[tuple[float, int, Proposal]] = []
    number, now = 0, 0.0
    while run.found_at is None and run.cost < budget:
        while len(ends) < workers and (proposal := run.ask(searcher)) is not None:
            row = table.rows[proposal.architecture.id]
            heapq.heappush(ends, (now + row.seconds * proposal.fidelity, number, proposal))
            number += 1
        if not ends:
            break
        now, _, proposal = heapq.heappop(ends)
        run.finish(proposal, now, timed=True)
    return run


def within_seconds(table: Table, searcher: Searcher, seconds: float) -> float:
    """Test accuracy of the best by 12-epoch validation after so many simulated seconds of 12-epoch trainings."""
    run, best = Run(table, ""), (-math.inf, math.nan)
    while (proposal := run.ask(searcher)) is not None:
        row = table.rows[proposal.architecture.id]
        run.wall += row.seconds * LOW
        if run.wall > seconds:
            break
        run.pending.remove(proposal)
        value = row.validation[LOW]
        run.results.append(Result(proposal, (value,)))
        best = max(best, (value, row.test))
    return best[1]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--searcher", choices=sorted(SEARCHERS), default="default")
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--budget", type=float, default=200.0, help="full trainings at which a run ends")
    parser.add_argument("--target", default=f"validation_accuracy_{FULL}", help="column told of full trainings")
    parser.add_argument("--seconds", type=float, help="end after simulated seconds instead, on 12-epoch accuracies")
    parser.add_argument("--zero-cost", type=Path, help="a table of scores at initialisation")
    parser.add_argument("--scores", nargs="+", help="columns of that table; all where it is left out")
    parser.add_argument("--pool", type=int, default=256, help="cells whose scores are told")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args(arguments)
    for name in ("seeds", "workers", "pool"):
        if (given := getattr(chosen, name)) < 1:
            parser.error(f"--{name} must be at least 1, but got {given}")
    file = chosen.table
    try:
        table = read(chosen.table, chosen.target)
        scored = []
        if chosen.zero_cost is not None:
            file = chosen.zero_cost
            scored = nasbench201.read_scores(file, table.space, chosen.scores)
    except (OSError, EOFError, ValueError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        print(f"{file}: {reason}", file=sys.stderr)
        return 2
    said, start = {"searcher": chosen.searcher, "table": chosen.table.name, "seeds": chosen.seeds}, time.perf_counter()
    if scored:
        said |= {"pool": min(chosen.pool, len(scored)), "scores": " ".join(scored[0].scores)}
    said |= _measured(table, [drawn(scored, chosen.pool, seed) for seed in range(chosen.seeds)], chosen)
    said["cpu_seconds_per_run"] = (time.perf_counter() - start) / chosen.seeds
    if chosen.json:
        print(json.dumps(said, indent=1))
        return 0
    for name, value in said.items():
        print(f"{name:24} {value:.4g}" if isinstance(value, float) else f"{name:24} {value}")
    return 0


def drawn(scored: Sequence[Untrained], pool: int, seed: int) -> list[Untrained]:
    """The cells whose scores a run is told."""
    return [scored[at] for at in np.random.default_rng(seed).permutation(len(scored))[:pool]]


def _measured(table: Table, pools: Sequence[Sequence[Untrained]], chosen: argparse.Namespace) -> dict[str, object]:
    searchers = [SEARCHERS[chosen.searcher](table.space, seed) for seed in range(chosen.seeds)]
    pairs = list(zip(searchers, pools, strict=True))
    if chosen.seconds is not None:
        accuracies = [within_seconds(table, searcher, chosen.seconds) for searcher in searchers]
        spread = statistics.stdev(accuracies) if len(accuracies) > 1 else 0.0
        return {"seconds": chosen.seconds, "test_accuracy": statistics.fmean(accuracies), "standard_deviation": spread}
    if chosen.workers == 1:
        return _summary(
            [sequential(table, table.best, searcher, chosen.budget, pool) for searcher, pool in pairs], chosen.budget
        )
    runs = [asynchronous(table, table.best, searcher, chosen.budget, chosen.workers, pool) for searcher, pool in pairs]
    walls = [(run.wall if run.found_wall is None else run.found_wall) / table.mean_seconds for run in runs]
    return {
        "workers": chosen.workers,
        **_summary(runs, chosen.budget),
        "mean_wall_units_to_best": statistics.fmean(walls),
        "wall_standard_error": _error(walls),
    }


def _summary(runs: list[Run], budget: float) -> dict[str, object]:
    # The last training may have gone beyond the budget: what it found came too late.
    found = [run.found_at for run in runs if run.found_at is not None and run.found_at <= budget + 1e-9]
    costs = found + [budget] * (len(runs) - len(found))
    return {
        "mean_units_to_best": statistics.fmean(costs),
        "standard_error": _error(costs),
        "found_fraction": len(found) / len(runs),
        "test_accuracy_at": {
            str(cost): statistics.fmean(run.test_accuracy_at(cost) for run in runs) for cost in COSTS if cost <= budget
        },
    }


def _error(values: list[float]) -> float:
    return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0


if __name__ == "__main__":
    sys.exit(main())
