"""How likely an architecture keeps the limits, and how long its evaluation takes: learnt from results, linear."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from archsearch.searchers.base import Result

Matrix = NDArray[np.float64]

RIDGE: Final = 1e-2
ENOUGH: Final = 8
"""Measurements that a model is fitted to; below, nothing is said."""


class Limits:
    """Ridge regressions on what the architectures hold: parameters and operations are sums over choices, or nearly.

    held: (n, options), a row for each result.
    """

    def __init__(self, held: NDArray[np.float32], results: Sequence[Result]) -> None:
        count = max((len(result.excess) for result in results), default=0)
        self._excess = [
            model
            for at in range(count)
            if (model := _fit(held, [r.excess[at] if at < len(r.excess) else None for r in results])) is not None
        ]
        # What was trained for a tenth of the time took a tenth: the fidelity is taken out.
        took = [
            math.log(r.seconds / r.proposal.fidelity) if r.seconds and r.scores is not None else None for r in results
        ]
        self._seconds = _fit(held, took)

    def probability(self, held: NDArray[np.float32]) -> Matrix:
        """That every limit is kept, for each row."""
        likely = np.ones(len(held))
        for weights, deviation in self._excess:
            likely *= normal_cdf(-_predict(held, weights) / deviation)
        return likely

    def seconds(self, held: NDArray[np.float32]) -> Matrix:
        """Of a full evaluation, relative to the mean of these rows; 1 where nothing is known."""
        if self._seconds is None:
            return np.ones(len(held))
        predicted = np.exp(_predict(held, self._seconds[0]))
        return np.asarray(predicted / predicted.mean())


def normal_cdf(z: Matrix) -> Matrix:
    """The normal distribution's cumulative function."""
    return np.array([0.5 * math.erfc(-value / math.sqrt(2)) for value in z])


def _fit(held: NDArray[np.float32], values: Sequence[float | None]) -> tuple[Matrix, float] | None:
    """Weights, the last for a constant, and the deviation of what they leave; None with too few values."""
    known = [at for at, value in enumerate(values) if value is not None]
    if len(known) < ENOUGH:
        return None
    rows, target = _with_constant(held[known]), np.array([values[at] for at in known], dtype=np.float64)
    gram = rows.T @ rows + RIDGE * np.eye(rows.shape[1])
    weights = np.asarray(np.linalg.solve(gram, rows.T @ target), dtype=np.float64)
    # As many weights as values fit exactly, and would be believed too much.
    free = max(1, len(known) - np.linalg.matrix_rank(rows))
    deviation = math.sqrt(float(((rows @ weights - target) ** 2).sum()) / free)
    return weights, max(deviation, 1e-3 * float(np.abs(target).max()), 1e-9)


def _predict(held: NDArray[np.float32], weights: Matrix) -> Matrix:
    return np.asarray(_with_constant(held) @ weights)


def _with_constant(held: NDArray[np.float32]) -> Matrix:
    return np.hstack([held, np.ones((len(held), 1), dtype=np.float32)]).astype(np.float64)
