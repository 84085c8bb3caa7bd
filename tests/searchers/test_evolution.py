"""Random search and ageing evolution: what is their own."""

from __future__ import annotations

import csv
import gzip
import os
import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import pytest
from objectives import NB201, apart, distance, evidence, search, smooth

from archsearch.searchers import Evidence, Proposal, Random, RegularizedEvolution, Result, Searcher
from archsearch.spaces import Architecture
from archsearch.spaces.nasbench201 import to_string


def result(architecture: Architecture, value: float | None) -> Result:
    return Result(Proposal(architecture), None if value is None else (value,))


def parents(alive: Sequence[Architecture], results: Sequence[Result], sample: int, seeds: int = 400) -> list[int]:
    """How often each is the parent of what is proposed next, over seeds, in a population of so many."""
    counts = [0] * len(alive)
    for seed in range(seeds):
        found = RegularizedEvolution(NB201, seed, population=len(alive), sample=sample).ask(evidence(results))
        assert found is not None
        (parent,) = [place for place, one in enumerate(alive) if distance(found.architecture, one) == 1]
        counts[parent] += 1
    return counts


def test_random_search_draws_from_the_whole_space_whatever_came_out() -> None:
    one, other = (search(Random(NB201, 5), objective, 50) for objective in (smooth, lambda architecture: None))
    assert [found.architecture for found in one] == [found.architecture for found in other]
    assert len({found.architecture["cell/1/0"] for found in one}) == 5


def test_random_search_finds_the_last_ones_of_a_large_space() -> None:
    """Of 15,625 three are left, which a thousand draws seldom meet; each is as likely as the others."""
    last = {NB201.at(number).id for number in (0, 7_000, 15_624)}
    proposed = {identifier: 1.0 for number in range(NB201.size()) if (identifier := NB201.at(number).id) not in last}
    found = [Random(NB201, seed).ask(Evidence(len(proposed), [], [], proposed)) for seed in range(60)]
    counts = Counter(proposal.architecture.id for proposal in found if proposal is not None)
    assert counts.keys() == last
    assert all(8 < count < 36 for count in counts.values())
    assert Random(NB201, 0).ask(Evidence(15_625, [], [], proposed | dict.fromkeys(last, 1.0))) is None


def test_evolution_starts_with_a_random_population() -> None:
    evolution = RegularizedEvolution(NB201, 5, population=30, sample=10)
    first = [found.architecture for found in search(evolution, smooth, 30)]
    assert first == [found.architecture for found in search(Random(NB201, 5), smooth, 30)]


def test_the_best_of_the_sample_is_the_parent() -> None:
    """A sample of k of n, drawn with replacement, has all its members among the r worst with a chance of (r / n)^k."""
    alive = apart(10)
    results = [result(architecture, rank / 10) for rank, architecture in enumerate(alive)]
    for sample in (1, 3, 10):
        counts = parents(alive, results, sample)
        for rank, count in enumerate(counts):
            expected = ((rank + 1) / 10) ** sample - (rank / 10) ** sample
            assert count / 400 == pytest.approx(expected, abs=4 * (expected * (1 - expected) / 400) ** 0.5 + 1e-3)


def test_the_oldest_is_forgotten_however_good_it_is() -> None:
    best, *young = apart(11)
    results = [result(best, 1.0), *(result(architecture, 0.1) for architecture in young)]
    assert sum(parents(young, results, sample=10)) == 400  # each has one parent, and it is young


def test_a_failure_displaces_no_one() -> None:
    alive, failed = apart(10), apart(40)[10:]
    results = [result(one, 0.1) for one in alive] + [result(one, None) for one in failed]
    assert min(parents(alive, results, sample=1)) > 10


def test_a_child_that_was_proposed_before_is_mutated_on() -> None:
    (only,) = apart(1)
    near = [Proposal(one) for one in NB201.neighbours(only)]
    child = RegularizedEvolution(NB201, 0, population=1, sample=1).ask(evidence([result(only, 0.5)], pending=near))
    assert child is not None
    assert distance(child.architecture, only) >= 2
    assert child not in near


def test_a_sample_larger_than_the_population_is_refused() -> None:
    with pytest.raises(ValueError, match=r"sample must not be greater than population \(5\), but got self.sample=6"):
        RegularizedEvolution(NB201, 0, population=5, sample=6)


def gains(objective: Callable[[Architecture], float], report: Callable[[Architecture], float]) -> list[float]:
    """What evolution finds more than random search in 200 trials of each, for each of 20 seeds.

    report: of the architecture whose objective is the best; both are printed with their deviation.
    """

    def best(searcher: Searcher) -> Architecture:
        return max((found.architecture for found in search(searcher, objective, 200)), key=objective)

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
