"""Scores at initialisation: the columns that are made of them, and what the Gaussian process does with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist, fmean

import numpy as np
import pytest
from objectives import NB201, arbitrary, evidence, judged, search, smooth
from test_gaussian_process import drawn

from archsearch.api import NasBench201
from archsearch.searchers import Evidence, GaussianProcess, Halving, Proposal, Result, Searcher, Untrained
from archsearch.searchers.gaussian_process import _Data
from archsearch.searchers.kernels import Features, Hyperparameters, covariance, distances
from archsearch.searchers.scores import Columns, quantiles
from archsearch.spaces import Architecture, Choice, Space

SMALL = Space("small", tuple(Choice(name, tuple("uvwxyz")) for name in "abc"), NasBench201())
EVERY = [SMALL.at(number) for number in range(SMALL.size())]


@dataclass(frozen=True)
class Told:
    """A searcher that is told of these scores."""

    searcher: Searcher
    untrained: Sequence[Untrained]

    def ask(self, known: Evidence) -> Proposal | None:
        return self.searcher.ask(replace(known, untrained=self.untrained))


def scored(architectures: Sequence[Architecture], *scores: Callable[[Architecture], float]) -> list[Untrained]:
    return [Untrained(one, {f"s{at}": score(one) for at, score in enumerate(scores)}) for one in architectures]


def columns(untrained: Sequence[Untrained], asked: Sequence[Architecture]) -> np.ndarray:
    features = Features(NB201)
    made = Columns(untrained, features.of([one.architecture for one in untrained]))
    return made.of([one.id for one in asked], features.of(asked))


def test_a_quantile_follows_from_the_rank_alone() -> None:
    normal = NormalDist()
    expected = [normal.inv_cdf(share) for share in (0.125, 0.375, 0.625, 0.875)]
    np.testing.assert_allclose(quantiles(np.array([-1e12, 3.0, 4.0, 1e90])), expected)
    np.testing.assert_allclose(quantiles(np.array([4.0, 1e90, -1e12, 3.0])), np.array(expected)[[2, 3, 0, 1]])
    np.testing.assert_allclose(quantiles(np.array([5.0, 5.0, 5.0])), 0, atol=1e-12)
    low, high = normal.inv_cdf(0.25), normal.inv_cdf(0.75)
    np.testing.assert_allclose(quantiles(np.array([1.0, 2.0, 2.0, 1.0])), [low, high, high, low])


def test_what_was_scored_has_its_quantiles_and_others_what_the_structure_says() -> None:
    pool = drawn(NB201, 250)
    untrained = scored(pool, smooth, arbitrary)
    np.testing.assert_allclose(columns(untrained, pool)[:, 0], quantiles(np.array([smooth(one) for one in pool])))
    others = [one for one in drawn(NB201, 200, seed=1) if one not in pool]
    guessed = columns(untrained, others)
    assert np.corrcoef(guessed[:, 0], [smooth(one) for one in others])[0, 1] > 0.9
    assert abs(np.corrcoef(guessed[:, 1], [arbitrary(one) for one in others])[0, 1]) < 0.2
    assert np.abs(guessed[:, 1]).mean() < 0.6, "what the structure does not say is guessed to be about the median"


def test_a_score_that_is_missing_is_guessed_from_the_others() -> None:
    pool = drawn(NB201, 120)
    whole = scored(pool, smooth, arbitrary)
    lacking = [replace(one, scores={"s1": one.scores["s1"]}) if at % 4 == 0 else one for at, one in enumerate(whole)]
    found, known = columns(lacking, pool), columns(whole, pool)
    np.testing.assert_allclose(found[:, 1], known[:, 1])
    assert np.corrcoef(found[::4, 0], known[::4, 0])[0, 1] > 0.85


def test_covariances_with_scores_are_positive_semidefinite_with_unit_variance() -> None:
    pool = drawn(NB201, 40)
    untrained = scored(pool[:25], smooth, arbitrary)
    rows = replace(Features(NB201).of(pool), scores=columns(untrained, pool))
    apart = distances(rows, rows)
    for seed in range(6):
        rng = np.random.default_rng(seed)
        given = Hyperparameters(scores_share=0.3).varied(rng).varied(rng)
        assert 0 < given.scores_share < 1
        matrix = covariance(apart, np.zeros((40, 40)), given)
        np.testing.assert_allclose(matrix, matrix.T)
        np.testing.assert_allclose(np.diag(matrix), 1)
        assert np.linalg.eigvalsh(matrix).min() > -1e-8
    structural = covariance(replace(apart, scores=None), np.zeros((40, 40)), Hyperparameters())
    np.testing.assert_array_equal(covariance(apart, np.zeros((40, 40)), Hyperparameters()), structural)


def test_the_fit_finds_whether_the_scores_say_anything() -> None:
    pool = drawn(NB201, 60)
    untrained = scored(pool, arbitrary)

    def share(objective: Callable[[Architecture], float]) -> float:
        results = [Result(Proposal(one), (objective(one),)) for one in pool]
        told = _Data(GaussianProcess(NB201, 0), results, np.random.default_rng(0), untrained)
        return told.searcher.fit(told, 60).scores_share

    assert share(arbitrary) > 0.6
    assert share(smooth) < 0.3


def noisy(one: Architecture) -> float:
    """Best where the score is 700, and a little by chance: neither the structure nor a large score says it."""
    return -abs(arbitrary(one) - 700) + int(one.id[::-1], 16) % 20


def needed(searcher: Searcher, most: int = 60) -> int:
    """Trials until the best of the whole space is found, at most so many."""
    best = max(EVERY, key=noisy)
    results: list[Result] = []
    while len(results) < most and (not results or results[-1].architecture != best):
        results += [judged(proposal, noisy) for proposal in [searcher.ask(evidence(results))] if proposal]
    return len(results)


def test_where_a_score_says_what_the_structure_does_not_the_best_is_found_in_far_fewer_trials() -> None:
    untrained, seeds = scored(EVERY, arbitrary), range(3)
    without = [needed(GaussianProcess(SMALL, seed)) for seed in seeds]
    told = [needed(Told(GaussianProcess(SMALL, seed), untrained)) for seed in seeds]
    assert fmean(told) < fmean(without) / 2, f"{told} with the score and {without} without"


@pytest.mark.parametrize("fidelities", [(1.0,), (0.25, 1.0)], ids=["full", "short first"])
def test_without_scores_proposals_are_what_they_are_without_a_pool(fidelities: tuple[float, ...]) -> None:
    empty = [Untrained(one, {}) for one in drawn(NB201, 20)]
    plain, told = (
        [result.proposal for result in search(make, smooth, 16)]
        for make in (
            GaussianProcess(NB201, 1, fidelities, initial=4),
            Told(GaussianProcess(NB201, 1, fidelities, initial=4), empty),
        )
    )
    assert told == plain


def test_a_search_begins_by_turns_with_random_architectures_and_those_with_good_scores() -> None:
    pool = drawn(NB201, 100, seed=5)
    begun, plain = (
        [result.architecture for result in search(make, smooth, 20)]
        for make in (
            Told(GaussianProcess(NB201, 0, initial=20), scored(pool, arbitrary)),
            GaussianProcess(NB201, 0, initial=20),
        )
    )
    assert begun[::2] == plain[::2]
    assert set(begun[1::2]) <= set(pool)
    middle = sorted(map(arbitrary, pool))[50]
    assert all(arbitrary(one) > middle for one in begun[1::2])
    best = sorted(pool, key=arbitrary, reverse=True)[:10]
    assert 2 <= len(set(begun) & set(best)) < 10, "the best of ten each time, and not the best of all"


def test_what_promises_most_of_the_pool_is_proposed_without_being_anybodys_mutation() -> None:
    pool = drawn(NB201, 200)
    searcher = GaussianProcess(NB201, 0, initial=4)
    results = [Result(Proposal(one), (arbitrary(one),)) for one in pool[:60]]
    found = searcher.ask(replace(evidence(results), untrained=scored(pool, arbitrary)))
    assert found is not None
    assert found.architecture in sorted(pool[60:], key=arbitrary)[-10:]


def test_halving_hands_the_scores_on() -> None:
    pool = drawn(NB201, 120)
    results = [Result(Proposal(one, 0.25), (arbitrary(one),)) for one in pool[:40]]
    results += [Result(Proposal(one), (arbitrary(one),)) for one in sorted(pool[:40], key=arbitrary)[-20:]]
    told = Told(Halving(GaussianProcess(NB201, 0, initial=4), (0.25, 1.0), 2), scored(pool, arbitrary))
    found = told.ask(evidence(results))
    assert found is not None
    assert found.architecture in sorted(pool[40:], key=arbitrary)[-10:]
