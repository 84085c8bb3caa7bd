"""Successive halving and Hyperband: who goes on, and how many start where."""

from __future__ import annotations

from collections import Counter

import pytest
from objectives import NB201, arbitrary, evidence, judged

from archsearch.searchers import Evidence, Halving, Proposal, Random, Result
from archsearch.searchers.halving import _configurations


def test_exactly_the_best_third_of_a_rung_goes_on() -> None:
    searcher = Halving(Random(NB201, 0), (1 / 9, 1 / 3, 1.0), 3)
    results: list[Result] = []
    for _ in range(120):
        proposal = searcher.ask(evidence(results))
        assert proposal is not None
        results.append(judged(proposal, arbitrary))
    for at, result in enumerate(results):
        if (fidelity := result.proposal.fidelity) == 1 / 9:
            continue
        below = fidelity / 3
        then = [r for r in results[:at] if r.proposal.fidelity == pytest.approx(below)]
        ranked = sorted((arbitrary(r.architecture) for r in then), reverse=True)
        assert ranked.index(arbitrary(result.architecture)) < len(then) // 3
    counts = Counter(result.proposal.fidelity for result in results)
    # Asynchronous: the third changes as results come in, and whoever was in it once has gone on.
    assert counts[1 / 9] // 3 <= counts[1 / 3] < counts[1 / 9] * 0.5
    assert counts[1 / 3] // 3 <= counts[1.0] < counts[1 / 3] * 0.5


def test_a_straggler_holds_up_no_one() -> None:
    searcher = Halving(Random(NB201, 0), (0.5, 1.0), 2)
    slow = Proposal(NB201.at(0), 0.5)
    results = [Result(Proposal(NB201.at(at), 0.5), (float(at),)) for at in (1, 2)]
    assert searcher.ask(evidence(results, [slow])) == Proposal(NB201.at(2), 1.0)


def test_failures_count_as_tried() -> None:
    searcher = Halving(Random(NB201, 0), (0.5, 1.0), 2)
    results = [Result(Proposal(NB201.at(1), 0.5), (1.0,)), Result(Proposal(NB201.at(2), 0.5), None)]
    assert searcher.ask(evidence(results)) == Proposal(NB201.at(1), 1.0)


class Listening(Random):
    """Random search that says what it was told."""

    def ask(self, evidence: Evidence) -> Proposal | None:
        """As random search."""
        object.__setattr__(self, "told", list(evidence.results))
        return super().ask(evidence)


def test_the_searcher_is_told_of_each_what_became_of_its_longest_training() -> None:
    """Once each, as of full trainings; a failure too, although a shorter training of the same had a value."""
    better, failed, short, dead = (NB201.at(number) for number in (1, 2, 3, 4))
    results = [
        Result(Proposal(better, 0.5), (2.0,)),
        Result(Proposal(failed, 0.5), (1.5,)),
        Result(Proposal(dead, 0.5), None),
        Result(Proposal(short, 0.5), (1.0,)),
        Result(Proposal(failed), None),
        Result(Proposal(better), (3.0,)),
    ]
    searcher = Listening(NB201, 0)
    found = Halving(searcher, (0.5, 1.0), 2).ask(evidence(results))
    assert searcher.told == [  # type: ignore[attr-defined]
        Result(Proposal(better), (3.0,)), Result(Proposal(failed), None), Result(Proposal(dead), None),
        Result(Proposal(short), (1.0,)),
    ]  # fmt: skip
    assert found is not None
    assert found.fidelity == 0.5


def test_the_brackets_have_the_configurations_of_the_published_table() -> None:
    """Li et al. (2018), table 1: R = 81, eta = 3."""
    assert [_configurations(s, 5, 3) for s in (4, 3, 2, 1, 0)] == [81, 34, 15, 8, 5]
    searcher = Halving(Random(NB201, 0), tuple(3.0**-s for s in (4, 3, 2, 1, 0)), 3, brackets=5)
    assert Counter(searcher.bracket(index) for index in range(143)) == {0: 81, 1: 34, 2: 15, 3: 8, 4: 5}


@pytest.mark.parametrize(
    ("fidelities", "brackets", "said"),
    [
        ((0.5, 0.2, 1.0), 1, "must ascend to 1"),
        ((0.5,), 1, "must ascend to 1"),
        ((0.5, 1.0), 3, "from 1 to 2, but got 3"),
    ],
)
def test_what_makes_no_ladder_is_refused(fidelities: tuple[float, ...], brackets: int, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Halving(Random(NB201, 0), fidelities, 3, brackets)
