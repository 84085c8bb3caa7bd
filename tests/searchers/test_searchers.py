"""What every searcher promises: one row a searcher."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from objectives import CONDITIONAL, NB201, SPACES, TINY, arbitrary, evidence, judged, price, search, smooth
from test_scores import Told, scored

from archsearch.searchers import (
    GaussianProcess,
    Grid,
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
)
from archsearch.spaces import Space

Make = Callable[[Space, int], Searcher]

SEARCHERS: dict[str, Make] = {
    "random": Random,
    "evolution": lambda space, seed: RegularizedEvolution(space, seed, population=20, sample=5),
    "evolution from the start": lambda space, seed: RegularizedEvolution(space, seed, population=1, sample=1),
    "local search": lambda space, seed: LocalSearch(space, seed, initial=5),
    "gaussian process": lambda space, seed: GaussianProcess(space, seed, initial=5),
    "gaussian process, short first": lambda space, seed: GaussianProcess(space, seed, (0.25, 1.0), initial=4),
    "gaussian process, scored": lambda space, seed: Told(
        GaussianProcess(space, seed, initial=5), scored([space.at(n) for n in range(min(20, space.size()))], arbitrary)
    ),
    "nsga2": lambda space, seed: Nsga2(space, seed, population=8),
    "reinforce": lambda space, seed: PolicyGradient(space, seed),
    "reinforce, lstm": lambda space, seed: PolicyGradient(space, seed, "LSTM", units=16),
    "ppo": lambda space, seed: PolicyGradient(space, seed, update="PPO", batch=5),
    "ppo, lstm": lambda space, seed: PolicyGradient(space, seed, "LSTM", "PPO", batch=5, units=16),
    "tree parzen": lambda space, seed: TreeParzen(space, seed, initial=5),
    "halving": lambda space, seed: Halving(Random(space, seed), (0.1, 0.3, 1.0)),
    "hyperband": lambda space, seed: Halving(Random(space, seed), (0.1, 0.3, 1.0), brackets=3),
    "halving of evolution": lambda space, seed: Halving(
        RegularizedEvolution(space, seed, population=8, sample=3), (0.25, 1.0), 2
    ),
    "halving of reinforce": lambda space, seed: Halving(PolicyGradient(space, seed), (0.1, 0.3, 1.0)),
    "hyperband of ppo": lambda space, seed: Halving(
        PolicyGradient(space, seed, update="PPO", batch=5), (0.1, 0.3, 1.0), brackets=2
    ),
    "halving of tree parzen": lambda space, seed: Halving(TreeParzen(space, seed, initial=5), (0.25, 1.0), 2),
}
UNSEEDED: dict[str, Make] = {"grid": lambda space, _seed: Grid(space)}
every_searcher = pytest.mark.parametrize("make", [*SEARCHERS.values(), *UNSEEDED.values()], ids=[*SEARCHERS, *UNSEEDED])
seeded = pytest.mark.parametrize("make", SEARCHERS.values(), ids=SEARCHERS.keys())


@every_searcher
@pytest.mark.parametrize("space", [TINY, CONDITIONAL], ids=["tiny", "conditional"])
def test_nothing_is_proposed_twice_and_a_space_comes_to_its_end(make: Make, space: Space) -> None:
    for seed in range(2):
        results = search(make(space, seed), arbitrary, trials=1000)
        assert {result.architecture for result in results} == {space.at(number) for number in range(space.size())}
        fidelities: dict[str, float] = {}
        for result in results:
            key = result.architecture.id
            assert fidelities.get(key, 0.0) < result.proposal.fidelity
            fidelities[key] = result.proposal.fidelity
        assert set(fidelities.values()) == {1.0}, "a budget that is left is spent on full trainings"
        assert make(space, seed).ask(evidence(results)) is None


@every_searcher
def test_what_is_pending_is_not_proposed_again(make: Make) -> None:
    everything = [TINY.at(number) for number in range(6)]
    for left in range(6):
        others = [one for number, one in enumerate(everything) if number != left]
        results = [judged(Proposal(one), lambda _: 0.5) for one in others[:2]]
        found = make(TINY, 3).ask(evidence(results, pending=[Proposal(one) for one in others[2:]]))
        assert found is not None
        assert found.architecture == everything[left]


@seeded
@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES.keys())
def test_a_proposal_follows_from_seed_and_evidence_alone(make: Make, space: Space) -> None:
    trials = 16
    results = search(make(space, 7), arbitrary, trials)
    proposals = [result.proposal for result in results]
    again = make(space, 7)
    # In any order, by a searcher that was asked something else before, and by one that was asked nothing.
    for number in (trials - 1, 3, 10, trials - 1):
        assert again.ask(evidence(results[:number])) == proposals[number]
        assert make(space, 7).ask(evidence(results[:number])) == proposals[number]
    assert [result.proposal for result in search(make(space, 8), arbitrary, trials)] != proposals


@every_searcher
def test_asynchronous_workers_never_get_the_same_work(make: Make) -> None:
    searcher, space = make(NB201, 1), NB201
    results: list[Result] = []
    pending: list[Proposal] = []
    given: set[tuple[str, float]] = set()
    rng = np.random.default_rng(0)
    for _ in range(60):
        while len(pending) < 4:
            proposal = searcher.ask(evidence(results, pending))
            assert proposal is not None
            key = (proposal.architecture.id, proposal.fidelity)
            assert key not in given
            assert space.architecture(proposal.architecture.values) == proposal.architecture
            given.add(key)
            pending.append(proposal)
        done = pending.pop(int(rng.integers(len(pending))))
        results.append(judged(done, smooth))


@every_searcher
def test_failures_alone_never_make_a_searcher_wait(make: Make) -> None:
    results = search(make(NB201, 0), lambda _: None, trials=60)
    assert len(results) == 60
    assert len({(result.architecture, result.proposal.fidelity) for result in results}) == 60


@every_searcher
def test_results_beyond_a_limit_are_evidence_and_no_reason_to_stop(make: Make) -> None:
    searcher = make(NB201, 2)
    results: list[Result] = []
    for _ in range(60):
        proposal = searcher.ask(evidence(results))
        assert proposal is not None
        beyond = (price(proposal.architecture) - 20) / 20
        scores = None if beyond > 0 else (smooth(proposal.architecture),)
        results.append(Result(proposal, scores, (beyond,), seconds=1.0))
    assert len(results) == 60
    assert all(result.value is None for result in results if result.excess[0] > 0)


LEARNING = {name: make for name, make in SEARCHERS.items() if name not in {"random", "halving", "hyperband"}}


@pytest.mark.parametrize("make", LEARNING.values(), ids=LEARNING.keys())
def test_it_finds_more_than_random_search_at_equal_cost(make: Make) -> None:
    """Cost counts by fidelity. The objective is the same at every fidelity: a short training says all there is."""

    def best(searcher: Searcher) -> float:
        results: list[Result] = []
        cost = 0.0
        while cost < 40:
            proposal = searcher.ask(evidence(results))
            assert proposal is not None
            cost += proposal.fidelity
            results.append(judged(proposal, smooth))
        return max(result.value or 0.0 for result in results if result.proposal.fidelity == 1)

    gain = np.mean([best(make(NB201, seed)) - best(Random(NB201, seed)) for seed in range(6)])
    assert gain > 0


LIMITED = ["evolution", "local search", "gaussian process", "nsga2", "reinforce", "tree parzen"]


@pytest.mark.parametrize("name", LIMITED)
def test_it_learns_to_keep_a_limit(name: str) -> None:
    """Of random architectures one in six keeps it."""
    kept = []
    for seed in range(4):
        searcher = SEARCHERS[name](NB201, seed)
        results: list[Result] = []
        for _ in range(60):
            proposal = searcher.ask(evidence(results))
            assert proposal is not None
            beyond = (price(proposal.architecture) - 9) / 9
            scores = None if beyond > 0 else (smooth(proposal.architecture),)
            results.append(Result(proposal, scores, (beyond,)))
        kept.append(np.mean([result.feasible for result in results[30:]]))
    chance = np.mean([price(NB201.at(number)) <= 9 for number in range(0, NB201.size(), 7)])
    assert np.mean(kept) > chance + 0.2
