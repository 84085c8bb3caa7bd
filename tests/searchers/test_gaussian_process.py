"""The Gaussian process against closed forms, and what it does with limits, costs, short trainings and pending work."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from objectives import CONDITIONAL, DARTS, NB201, SPACES, TINY, evidence, judged, smooth

from archsearch.searchers import GaussianProcess, Proposal, Result
from archsearch.searchers.base import generator
from archsearch.searchers.gaussian_process import _Data, expected_improvement
from archsearch.searchers.kernels import Distances, Features, Hyperparameters, covariance, distances
from archsearch.searchers.random import draw
from archsearch.spaces import Architecture, Space

LEVELS = (0.25, 1.0)


def drawn(space: Space, count: int, seed: int = 0) -> list[Architecture]:
    """Different random architectures."""
    rng, found = np.random.default_rng(seed), dict[str, Architecture]()
    while len(found) < count:
        one = space.sample(rng)
        found.setdefault(one.id, one)
    return list(found.values())


def some(seed: int) -> Hyperparameters:
    """Hyperparameters that a fit may choose."""
    rng = np.random.default_rng(seed)
    return Hyperparameters().varied(rng).varied(rng)


def data(searcher: GaussianProcess, results: Sequence[Result]) -> _Data:
    return _Data(searcher, results, np.random.default_rng(0))


def gram(space: Space, first: Sequence[Proposal], second: Sequence[Proposal], given: Hyperparameters) -> np.ndarray:
    """The covariance of noiseless values."""
    features = Features(space)
    apart = distances(*(features.of([one.architecture for one in ones]) for ones in (first, second)))
    levels = [np.array([LEVELS.index(one.fidelity) for one in ones]) for ones in (first, second)]
    return covariance(apart, np.abs(levels[0][:, None] - levels[1][None, :]).astype(float), given)


def measured(space: Space, count: int, short: int) -> list[Result]:
    """Results at full fidelity, then of others at the lower one."""
    return [Result(Proposal(one, 0.25 if at >= count - short else 1.0), (float(np.sin(7 * at)),))
            for at, one in enumerate(drawn(space, count))]  # fmt: skip


@pytest.mark.parametrize("short", [0, 3])
@pytest.mark.parametrize("seed", range(3))
def test_the_posterior_is_the_closed_form(short: int, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rasmussen and Williams (2006), equations 2.25 and 2.26, with an inverse and without a factorisation."""
    given = some(seed)
    monkeypatch.setattr(GaussianProcess, "fit", lambda self, told, count: given)
    results = measured(NB201, 7, short)
    told = data(GaussianProcess(NB201, 0, LEVELS), results)
    asked = [*drawn(NB201, 4, seed=5), results[0].architecture]
    mean, deviation = told.posterior(asked)
    before, after = [result.proposal for result in results], [Proposal(one) for one in asked]
    inverse = np.linalg.inv(gram(NB201, before, before, given) + given.noise * np.eye(7))
    across = gram(NB201, before, after, given)
    np.testing.assert_allclose(mean, across.T @ inverse @ told.warped, rtol=1e-8, atol=1e-10)
    variance = np.diag(gram(NB201, after, after, given) - across.T @ inverse @ across)
    np.testing.assert_allclose(deviation**2, variance, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("short", [0, 3])
def test_the_marginal_likelihood_is_the_normal_density_but_for_its_constant(short: int) -> None:
    results = measured(NB201, 8, short)
    told = data(GaussianProcess(NB201, 0, LEVELS), results)
    ones = [result.proposal for result in results]
    for seed in range(5):
        given = some(seed)
        matrix = gram(NB201, ones, ones, given) + given.noise * np.eye(8)
        sign, determinant = np.linalg.slogdet(2 * np.pi * matrix)
        density = -(told.warped @ np.linalg.inv(matrix) @ told.warped + determinant) / 2
        assert sign == 1
        assert told.likelihood(given, 8) - 4 * math.log(2 * math.pi) == pytest.approx(density, rel=1e-8)


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES.keys())
def test_covariances_are_positive_semidefinite_with_unit_variance(space: Space) -> None:
    for seed in range(6):
        # What computes nothing has a test of its own.
        useful = [one for one in drawn(space, 40, seed) if space.chains(one)]
        ones = [Proposal(one, LEVELS[at % 2]) for at, one in enumerate(useful)]
        matrix = gram(space, ones, ones, some(seed))
        np.testing.assert_allclose(matrix, matrix.T)
        np.testing.assert_allclose(np.diag(matrix), 1)
        assert np.linalg.eigvalsh(matrix).min() > -1e-8
        assert (matrix > 0).all()


def test_a_cell_that_computes_nothing_is_as_near_to_itself_as_any_other() -> None:
    nothing = [NB201.at(number) for number in range(60) if not NB201.chains(NB201.at(number))][:2]
    ones = [Proposal(one) for one in [*nothing, *drawn(NB201, 3)]]
    np.testing.assert_allclose(np.diag(gram(NB201, ones, ones, Hyperparameters())), 1)


def test_the_covariance_falls_with_the_distance_and_with_each_step_of_fidelity() -> None:
    given, far = Hyperparameters(), np.array([[0.0, 0.25, 1.0]])
    near = covariance(Distances(far, far), np.zeros((1, 3)), given)[0]
    assert near[0] == pytest.approx(1)
    assert near[0] > near[1] > near[2] > 0
    for steps in (1, 2):
        lower = covariance(Distances(far, far), np.full((1, 3), float(steps)), given)[0]
        np.testing.assert_allclose(lower, near * given.trust**steps)


@pytest.mark.parametrize(("mean", "deviation", "best"), [(0.0, 1.0, 0.0), (1.0, 0.5, 2.0), (-1.0, 2.0, 0.5)])
def test_the_expected_improvement_is_the_mean_of_what_samples_improve(
    mean: float, deviation: float, best: float
) -> None:
    found = expected_improvement(np.array([mean]), np.array([deviation]), best)[0]
    improved = np.maximum(np.random.default_rng(0).normal(mean, deviation, 400_000) - best, 0)
    assert found == pytest.approx(improved.mean(), abs=5 * improved.std() / 400_000**0.5)


def test_what_is_sure_to_be_better_improves_by_the_difference_and_what_is_sure_to_be_worse_by_nothing() -> None:
    found = expected_improvement(np.array([3.0, -3.0]), np.array([1e-6, 1e-6]), 1.0)
    np.testing.assert_allclose(found, [2.0, 0.0], atol=1e-9)


def test_a_limit_that_is_probably_broken_lowers_the_worth() -> None:
    """Of architectures that differ in nothing that is good, those with the dear operation are beyond the limit."""
    ones = drawn(NB201, 60)

    def dear(one: Architecture) -> bool:
        return one["cell/1/0"] == "nor_conv_3x3"

    results = [Result(Proposal(one), None if dear(one) else (smooth(one),), (1.0 if dear(one) else -1.0,))
               for one in ones]  # fmt: skip
    searcher = GaussianProcess(NB201, 0)
    told = data(searcher, results)
    fresh = [one for one in drawn(NB201, 200, seed=1) if one.id not in {other.id for other in ones}]
    likely = told.limits.probability(searcher._features.of(fresh).held)
    assert likely[[dear(one) for one in fresh]].max() < 0.05
    assert likely[[not dear(one) for one in fresh]].min() > 0.95
    for index in range(10):
        found = searcher.ask(evidence(results, index=index))
        assert found is not None
        assert not dear(found.architecture)


@pytest.mark.parametrize(
    ("refused", "trained", "starts"), [(9, 3, True), (0, 12, False), (50, 2, False)],
    ids=["most are beyond the limit", "none is", "nearly all are"],
)  # fmt: skip
def test_what_is_beyond_a_limit_is_no_start_unless_nearly_all_is(refused: int, trained: int, starts: bool) -> None:
    ones = drawn(NB201, refused + trained)
    results = [
        Result(Proposal(one), None if at < refused else (smooth(one),), (1.0 if at < refused else -1.0,))
        for at, one in enumerate(ones)
    ]
    searcher, told = GaussianProcess(NB201, 0, initial=10), evidence(results, index=99)
    found = searcher.ask(told)
    assert found is not None
    random = draw(NB201, generator(0, 99), told.proposed)
    assert (found == random) is starts


@pytest.mark.parametrize("fidelities", [(1.0,), LEVELS], ids=["full", "short first"])
def test_no_proposal_repeats_what_is_pending_after_the_start_either(fidelities: tuple[float, ...]) -> None:
    searcher = GaussianProcess(NB201, 0, fidelities, initial=4)
    results = [judged(Proposal(one, fidelities[0]), smooth) for one in drawn(NB201, 12)]
    pending: list[Proposal] = []
    for _ in range(16):
        found = searcher.ask(evidence(results, pending))
        assert found is not None
        assert (found.architecture.id, found.fidelity) not in {(one.architecture.id, one.fidelity) for one in pending}
        assert all(one.architecture != found.architecture for one in pending)
        pending.append(found)


def test_most_trainings_are_short_and_only_what_has_a_result_goes_on() -> None:
    searcher = GaussianProcess(NB201, 3, LEVELS, initial=4)
    results: list[Result] = []
    pending: list[Proposal] = []
    fidelities = []
    for number in range(50):
        found = searcher.ask(evidence(results, pending))
        assert found is not None
        fidelities.append(found.fidelity)
        if found.fidelity == 1:
            (short,) = [result for result in results if result.architecture == found.architecture]
            assert short.proposal.fidelity == 0.25
            assert short.value is not None
        pending.append(found)
        if number % 3:  # two results for three proposals, one in five of them a failure
            done = pending.pop(0)
            results.append(judged(done, lambda one: None if int(one.id, 16) % 5 == 0 else smooth(one)))
    assert set(fidelities) == set(LEVELS)
    assert fidelities[: searcher.starts] == [0.25] * searcher.starts
    assert fidelities.count(0.25) > 25
    full = [smooth(one.proposal.architecture) for one in results if one.proposal.fidelity == 1 and one.value]
    every = [smooth(one.proposal.architecture) for one in results if one.proposal.fidelity == 0.25 and one.value]
    assert np.mean(full) > np.mean(every), "what goes on is better than what was tried"


def test_of_two_that_are_equally_good_the_cheap_one_is_preferred() -> None:
    """All architectures are equally good; those with the slow operation take ten times as long."""

    def slow(one: Architecture) -> bool:
        return one["cell/1/0"] in {"nor_conv_3x3", "nor_conv_1x1"}

    results = [Result(Proposal(one), (0.1 * (int(one.id, 16) % 7),), seconds=100.0 if slow(one) else 10.0)
               for one in drawn(NB201, 40)]  # fmt: skip

    def share(*, aware: bool) -> float:
        searcher = GaussianProcess(NB201, 0, cost_aware=aware)
        found = [searcher.ask(evidence(results, index=index)) for index in range(20)]
        return float(np.mean([slow(one.architecture) for one in found if one is not None]))

    assert share(aware=True) <= 0.1
    assert share(aware=False) > share(aware=True)


def test_a_used_up_space_has_no_proposal_before_its_results_are_there_and_after() -> None:
    everything = [Proposal(TINY.at(number)) for number in range(6)]
    searcher = GaussianProcess(TINY, 0, initial=2)
    assert searcher.ask(evidence([], everything)) is None
    assert searcher.ask(evidence([Result(one, (1.0,)) for one in everything])) is None
    assert searcher.ask(evidence([Result(one, None) for one in everything])) is None


def test_results_that_are_all_alike_are_no_trouble() -> None:
    for space in (NB201, CONDITIONAL, DARTS):
        results = [Result(Proposal(one), (0.5,)) for one in drawn(space, 12)]
        found = GaussianProcess(space, 0, initial=2).ask(evidence(results))
        assert found is not None
        assert found.architecture not in [result.architecture for result in results]
