"""Local search (White et al. 2021, UAI): go to the first neighbour that is better; where none is, go on elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from archsearch.searchers.base import Evidence, Proposal, generator
from archsearch.searchers.random import draw
from archsearch.spaces import Space

NEIGHBOURS: Final = 200
"""Mutations that are drawn to find a neighbour that was not proposed; then the next best architecture is left from."""


@dataclass(frozen=True)
class LocalSearch:
    """Proposes neighbours of the best architecture whose neighbours are not used up.

    As soon as one is better it is gone on from, because it is the best then. In an optimum all neighbours come to be
    evaluated, and the best of the others is left from.
    initial: random architectures at the start, of which the best is the first to be left from.
    """

    space: Space
    seed: int
    initial: int = 10

    def ask(self, evidence: Evidence) -> Proposal | None:
        """A random architecture at the start, then a neighbour of the best that has one left."""
        rng = generator(self.seed, evidence.index)
        if len(evidence.proposed) < self.initial:
            return draw(self.space, rng, evidence.proposed)
        useful = [(result.value, -at) for at, result in enumerate(evidence.results) if result.value is not None]
        for _, at in sorted(useful, reverse=True):
            parent = evidence.results[-at].architecture
            for _ in range(NEIGHBOURS):
                child = self.space.mutate(parent, rng)
                if child.id not in evidence.proposed:
                    return Proposal(child)
        return draw(self.space, rng, evidence.proposed)
