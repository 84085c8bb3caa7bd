"""Which of two results is better: objectives, constraints and the front of those that no other beats."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from archsearch.api.base import quantity
from archsearch.api.metrics import metric_key
from archsearch.api.search import Constraint, Objective
from archsearch.searchers.pareto import crowding, dominates

__all__ = ["Metrics", "dominates", "excess", "key_of", "score", "scores", "spread", "violation"]

Metrics = Mapping[str, float]


def key_of(objective: Objective | Constraint) -> str:
    """The name among a result's metrics."""
    return metric_key(objective.metric, objective.profile)


def score(objective: Objective, metrics: Metrics) -> float | None:
    """The objective's value turned so that larger is better; None where it was not measured."""
    value = metrics.get(key_of(objective))
    if value is None:
        return None
    return value if objective.goal == "Maximize" else -value


def violation(constraints: Sequence[Constraint], metrics: Metrics) -> str | None:
    """The first limit that measured metrics break, in words; a limit on what was not measured is not broken yet."""
    for constraint in constraints:
        value = metrics.get(key_of(constraint))
        if value is None:
            continue
        if constraint.max is not None and value > quantity(constraint.max):
            return f"{key_of(constraint)} must be at most {constraint.max}, but got {value:g}"
        if constraint.min is not None and value < quantity(constraint.min):
            return f"{key_of(constraint)} must be at least {constraint.min}, but got {value:g}"
    return None


def excess(constraints: Sequence[Constraint], metrics: Metrics) -> tuple[float | None, ...]:
    """By what share of each limit the value is beyond it, negative where it is kept; None where it was not measured."""
    return tuple(_beyond(constraint, metrics.get(key_of(constraint))) for constraint in constraints)


def _beyond(constraint: Constraint, value: float | None) -> float | None:
    if value is None:
        return None
    limits = [(sign, quantity(text)) for sign, text in ((1, constraint.max), (-1, constraint.min)) if text is not None]
    return max(sign * (value - limit) / (limit or 1.0) for sign, limit in limits)


def scores(objectives: Sequence[Objective], metrics: Metrics) -> tuple[float, ...]:
    """The scores in order of importance, minus infinity for what was not measured: tuples compare as results do."""
    values = (score(objective, metrics) for objective in objectives)
    return tuple(-math.inf if value is None else value for value in values)


def spread(points: Sequence[Sequence[float]], keep: int) -> list[int]:
    """Positions of the `keep` points with the largest crowding distance (Deb et al. 2002, NSGA-II), extremes first."""
    if len(points) <= keep:
        return list(range(len(points)))
    distance = crowding(np.array(points, dtype=np.float64))
    return sorted(sorted(range(len(points)), key=lambda position: -distance[position])[:keep])
