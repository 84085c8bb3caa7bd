"""Fronts, crowding, hypervolume, and NSGA-II against random search at equal cost."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from objectives import NB201, evidence, judged, price, smooth

from archsearch.searchers import GaussianProcess, Nsga2, Proposal, Random, Result, Searcher
from archsearch.searchers.nsga2 import ranked
from archsearch.searchers.pareto import crowding, dominates, fronts, hypervolume
from archsearch.spaces import Architecture


@pytest.mark.parametrize("objectives", [1, 2, 3])
def test_fronts_are_those_that_taking_away_one_after_the_other_finds(objectives: int) -> None:
    points = np.random.default_rng(objectives).integers(0, 6, (40, objectives)).astype(float)
    found = fronts(points)
    left = set(range(40))
    number = 0
    while left:
        first = {at for at in left if not any(dominates(points[other], points[at]) for other in left)}
        assert {at for at in range(40) if found[at] == number} == first
        left -= first
        number += 1


def test_crowding_is_the_distance_of_the_neighbours_in_each_objective() -> None:
    points = np.array([[0.0, 10.0], [1.0, 6.0], [4.0, 5.0], [10.0, 0.0]])
    assert crowding(points).tolist() == [math.inf, 4 / 10 + 5 / 10, 9 / 10 + 6 / 10, math.inf]
    assert crowding(np.array([[1.0, -math.inf], [2.0, -math.inf], [3.0, -math.inf]])).tolist()[1] == 1.0


@pytest.mark.parametrize("objectives", [1, 2, 3])
def test_the_hypervolume_is_the_share_of_random_points_that_are_dominated(objectives: int) -> None:
    rng = np.random.default_rng(objectives)
    points = rng.random((12, objectives))
    found = hypervolume([tuple(point) for point in points], (0.0,) * objectives)
    drawn = rng.random((20_000, objectives))
    share = (drawn[:, None, :] <= points[None, :, :]).all(2).any(1).mean()
    assert found == pytest.approx(share, abs=0.015)


def test_the_hypervolume_of_points_beyond_the_reference_is_nothing() -> None:
    assert hypervolume([(1.0, 2.0), (3.0, 1.0)], (0.0, 0.0)) == 2 + 2
    assert hypervolume([(-1.0, 5.0)], (0.0, 0.0)) == 0
    assert hypervolume([], (0.0,)) == 0


def test_what_keeps_the_limits_comes_before_what_does_not_and_near_misses_before_far_ones() -> None:
    def result(at: int, scores: tuple[float, ...] | None, beyond: float | None) -> Result:
        return Result(Proposal(NB201.at(at)), scores, (beyond,))

    results = [
        result(0, None, 2.0),
        result(1, (1.0, 1.0), -0.1),
        result(2, (9.0, 9.0), 0.5),
        result(3, (2.0, 2.0), 0.0),
        result(4, None, None),
    ]
    assert ranked(results) == [3, 1, 2, 0, 4]


def volumes(make: type[Searcher], trials: int, seeds: int) -> list[float]:
    def both(architecture: Architecture) -> tuple[float, float]:
        return smooth(architecture), -price(architecture)

    found = []
    for seed in range(seeds):
        searcher, results = make(NB201, seed), list[Result]()  # type: ignore[call-arg]
        for _ in range(trials):
            proposal = searcher.ask(evidence(results))
            assert proposal is not None
            results.append(judged(proposal, both))
        found.append(hypervolume([r.scores or () for r in results], (0.0, -54.0)))
    return found


def test_the_front_of_nsga2_has_more_volume_than_that_of_random_search_at_equal_cost() -> None:
    evolved, drawn = volumes(Nsga2, 150, 6), volumes(Random, 150, 6)
    gains = np.array(evolved) - np.array(drawn)
    print(
        f"NSGA-II {np.mean(evolved):.1f} +- {np.std(evolved):.1f}, random {np.mean(drawn):.1f} +- {np.std(drawn):.1f}"
    )
    assert gains.mean() > 3 * gains.std(ddof=1) / 6**0.5


def test_the_front_of_the_gaussian_process_has_more_volume_than_that_of_random_search() -> None:
    def make(space: object, seed: int) -> Searcher:
        return GaussianProcess(NB201, seed, objectives=2)

    modelled, drawn = volumes(make, 60, 4), volumes(Random, 60, 4)  # type: ignore[arg-type]
    gains = np.array(modelled) - np.array(drawn)
    assert gains.mean() > 2 * gains.std(ddof=1) / 4**0.5


def test_a_dominated_point_adds_no_volume() -> None:
    points = [(3.0, 1.0), (1.0, 3.0)]
    for extra in itertools.product((0.5, 1.0), repeat=2):
        assert hypervolume([*points, extra], (0.0, 0.0)) == hypervolume(points, (0.0, 0.0))
