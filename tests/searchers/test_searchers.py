"""What searchers promise: no architecture twice, the same proposals again, and evolution that ages and selects."""

from __future__ import annotations

import csv
import gzip
import os
import statistics
from collections.abc import Callable, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from archsearch.api import DartsCells, NasBench201
from archsearch.api import Space as SpaceSpec
from archsearch.searchers import Evidence, Random, RegularizedEvolution, Result, Searcher
from archsearch.spaces import Architecture, Choice, Space, space_of
from archsearch.spaces.nasbench201 import to_string

NB201 = space_of(SpaceSpec(nas_bench201=NasBench201()))
DARTS = space_of(SpaceSpec(darts_cells=DartsCells()))
TINY = Space("tiny", (Choice("a", ("x", "y", "z")), Choice("b", (1, 2))), NasBench201())

SEARCHERS: dict[str, Callable[[Space, int], Searcher]] = {
    "random": Random,
    "evolution": lambda space, seed: RegularizedEvolution(space, seed, population=20, sample=5),
    "evolution from the start": lambda space, seed: RegularizedEvolution(space, seed, population=1, sample=1),
}
every_searcher = pytest.mark.parametrize("make", SEARCHERS.values(), ids=SEARCHERS.keys())

Objective = Callable[[Architecture], float | None]


def evidence(results: Sequence[Result], pending: Sequence[Architecture] = ()) -> Evidence:
    proposed = {result.architecture.id for result in results} | {architecture.id for architecture in pending}
    return Evidence(results, pending, proposed)


def search(searcher: Searcher, objective: Objective, trials: int) -> list[Result]:
    """The results of trials one after the other; fewer where the space has no more."""
    results: list[Result] = []
    while len(results) < trials and (architecture := searcher.ask(evidence(results))) is not None:
        results.append(Result(architecture, objective(architecture)))
    return results


def smooth(architecture: Architecture) -> float:
    """A known objective over NAS-Bench-201: a worth for each operation on each edge, and for pairs of them."""
    worth = {"none": 0.0, "avg_pool_3x3": 0.2, "skip_connect": 0.5, "nor_conv_1x1": 0.7, "nor_conv_3x3": 1.0}
    values = [worth[str(value)] for value in architecture.values.values()]
    return sum(values) + sum(first * second for first, second in pairwise(values))


def distance(first: Architecture, second: Architecture) -> int:
    return sum(first[name] != second[name] for name in first.values)


def apart(count: int) -> list[Architecture]:
    """Architectures of NAS-Bench-201 of which none is a mutation of another, nor a mutation of a mutation."""
    found: list[Architecture] = []
    for number in np.random.default_rng(0).permutation(NB201.size()):
        candidate = NB201.at(int(number))
        if all(distance(candidate, other) > 2 for other in found):
            found.append(candidate)
        if len(found) == count:
            break
    return found


def parents(alive: Sequence[Architecture], results: Sequence[Result], sample: int, seeds: int = 400) -> list[int]:
    """How often each is the parent of what is proposed next, over seeds, in a population of so many."""
    counts = [0] * len(alive)
    for seed in range(seeds):
        child = RegularizedEvolution(NB201, seed, population=len(alive), sample=sample).ask(evidence(results))
        assert child is not None
        (parent,) = [place for place, one in enumerate(alive) if distance(child, one) == 1]
        counts[parent] += 1
    return counts


@every_searcher
def test_no_architecture_is_proposed_twice_and_a_space_comes_to_its_end(make: Callable[[Space, int], Searcher]) -> None:
    for seed in range(5):
        results = search(make(TINY, seed), lambda architecture: 0.5, trials=100)
        assert len(results) == TINY.size() == 6
        assert len({result.architecture for result in results}) == 6
        assert make(TINY, seed).ask(evidence(results)) is None


@every_searcher
def test_what_is_pending_is_not_proposed_again(make: Callable[[Space, int], Searcher]) -> None:
    everything = [TINY.at(number) for number in range(6)]
    for left in range(6):
        others = [one for number, one in enumerate(everything) if number != left]
        results = [Result(architecture, 0.5) for architecture in others[:2]]
        assert make(TINY, 3).ask(evidence(results, pending=others[2:])) == everything[left]


@every_searcher
@pytest.mark.parametrize("space", [NB201, DARTS], ids=["nasbench201", "darts"])
def test_a_proposal_follows_from_seed_and_evidence_alone(make: Callable[[Space, int], Searcher], space: Space) -> None:
    def objective(architecture: Architecture) -> float:
        return int(architecture.id, 16) % 1000

    results = search(make(space, 7), objective, trials=60)
    proposals = [result.architecture for result in results]
    assert [result.architecture for result in search(make(space, 7), objective, trials=60)] == proposals
    # In any order, and by a searcher that was asked nothing before.
    for number in (59, 3, 30):
        assert make(space, 7).ask(evidence(results[:number])) == proposals[number]
    assert [result.architecture for result in search(make(space, 8), objective, trials=60)] != proposals


@every_searcher
def test_failures_alone_never_make_a_searcher_wait(make: Callable[[Space, int], Searcher]) -> None:
    results = search(make(NB201, 0), lambda architecture: None, trials=80)
    assert len({result.architecture for result in results}) == 80


def test_random_search_draws_from_the_whole_space_whatever_came_out() -> None:
    one, other = (search(Random(NB201, 5), objective, 50) for objective in (smooth, lambda architecture: None))
    assert [result.architecture for result in one] == [result.architecture for result in other]
    assert len({result.architecture["cell/1/0"] for result in one}) == 5


def test_evolution_starts_with_a_random_population() -> None:
    evolution = RegularizedEvolution(NB201, 5, population=30, sample=10)
    first = [result.architecture for result in search(evolution, smooth, 30)]
    assert first == [result.architecture for result in search(Random(NB201, 5), smooth, 30)]


def test_the_best_of_the_sample_is_the_parent() -> None:
    """A sample of k of n, drawn with replacement, has all its members among the r worst with a chance of (r / n)^k."""
    alive = apart(10)
    results = [Result(architecture, rank / 10) for rank, architecture in enumerate(alive)]
    for sample in (1, 3, 10):
        counts = parents(alive, results, sample)
        for rank, count in enumerate(counts):
            expected = ((rank + 1) / 10) ** sample - (rank / 10) ** sample
            assert count / 400 == pytest.approx(expected, abs=4 * (expected * (1 - expected) / 400) ** 0.5 + 1e-3)


def test_the_oldest_is_forgotten_however_good_it_is() -> None:
    best, *young = apart(11)
    results = [Result(best, 1.0), *(Result(architecture, 0.1) for architecture in young)]
    assert sum(parents(young, results, sample=10)) == 400  # each has one parent, and it is young


def test_a_failure_displaces_no_one() -> None:
    alive, failed = apart(10), apart(40)[10:]
    results = [Result(architecture, 0.1) for architecture in alive] + [
        Result(architecture, None) for architecture in failed
    ]
    assert min(parents(alive, results, sample=1)) > 10


def test_a_child_that_was_proposed_before_is_mutated_on() -> None:
    (only,) = apart(1)
    near = list(NB201.neighbours(only))
    child = RegularizedEvolution(NB201, 0, population=1, sample=1).ask(evidence([Result(only, 0.5)], pending=near))
    assert child is not None
    assert distance(child, only) >= 2
    assert child not in near


def test_a_sample_larger_than_the_population_is_refused() -> None:
    with pytest.raises(ValueError, match=r"sample must not be greater than population \(5\), but got self.sample=6"):
        RegularizedEvolution(NB201, 0, population=5, sample=6)


def gains(objective: Callable[[Architecture], float], report: Callable[[Architecture], float]) -> list[float]:
    """What evolution finds more than random search in 200 trials of each, for each of 20 seeds.

    report: of the architecture whose objective is the best; both are printed with their deviation.
    """

    def best(searcher: Searcher) -> Architecture:
        return max((result.architecture for result in search(searcher, objective, 200)), key=objective)

    evolution = [best(RegularizedEvolution(NB201, seed, population=30, sample=10)) for seed in range(20)]
    random = [best(Random(NB201, seed)) for seed in range(20)]
    for name, value in (("objective", objective), ("report", report)):
        for searcher, found in (("evolution", evolution), ("random", random)):
            values = [value(architecture) for architecture in found]
            print(f"{name}, {searcher}: {statistics.mean(values):.3f} ± {statistics.stdev(values):.3f} (20 seeds)")
    return [objective(one) - objective(other) for one, other in zip(evolution, random, strict=True)]


def standard_errors(values: Sequence[float]) -> float:
    """The mean in units of its standard error."""
    return statistics.mean(values) / (statistics.stdev(values) / len(values) ** 0.5)


def test_evolution_beats_random_search_at_equal_cost() -> None:
    assert max(smooth(NB201.at(number)) for number in range(NB201.size())) == 11
    found = gains(smooth, smooth)
    assert statistics.mean(found) > 1
    assert standard_errors(found) > 5


@cache
def measured() -> dict[str, tuple[float, float]]:
    """Validation accuracy after 12 epochs and test accuracy after 200, in percent, by cell."""
    root = Path(os.environ.get("ARCHSEARCH_DATA") or Path(__file__).parents[3] / "shared" / "data")
    file = root / "nasbench201" / "cifar10.csv.gz"
    if not file.is_file():
        pytest.skip(f"NAS-Bench-201's accuracies are not here: there is no {file}; set ARCHSEARCH_DATA")
    with gzip.open(file, "rt", newline="") as stream:
        return {
            row["architecture"]: (float(row["validation_accuracy_12"]), float(row["test_accuracy_200"]))
            for row in csv.DictReader(stream)
        }


def test_evolution_beats_random_search_on_measured_accuracies() -> None:
    """CIFAR-10, searched by what a short training reaches; Dong and Yang (2020, table 5) find the same order."""
    table = measured()
    assert len(table) == NB201.size()
    found = gains(lambda one: table[to_string(one)][0], lambda one: table[to_string(one)][1])
    assert statistics.mean(found) > 0.4  # percent
    assert standard_errors(found) > 5
