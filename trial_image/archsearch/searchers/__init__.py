"""Searchers that propose architectures for trials: one module an algorithm, and this table of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from archsearch.api.search import ArchitectureSearchSpec
from archsearch.searchers.base import Evidence, Proposal, Result, Searcher
from archsearch.searchers.evolution import RegularizedEvolution
from archsearch.searchers.gaussian_process import GaussianProcess
from archsearch.searchers.local_search import LocalSearch
from archsearch.searchers.random import Random
from archsearch.spaces import Space, space_of

__all__ = [
    "Evidence", "GaussianProcess", "LocalSearch", "Proposal", "Random", "RegularizedEvolution", "Result", "Searcher",
    "searcher_of",
]  # fmt: skip

Make = Callable[[Any, Space, ArchitectureSearchSpec], Searcher]
"""A searcher from an algorithm's settings, the space, and the spec for what else it must know."""

SEARCHERS: Final[dict[str, Make]] = {
    "random": lambda _settings, space, spec: Random(space, spec.seed),
    "regularizedEvolution": lambda settings, space, spec: RegularizedEvolution(
        space, spec.seed, population=settings.population, sample=settings.sample
    ),
    "localSearch": lambda settings, space, spec: LocalSearch(space, spec.seed, initial=settings.initial),
    "gaussianProcess": lambda settings, space, spec: GaussianProcess(
        space,
        spec.seed,
        fidelities=spec.evaluation.fidelities if spec.evaluation else (1.0,),
        initial=settings.initial,
        objectives=len(spec.objectives or ()) or 1,
        cost_aware=settings.cost_aware,
    ),
}
"""The searcher of each algorithm that proposes architectures to trials."""


def searcher_of(spec: ArchitectureSearchSpec) -> Searcher:
    """The searcher of a resolved spec whose algorithm proposes architectures."""
    assert spec.algorithm is not None  # noqa: S101 - the spec is resolved
    assert spec.space is not None  # noqa: S101
    name, settings = spec.algorithm.member
    return SEARCHERS[name](settings, space_of(spec.space), spec)
