"""Asynchronous successive halving (ASHA, Li et al. 2020) and Hyperband (Li et al. 2018), on top of any searcher."""

from __future__ import annotations

from dataclasses import dataclass, replace

from archsearch.searchers.base import Evidence, Proposal, Result, Searcher, check_fidelities


@dataclass(frozen=True)
class Halving:
    """Trains many for a short time, and the best of them for longer.

    searcher: proposes the architectures. It is told of each what it has reached at its largest fidelity, as if that
    were the full one.
    fidelities: shares of the full training, ascending to 1: the rungs. reduction: one in so many of a rung goes on.
    brackets: rungs at which architectures start, from the lowest on; 1 is successive halving. Architectures are spread
    over the brackets so that all brackets cost about the same, as Hyperband's do.
    Raises ValueError for more brackets than rungs, or fidelities that do not ascend to 1.
    """

    searcher: Searcher
    fidelities: tuple[float, ...]
    reduction: int = 3
    brackets: int = 1

    def __post_init__(self) -> None:
        check_fidelities(self.fidelities)
        if not 1 <= self.brackets <= len(self.fidelities):
            raise ValueError(f"brackets must be from 1 to {len(self.fidelities)}, but got {self.brackets}")

    def ask(self, evidence: Evidence) -> Proposal | None:
        """The best of the highest rung that deserves more training, or a new architecture at the bottom of a bracket.

        Where nothing deserves more and the searcher has no other architecture, the best that waits goes on all the
        same: a budget that is left is better spent.
        """
        if (further := self._promotion(evidence, strict=True)) is not None:
            return further
        highest: dict[str, Result] = {}
        for result in evidence.results:
            before = highest.get(result.architecture.id)
            if before is None or result.proposal.fidelity > before.proposal.fidelity:
                highest[result.architecture.id] = result
        told = [replace(result, proposal=Proposal(result.architecture)) for result in highest.values()]
        new = self.searcher.ask(replace(evidence, results=told))
        if new is None:
            return self._promotion(evidence, strict=False)
        return Proposal(new.architecture, self.fidelities[self.bracket(evidence.index)])

    def bracket(self, index: int) -> int:
        """The rung at which proposal `index` starts: it follows from the number alone, in Hyperband's proportions."""
        highest = len(self.fidelities) - 1
        counts = [_configurations(highest - rung, self.brackets, self.reduction) for rung in range(self.brackets)]
        place = index % sum(counts)
        for rung, count in enumerate(counts):
            if place < count:
                return rung
            place -= count
        raise AssertionError("a place is below the sum of all counts")

    def _promotion(self, evidence: Evidence, *, strict: bool) -> Proposal | None:
        for rung in range(len(self.fidelities) - 2, -1, -1):
            fidelity = self.fidelities[rung]
            done = [r for r in evidence.results if r.proposal.fidelity == fidelity]
            valued = sorted((r for r in done if r.value is not None), key=_value, reverse=True)
            # Failures have been tried as well: of three, of which two failed, the one that is left goes on.
            deserving = valued[: len(done) // self.reduction] if strict else valued
            for result in deserving:
                if evidence.proposed[result.architecture.id] == fidelity:
                    return Proposal(result.architecture, self.fidelities[rung + 1])
        return None


def _configurations(halvings: int, brackets: int, reduction: int) -> int:
    """Configurations that start in a bracket with so many halvings before the full training (Li et al. 2018,
    algorithm 1)."""
    # Integers: a power of a float is a hair too large, and rounds up to one more.
    return -(-brackets * int(reduction**halvings) // (halvings + 1))


def _value(result: Result) -> float:
    assert result.value is not None  # noqa: S101 - only results with a value are compared
    return result.value
