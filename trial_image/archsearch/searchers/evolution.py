"""Regularised evolution (Real et al. 2019, AAAI, algorithm 1): mutate the best of a sample, forget the oldest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from archsearch.searchers.base import Evidence, Proposal, Result, generator
from archsearch.searchers.random import draw
from archsearch.spaces import Space

MUTATIONS = 100
"""Attempts at a child that was not proposed before; each further attempt mutates the last one again."""


@dataclass(frozen=True)
class RegularizedEvolution:
    """Ageing evolution over a discrete space.

    population: architectures alive at once; sample: size of the tournament.
    The population is the latest `population` results that have a value: a failure is born dead and displaces no one.
    Raises ValueError if sample > population.
    """

    space: Space
    seed: int
    population: int = 30
    sample: int = 10

    def __post_init__(self) -> None:
        if self.sample > self.population:
            raise ValueError(f"sample must not be greater than population ({self.population}), but got {self.sample=}")

    def ask(self, evidence: Evidence) -> Proposal | None:
        """A random architecture while the first population is made, then a mutation of a tournament's winner."""
        rng = generator(self.seed, evidence.index)
        alive = latest(evidence.results, self.population)
        if evidence.index < self.population or not alive:
            return draw(self.space, rng, evidence.proposed)
        # The paper draws with replacement; with fewer alive than the sample asks for that is also the only way.
        contenders = [alive[int(position)] for position in rng.integers(len(alive), size=self.sample)]
        child = max(contenders, key=_value).architecture
        for _ in range(MUTATIONS):
            child = self.space.mutate(child, rng)
            if child.id not in evidence.proposed:
                return Proposal(child)
        return draw(self.space, rng, evidence.proposed)


def latest(results: Sequence[Result], count: int) -> list[Result]:
    """The last `count` results that have a value, oldest first."""
    found: list[Result] = []
    for position in range(len(results) - 1, -1, -1):
        if results[position].value is not None:
            found.append(results[position])
            if len(found) == count:
                break
    return found[::-1]


def _value(result: Result) -> float:
    assert result.value is not None  # noqa: S101 - `latest` keeps only results that have one
    return result.value
