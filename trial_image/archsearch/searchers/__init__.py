"""Searchers that propose architectures for trials: one module an algorithm, and this table of them."""

from __future__ import annotations

from archsearch.api.algorithm import Algorithm, RandomSearch
from archsearch.api.algorithm import RegularizedEvolution as EvolutionSettings
from archsearch.searchers.base import Evidence, Proposal, Result, Searcher
from archsearch.searchers.evolution import RegularizedEvolution
from archsearch.searchers.random import Random
from archsearch.spaces import Space

__all__ = ["Evidence", "Proposal", "Random", "RegularizedEvolution", "Result", "Searcher", "searcher_of"]


def searcher_of(algorithm: Algorithm, space: Space, seed: int) -> Searcher | None:
    """The searcher of an algorithm; None for one that searches inside its trials, such as DARTS."""
    settings = algorithm.member[1]
    if isinstance(settings, RandomSearch):
        return Random(space, seed)
    if isinstance(settings, EvolutionSettings):
        return RegularizedEvolution(space, seed, population=settings.population, sample=settings.sample)
    return None
