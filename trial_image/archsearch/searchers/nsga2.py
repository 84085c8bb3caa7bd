"""NSGA-II (Deb et al. 2002): evolution of a whole front, with crossover, mutation and limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from archsearch.searchers.base import Evidence, Proposal, Result, generator
from archsearch.searchers.pareto import crowding, fronts
from archsearch.searchers.random import draw
from archsearch.spaces import Architecture, Space

ATTEMPTS: Final = 100
"""Attempts at a child that was not proposed before; each further one mutates the last again."""
REMEMBERED: Final = 4
"""Times the population of latest results, and of the best so far, that survivors are chosen from."""


@dataclass(frozen=True)
class Nsga2:
    """Evolves a population of survivors, one child at a time: whoever asks need not wait for a generation.

    The survivors of each result are the `population` best of those before and it, by front and then by crowding.
    Those beyond a limit come after all others, the nearer to it the better (Deb et al. 2002, section VI).
    crossover: the chance that a child has two parents.
    """

    space: Space
    seed: int
    population: int = 30
    crossover: float = 0.9

    def ask(self, evidence: Evidence) -> Proposal | None:
        """A random architecture while the first population is made, then a child of tournaments' winners."""
        rng = generator(self.seed, evidence.index)
        alive = survivors(evidence.results, self.population)
        if evidence.index < self.population or len(alive) < 2:
            return draw(self.space, rng, evidence.proposed)
        child = self._child(alive, rng)
        for _ in range(ATTEMPTS):
            if child.id not in evidence.proposed:
                return Proposal(child)
            child = self.space.mutate(child, rng)
        return draw(self.space, rng, evidence.proposed)

    def _child(self, alive: Sequence[Result], rng: np.random.Generator) -> Architecture:
        """Survivors are in order, so that the winner of a tournament of two is the one that comes first."""

        def parent() -> Architecture:
            return alive[int(rng.integers(len(alive), size=2).min())].architecture

        first, second = parent(), parent()
        child = self.space.crossover(first, second, rng) if rng.random() < self.crossover else first
        # A child that is one of its parents is no news.
        return self.space.mutate(child, rng)


def survivors(results: Sequence[Result], population: int) -> list[Result]:
    """The best results, best first, without those of which nothing is known."""
    useful = [at for at, result in enumerate(results) if result.scores is not None or _beyond(result) > 0]
    kept: list[int] = []
    step = population * REMEMBERED
    # In blocks: what was dominated by so many before is dominated still.
    for start in range(0, len(useful), step):
        block = kept + useful[start : start + step]
        kept = [block[at] for at in ranked([results[at] for at in block])[:population]]
    return [results[at] for at in kept]


def ranked(results: Sequence[Result]) -> list[int]:
    """Positions of the results, best first: by front and crowding, then those beyond a limit by how far they are."""
    feasible = [result.feasible for result in results]
    kept = [at for at, keeps in enumerate(feasible) if keeps]
    beyond = sorted((at for at, keeps in enumerate(feasible) if not keeps), key=lambda at: _beyond(results[at]))
    if not kept:
        return beyond
    points = np.array([results[at].scores for at in kept], dtype=np.float64)
    front = fronts(points)
    order: list[int] = []
    for mine in np.split(np.argsort(front, kind="stable"), np.cumsum(np.bincount(front))[:-1]):
        # One or two are the ends of their front, and no neighbour is nearer than another.
        spread = mine if len(mine) <= 2 else mine[np.argsort(-crowding(points[mine]), kind="stable")]
        order += [kept[at] for at in spread]
    return order + beyond


def _beyond(result: Result) -> float:
    """By how much all limits together are broken; infinite where nothing is known of a failure."""
    broken = [part for part in result.excess if part is not None and part > 0]
    return sum(broken) if broken else float("inf") if result.scores is None else 0.0
