"""Whether random search finds better cells where it trains only the best by a score of every few that it draws.

    python -m benchmarks.prefilter --table cifar10.csv.gz --zero-cost scores.csv --seeds 50 [--draws 10] [--json]

Cells are drawn from those whose scores are known (`benchmarks.zero_cost --write`), none twice. `random` trains each
that it draws; with a prefilter the best by the score of --draws cells is trained, and the others are not drawn again.
What is reported is the test accuracy of the cell that is best by validation after so many trainings, mean and standard
error.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from archsearch.searchers import Untrained
from benchmarks.nasbench201 import read_scores
from benchmarks.query_efficiency import FULL, Table, read


def reported(
    table: Table, scored: Sequence[Untrained], score: str | None, draws: int, trainings: Sequence[int], seed: int
) -> dict[int, float]:
    """By the number of trainings, the test accuracy of the cell that is best by validation; draws: cells of which the
    best by the score is trained. ValueError where there are too few cells."""
    drawn = [scored[at] for at in np.random.default_rng(seed).permutation(len(scored))]
    if len(drawn) < draws * max(trainings):
        raise ValueError(
            f"{max(trainings)} trainings, each of the best of {draws} cells, need {draws * max(trainings)} cells with "
            f"scores, but there are {len(drawn)}"
        )
    found, best = dict[int, float](), (-math.inf, math.nan)
    for number in range(max(trainings)):
        part = drawn[number * draws : (number + 1) * draws]
        chosen = part[0] if score is None else max(part, key=lambda one: one.scores[score])
        row = table.rows[chosen.architecture.id]
        best = max(best, (row.validation[1.0], row.test))
        if number + 1 in trainings:
            found[number + 1] = best[1]
    return found


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--zero-cost", type=Path, required=True, help="a table of scores at initialisation")
    parser.add_argument("--trainings", type=int, nargs="+", default=[20, 100])
    parser.add_argument("--draws", type=int, default=10, help="cells of which the best by its score is trained")
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    table = read(chosen.table, f"validation_accuracy_{FULL}")
    scored = read_scores(chosen.zero_cost, table.space)
    said = {}
    for score in (None, *scored[0].scores):
        draws = 1 if score is None else chosen.draws
        runs = [reported(table, scored, score, draws, chosen.trainings, seed) for seed in range(chosen.seeds)]
        said[score or "random"] = {
            str(count): [statistics.fmean(values), statistics.stdev(values) / math.sqrt(len(values))]
            for count in chosen.trainings
            for values in [[run[count] for run in runs]]
        }
    if chosen.json:
        print(json.dumps({"cells": len(scored), "draws": chosen.draws, "seeds": chosen.seeds, "searches": said}))
        return
    print(f"{len(scored)} cells with scores, {chosen.seeds} seeds, of {chosen.draws} one is trained")
    for name, row in said.items():
        columns = [f"{count} trainings {mean:.3f} +- {error:.3f}" for count, (mean, error) in row.items()]
        print(f"{name:12}", *columns, sep="  ")


if __name__ == "__main__":
    main()
