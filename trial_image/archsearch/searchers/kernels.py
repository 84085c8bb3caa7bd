"""Distances between architectures, and the covariance that a Gaussian process makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from archsearch.spaces import Architecture, Space

Matrix = NDArray[np.float64]

HASHED: Final = 512
"""Columns that chains are hashed to: there can be millions of different ones."""

MOST: Final = 8
"""Times that a chain counts."""


@dataclass
class Features:
    """Architectures as rows of two binary matrices, remembered by id: what they hold, and what they compute."""

    space: Space
    _rows: dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]] = field(default_factory=dict)

    def of(self, architectures: Sequence[Architecture]) -> Rows:
        """The rows of these architectures, in order."""
        found = [self._row(architecture) for architecture in architectures]
        width = sum(len(choice.options) for choice in self.space.choices)
        held = np.array([row for row, _ in found], dtype=np.float32).reshape(len(found), width)
        return Rows(held, np.array([row for _, row in found], dtype=np.float32).reshape(len(found), HASHED))

    def _row(self, architecture: Architecture) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        key = architecture.id
        if key not in self._rows:
            chains = np.zeros(HASHED, dtype=np.float32)
            for chain, count in self.space.chains(architecture).items():
                # A chain that is there twice is two features, of which one is common with a single one.
                chains[[crc32(f"{chain}#{at}".encode()) % HASHED for at in range(min(count, MOST))]] = 1
            self._rows[key] = self.space.one_hot(architecture).astype(np.float32), chains
        return self._rows[key]


@dataclass(frozen=True)
class Rows:
    """held: (n, options), 1 for each option that is held; chains: (n, HASHED), 1 for each chain of operations.

    scores: (n, scores), of networks at initialisation; None where there are none.
    """

    held: NDArray[np.float32]
    chains: NDArray[np.float32]
    scores: Matrix | None = None

    def __len__(self) -> int:
        return len(self.held)


@dataclass(frozen=True)
class Distances:
    """Between two sets of architectures: the share of choices, and of chains, that they do not have in common, and the
    mean squared difference of their scores where they have some."""

    choices: Matrix
    chains: Matrix
    scores: Matrix | None = None

    def __getitem__(self, index: tuple[slice, slice]) -> Distances:
        scores = None if self.scores is None else self.scores[index]
        return Distances(self.choices[index], self.chains[index], scores)


def distances(first: Rows, second: Rows) -> Distances:
    """All pairs, (n, m): 0 between equal ones, 1 where nothing is in common."""
    scores = None
    if first.scores is not None and second.scores is not None:
        scores = np.zeros((len(first), len(second)))
        for one, other in zip(first.scores.T, second.scores.T, strict=True):
            scores += (one[:, None] - other[None, :]) ** 2 / first.scores.shape[1]
    return Distances(_apart(first.held, second.held), _apart(first.chains, second.chains), scores)


def _apart(first: NDArray[np.float32], second: NDArray[np.float32]) -> Matrix:
    """One minus twice what is shared over what both have together (the Dice distance); 0 where both have nothing."""
    total = first.sum(1)[:, None] + second.sum(1)[None, :]
    shared = first @ second.T
    return np.asarray(np.where(total > 0, 1 - 2 * shared / np.maximum(total, 1), 0), dtype=np.float64)


@dataclass(frozen=True)
class Hyperparameters:
    """Of the covariance `choices_share exp(-d_choices / choices_length) + (1 - choices_share) exp(-d_chains /
    chains_length)` of one fidelity; between two fidelities it is multiplied by `trust` for each step between them.

    noise: variance of an observation that is no property of the architecture.
    scores_share: of the covariance that is `exp(-d_scores / scores_length)` instead; 0 where there are no scores.
    """

    choices_length: float = 0.5
    chains_length: float = 0.5
    choices_share: float = 0.5
    trust: float = 0.9
    noise: float = 0.02
    scores_share: float = 0.0
    scores_length: float = 2.0

    def varied(self, rng: np.random.Generator) -> Hyperparameters:
        """Others nearby: scales by a factor, shares by a step on the logistic scale."""
        factor = np.exp(rng.normal(0, 0.7, 3))
        found = Hyperparameters(
            choices_length=float(np.clip(self.choices_length * factor[0], 0.05, 5)),
            chains_length=float(np.clip(self.chains_length * factor[1], 0.05, 5)),
            choices_share=_shifted(self.choices_share, rng.normal(0, 1.0), 0.02, 0.98),
            trust=_shifted(self.trust, rng.normal(0, 1.0), 0.1, 0.995),
            noise=float(np.clip(self.noise * factor[2], 1e-3, 0.5)),
        )
        if not self.scores_share:
            return found
        return replace(
            found,
            scores_share=_shifted(self.scores_share, rng.normal(0, 1.0), 0.02, 0.98),
            scores_length=float(np.clip(self.scores_length * np.exp(rng.normal(0, 0.7)), 0.1, 20)),
        )


def covariance(apart: Distances, steps: Matrix, given: Hyperparameters) -> Matrix:
    """Of the noiseless values at all pairs, with unit variance. steps: fidelities between the two of each pair."""
    structural = given.choices_share * np.exp(-apart.choices / given.choices_length)
    structural += (1 - given.choices_share) * np.exp(-apart.chains / given.chains_length)
    if given.scores_share and apart.scores is not None:
        structural *= 1 - given.scores_share
        structural += given.scores_share * np.exp(-apart.scores / given.scores_length)
    return np.asarray(structural * given.trust**steps)


def _shifted(share: float, step: float, low: float, high: float) -> float:
    logit = np.log(share / (1 - share)) + step
    return float(np.clip(1 / (1 + np.exp(-logit)), low, high))
