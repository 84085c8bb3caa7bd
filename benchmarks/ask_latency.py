"""How long each searcher takes for a proposal: cold, from a history it has not seen, and warm, one result later.

The space is that of DARTS' cells; results are random architectures with a known objective, one in ten a failure. Of 256
others two scores are known before in the row `scored`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from archsearch.api import DartsCells
from archsearch.api import Space as SpaceSpec
from archsearch.searchers import (
    Evidence,
    GaussianProcess,
    Halving,
    LocalSearch,
    Nsga2,
    PolicyGradient,
    Proposal,
    Random,
    RegularizedEvolution,
    Result,
    Searcher,
    TreeParzen,
    Untrained,
)
from archsearch.spaces import Architecture, Space, space_of

SEARCHERS: Final[dict[str, Callable[[Space], Searcher]]] = {
    "random": lambda space: Random(space, 0),
    "regularizedEvolution": lambda space: RegularizedEvolution(space, 0),
    "localSearch": lambda space: LocalSearch(space, 0),
    "nsga2": lambda space: Nsga2(space, 0),
    "gaussianProcess": lambda space: GaussianProcess(space, 0),
    "gaussianProcess, scored": lambda space: GaussianProcess(space, 0),
    "policyGradient, Softmax": lambda space: PolicyGradient(space, 0),
    "policyGradient, LSTM": lambda space: PolicyGradient(space, 0, "LSTM"),
    "policyGradient, LSTM, PPO": lambda space: PolicyGradient(space, 0, "LSTM", "PPO"),
    "treeParzen": lambda space: TreeParzen(space, 0),
    "random, halving": lambda space: Halving(Random(space, 0), (0.25, 1.0)),
}
"""Each with its defaults. The grid is left out: this space is too large to be gone through."""
WARM: Final = 20
"""Proposals after the first one, each with one more result."""
SCORED: Final = 256


def history(space: Space, count: int) -> list[Result]:
    """Results of random architectures; those with many skip connections are good."""
    rng = np.random.default_rng(0)

    def result(architecture: Architecture) -> Result:
        skips = sum(value == "skip_connect" for value in architecture.values.values())
        return Result(Proposal(architecture), None if rng.random() < 0.1 else (skips + rng.normal(0, 0.1),))

    return [result(space.sample(rng)) for _ in range(count)]


def pool(space: Space) -> list[Untrained]:
    """Architectures with two scores."""
    rng = np.random.default_rng(1)
    return [
        Untrained(space.sample(rng), {"naswot": rng.normal(), "synflow": rng.normal()}) for _ in range(SCORED)
    ]  # fmt: skip


def measure(
    searcher: Searcher, results: list[Result], count: int, untrained: Sequence[Untrained] = ()
) -> dict[str, float]:
    """Seconds: the first proposal after `count` results, and the median and the largest of those that follow."""
    proposed = {result.architecture.id: 1.0 for result in results}
    taken = []
    for told in range(count, count + WARM + 1):
        evidence = Evidence(told, results[:told], [], proposed, untrained)
        start = time.perf_counter()
        searcher.ask(evidence)
        taken.append(time.perf_counter() - start)
    return {"cold": taken[0], "median": statistics.median(taken[1:]), "max": max(taken[1:])}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=int, default=1000, help="results before the first proposal")
    parser.add_argument("--json", action="store_true", help="seconds, as JSON")
    given = parser.parse_args()
    space = space_of(SpaceSpec(darts_cells=DartsCells()))
    results = history(space, given.results + WARM)
    scored = pool(space)
    table = {
        name: measure(make(space), results, given.results, scored if name.endswith("scored") else ())
        for name, make in SEARCHERS.items()
    }
    if given.json:
        print(json.dumps(table, indent=2))
        return
    print(f"{'milliseconds':28}{'cold':>10}{'median':>10}{'max':>10}")
    for name, row in table.items():
        print(f"{name:28}" + "".join(f"{1000 * row[key]:10.1f}" for key in ("cold", "median", "max")))


if __name__ == "__main__":
    main()
