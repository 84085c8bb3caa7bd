"""Scores at initialisation as columns of numbers that architectures can be compared by, also those without a score."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist
from typing import Final

import numpy as np

from archsearch.searchers.base import Untrained
from archsearch.searchers.kernels import Hyperparameters, Matrix, Rows, covariance, distances

STRUCTURE: Final = Hyperparameters()
"""What a score is guessed with where it is not known."""


class Columns:
    """One column for each score: the normal quantile of its rank among the architectures that were scored.

    A score's own scale says nothing; orders of magnitude may lie between two. Where an architecture has no score the
    column is what a Gaussian process over the structure expects of it.
    untrained: those that were scored; rows: theirs, in the same order.
    """

    def __init__(self, untrained: Sequence[Untrained], rows: Rows) -> None:
        self._rows = rows
        names = sorted({name for one in untrained for name in one.scores})
        self._known = np.full((len(untrained), len(names)), np.nan)
        self._weights = np.zeros_like(self._known)
        self._at = {one.architecture.id: at for at, one in enumerate(untrained)}
        matrix = self._near(rows)
        matrix[np.diag_indices_from(matrix)] += STRUCTURE.noise
        for column, name in enumerate(names):
            has = np.array([at for at, one in enumerate(untrained) if name in one.scores])
            self._known[has, column] = quantiles(np.array([untrained[at].scores[name] for at in has]))
            self._weights[has, column] = np.linalg.solve(matrix[np.ix_(has, has)], self._known[has, column])

    def of(self, keys: Sequence[str], rows: Rows) -> Matrix:
        """(n, scores), for the architectures with these ids and rows."""
        found = self._near(rows) @ self._weights
        scored = [place for place, key in enumerate(keys) if key in self._at]
        known = self._known[[self._at[keys[place]] for place in scored]]
        found[scored] = np.where(np.isnan(known), found[scored], known)
        return np.asarray(found, dtype=np.float64)

    def _near(self, rows: Rows) -> Matrix:
        apart = distances(rows, self._rows)
        return covariance(apart, np.zeros_like(apart.choices), STRUCTURE)


def quantiles(values: Matrix) -> Matrix:
    """The normal quantile of each value's rank; equal values share the mean of their ranks."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - counts / 2
    normal = NormalDist()
    return np.array([normal.inv_cdf(share) for share in middle / len(values)])[inverse]
