"""Searchers that propose architectures for trials: one module an algorithm, and this table of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from archsearch.api.evaluation import Halving as HalvingSettings
from archsearch.api.search import ArchitectureSearchSpec
from archsearch.searchers.base import Evidence, Proposal, Result, Searcher, Untrained
from archsearch.searchers.evolution import RegularizedEvolution
from archsearch.searchers.gaussian_process import GaussianProcess
from archsearch.searchers.goals import searched_objectives
from archsearch.searchers.grid import Grid
from archsearch.searchers.halving import Halving
from archsearch.searchers.local_search import LocalSearch
from archsearch.searchers.nsga2 import Nsga2
from archsearch.searchers.optuna import TreeParzen
from archsearch.searchers.policy import PolicyGradient
from archsearch.searchers.random import Random
from archsearch.spaces import Space, space_of

__all__ = [
    "SEARCHERS", "Evidence", "GaussianProcess", "Grid", "Halving", "LocalSearch", "Nsga2", "PolicyGradient", "Proposal",
    "Random", "RegularizedEvolution", "Result", "Searcher", "TreeParzen", "Untrained", "searcher_of",
]  # fmt: skip

Make = Callable[[Any, Space, ArchitectureSearchSpec], Searcher]
"""A searcher from an algorithm's settings, the space, and the spec for what else it must know."""

SEARCHERS: Final[dict[str, Make]] = {
    "grid": lambda _settings, space, _spec: Grid(space),
    "random": lambda _settings, space, spec: Random(space, spec.seed),
    "regularizedEvolution": lambda settings, space, spec: RegularizedEvolution(
        space, spec.seed, population=settings.population, sample=settings.sample
    ),
    "localSearch": lambda settings, space, spec: LocalSearch(space, spec.seed, initial=settings.initial),
    "nsga2": lambda settings, space, spec: Nsga2(
        space, spec.seed, population=settings.population, crossover=float(settings.crossover)
    ),
    "gaussianProcess": lambda settings, space, spec: GaussianProcess(
        space,
        spec.seed,
        fidelities=(1.0,) if _halving(spec) or spec.evaluation is None else spec.evaluation.fidelities,
        initial=settings.initial,
        objectives=len(searched_objectives(spec)),
        cost_aware=settings.cost_aware,
    ),
    "policyGradient": lambda settings, space, spec: PolicyGradient(
        space,
        spec.seed,
        controller=settings.controller,
        update=settings.update,
        learning_rate=None if settings.learning_rate is None else float(settings.learning_rate),
        baseline_decay=float(settings.baseline_decay),
        entropy_weight=float(settings.entropy_weight),
        batch=settings.batch,
    ),
    "treeParzen": lambda settings, space, spec: TreeParzen(
        space, spec.seed, initial=settings.initial, objectives=len(searched_objectives(spec))
    ),
}
"""The searcher of each algorithm that proposes architectures to trials."""


def searcher_of(spec: ArchitectureSearchSpec) -> Searcher:
    """The searcher of a resolved spec whose algorithm proposes architectures."""
    assert spec.algorithm is not None  # noqa: S101 - the spec is resolved
    assert spec.space is not None  # noqa: S101
    name, settings = spec.algorithm.member
    searcher = SEARCHERS[name](settings, space_of(spec.space), spec)
    if (halving := _halving(spec)) is None or spec.evaluation is None:
        return searcher
    fidelities = spec.evaluation.fidelities
    return Halving(searcher, fidelities, halving.reduction, min(halving.brackets, len(fidelities)))


def _halving(spec: ArchitectureSearchSpec) -> HalvingSettings | None:
    train = spec.evaluation.train if spec.evaluation else None
    return train.halving if train else None
