"""Random search: uniform over the space, without repetition. The baseline of every other searcher."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from archsearch.searchers.base import Evidence, Proposal, generator
from archsearch.spaces import Space

DRAWS = 1000
"""Draws before a space is taken for nearly used up, and searched in order instead."""


@dataclass(frozen=True)
class Random:
    """Architectures drawn uniformly from `space`, none twice."""

    space: Space
    seed: int

    def ask(self, evidence: Evidence) -> Proposal | None:
        """A new architecture; None once every architecture of the space was proposed."""
        return draw(self.space, generator(self.seed, evidence.index), evidence.proposed)


def draw(space: Space, rng: np.random.Generator, proposed: Mapping[str, object]) -> Proposal | None:
    """An architecture that was not proposed, uniform among those left; None when there is none."""
    if len(proposed) >= space.size():
        return None
    for _ in range(DRAWS):
        candidate = space.sample(rng)
        if candidate.id not in proposed:
            return Proposal(candidate)
    # A thousand repetitions in a row: fewer than one in a hundred is left, so that the rest can be listed. In a space
    # too large to list that cannot happen before budgets end: 100,000 trials are the most that a search may have.
    left = [number for number, identifier in enumerate(space.ids) if identifier not in proposed]
    return Proposal(space.at(left[int(rng.integers(len(left)))])) if left else None
