"""Bayesian optimisation with a Gaussian process over architectures, at several fidelities, with limits and costs.

The covariance is that of `kernels`: choices and chains of operations in common (Kandasamy et al. 2018 and White et
al. 2021 have structural distances of their own). The next proposal has the largest expected improvement at full
fidelity (Jones et al. 1998), over the cost of the step that it needs: an architecture that is new is trained at the
lowest fidelity first. Where architectures were scored at initialisation, two are alike whose scores are, too, and how
much that says is fitted with the rest.
"""

from __future__ import annotations

import math
from collections.abc import Container, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from archsearch.searchers.base import Evidence, Proposal, Result, Untrained, check_fidelities, generator
from archsearch.searchers.kernels import Distances, Features, Hyperparameters, Matrix, Rows, covariance, distances
from archsearch.searchers.limits import Limits, normal_cdf
from archsearch.searchers.random import draw
from archsearch.searchers.scores import Columns
from archsearch.spaces import Architecture, Space

MOST: Final = 400
"""Results that the process is conditioned on: the best and the latest; its cost grows with their cube."""
REFIT: Final = 5
"""Results between two fits of the hyperparameters."""
TRIED: Final = 24
"""Hyperparameters that a fit compares."""
PARENTS: Final = 10
MOST_STARTS: Final = 100
REFUSED: Final = 4
"""For each random architecture at the start so many more, at most, that turn out to be beyond a limit."""
MUTANTS: Final = 30
"""Mutations that are looked at of each parent; half as many of these are mutated once more."""
RANDOM: Final = 100
"""Random architectures that are looked at."""
COMPARED: Final = 10
"""Scored architectures of which the best is tried at the start."""
SCORES_SHARE: Final = 0.3
"""Of the covariance, where a fit begins."""
OFFSET: Final = 0.15
"""Of the warp, in deviations: differences among the best count most, and those smaller than this as noise."""


@dataclass(frozen=True)
class GaussianProcess:
    """Proposes what is expected to improve most on the best.

    fidelities: shares of the full training that may be asked for, ascending; the last is 1.
    initial: full trainings, or half of their cost in trainings at the lowest fidelity, that are spent on random
    architectures at the start. objectives: with more than one each proposal has weights of its own
    (ParEGO, Knowles 2006), so that all parts of the front are looked for.
    patience: how much likelier than the best new architecture one must be to improve before it is trained further.
    cost_aware: divide by the predicted duration, where results say how long they took.
    """

    space: Space
    seed: int
    fidelities: tuple[float, ...] = (1.0,)
    initial: int = 10
    objectives: int = 1
    patience: float = 1.0
    cost_aware: bool = True
    _features: Features = field(init=False, repr=False, compare=False)
    _fits: dict[tuple[int, str], Hyperparameters] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_fidelities(self.fidelities)
        object.__setattr__(self, "_features", Features(self.space))

    @property
    def starts(self) -> int:
        """Random architectures at the start."""
        lowest = self.fidelities[0]
        return self.initial if lowest == 1 else min(MOST_STARTS, max(self.initial, round(self.initial / lowest / 2)))

    def ask(self, evidence: Evidence) -> Proposal | None:
        """A random architecture at the start, by turns with one that has good scores where there are some; then the one
        that promises most for its cost."""
        rng = generator(self.seed, evidence.index)
        data = _Data(self, evidence.results, rng, [one for one in evidence.untrained if one.scores])
        # What is beyond a limit was not trained: it cost next to nothing, and says nothing of what is searched for.
        refused = sum(result.scores is None and result.beyond for result in evidence.results)
        started = len(evidence.proposed) - min(refused, REFUSED * self.starts)
        few = started < self.starts or len(data.results) < 2
        # Scores are worth something before any result is there; random ones in between show what else there is.
        if few and len(evidence.proposed) % 2 and (promising := data.promising(evidence.proposed)) is not None:
            return Proposal(promising, self.fidelities[0])
        # A space that is used up before has nothing new: what it has is trained further.
        if few and (drawn := draw(self.space, rng, evidence.proposed)) is not None:
            return Proposal(drawn.architecture, self.fidelities[0])
        further = self._promotable(evidence)
        fresh = self._pool(data, evidence, rng)
        if not fresh and (last := draw(self.space, rng, evidence.proposed)) is not None:
            fresh = [last.architecture]
        if not fresh and not further:
            return None
        known = [proposal.architecture for proposal in further]
        worth = self._worth(data, [*known, *fresh])
        worth[len(known) :] *= self.patience
        best = int(np.argmax(worth))
        return further[best] if best < len(known) else Proposal(fresh[best - len(known)], self.fidelities[0])

    def _promotable(self, evidence: Evidence) -> list[Proposal]:
        """The next step of every architecture that has a result, none beyond a limit, and no step under way."""
        found = []
        for result in evidence.results:
            at = result.proposal.fidelity
            if at < 1 and result.value is not None and evidence.proposed[result.architecture.id] == at:
                found.append(Proposal(result.architecture, self.fidelities[self.fidelities.index(at) + 1]))
        return found

    def _pool(self, data: _Data, evidence: Evidence, rng: np.random.Generator) -> list[Architecture]:
        """New architectures to choose from: mutations of the best, their mutations, random ones and scored ones."""
        found: dict[str, Architecture] = {}

        def add(architecture: Architecture) -> None:
            if architecture.id not in evidence.proposed:
                found.setdefault(architecture.id, architecture)

        for parent in data.best(PARENTS):
            for number in range(MUTANTS):
                child = self.space.mutate(parent, rng)
                add(child)
                if number % 2:
                    add(self.space.mutate(child, rng))
        for _ in range(RANDOM):
            add(self.space.sample(rng))
        for one in data.untrained:
            add(one.architecture)
        return list(found.values())

    def _worth(self, data: _Data, architectures: Sequence[Architecture]) -> Matrix:
        mean, deviation = data.posterior(architectures)
        improvement = expected_improvement(mean, deviation, data.incumbent)
        rows = self._features.of(architectures)
        likely = data.limits.probability(rows.held)
        worth = likely if data.incumbent is None else improvement * likely
        return worth / data.limits.seconds(rows.held) if self.cost_aware else worth

    def fit(self, data: _Data, count: int) -> Hyperparameters:
        """Those with the largest marginal likelihood among some that are drawn anew each time: the fit depends on the
        first `count` results alone, and not on the fits before it."""
        key = (count, data.key)
        if key not in self._fits:
            rng = np.random.default_rng([self.seed, count])
            middle = Hyperparameters(scores_share=SCORES_SHARE if data.untrained else 0.0)
            best, likelihood = middle, -math.inf
            for number in range(TRIED):
                # A wide net first, then around what it caught.
                tried = middle.varied(rng) if 0 < number <= TRIED // 2 else best.varied(rng)
                tried = middle if number == 0 else tried
                if (value := data.likelihood(tried, count)) > likelihood:
                    best, likelihood = tried, value
            self._fits[key] = best
        return self._fits[key]


@dataclass
class _Data:
    """The results that the process is conditioned on, warped, and their factorised covariance."""

    searcher: GaussianProcess
    told: Sequence[Result]
    rng: np.random.Generator
    untrained: Sequence[Untrained] = ()

    def __post_init__(self) -> None:
        useful = [result for result in self.told if result.scores is not None and result.feasible]
        weights = np.ones(1)
        if self.searcher.objectives > 1:
            weights = self.rng.dirichlet(np.ones(self.searcher.objectives))
        self.key = ",".join(f"{weight:.6f}" for weight in weights)
        self.values = _scalar(useful, weights)
        if len(useful) > MOST:
            latest, best = set(range(len(useful) - MOST // 2, len(useful))), np.argsort(-self.values)
            kept = sorted(latest | {int(at) for at in best[: MOST // 2]})
            useful, self.values = [useful[at] for at in kept], self.values[kept]
        self.results = useful
        levels = self.searcher.fidelities
        self.levels = np.array([levels.index(result.proposal.fidelity) for result in useful], dtype=np.int64)
        self.keys = [result.architecture.id for result in useful]
        self.warped = _warp(self.values, self.levels, self.keys)

    @cached_property
    def limits(self) -> Limits:
        """What is known of limits and durations."""
        rows = self.searcher._features.of([result.architecture for result in self.told])
        return Limits(rows.held, self.told)

    @cached_property
    def rows(self) -> Rows:
        """The features of their architectures."""
        return self.rows_of([result.architecture for result in self.results])

    def rows_of(self, architectures: Sequence[Architecture]) -> Rows:
        """The features of these architectures, with scores where there are some."""
        rows = self.searcher._features.of(architectures)
        if not self.untrained:
            return rows
        return replace(rows, scores=self._columns.of([one.id for one in architectures], rows))

    def promising(self, proposed: Container[str]) -> Architecture | None:
        """Of some new ones that were scored the best, each score being as good as another; None where none is new.

        Not the best of all: those at the top are like each other, and little is learnt from what is alike.
        """
        new = [one.architecture for one in self.untrained if one.architecture.id not in proposed]
        some = [new[at] for at in self.rng.permutation(len(new))[:COMPARED]]
        scores = self.rows_of(some).scores if some else None
        return None if scores is None else some[int(np.argmax(scores.mean(1)))]

    @cached_property
    def _columns(self) -> Columns:
        return Columns(self.untrained, self.searcher._features.of([one.architecture for one in self.untrained]))

    @cached_property
    def _apart(self) -> Distances:
        return distances(self.rows, self.rows)

    @cached_property
    def _steps(self) -> Matrix:
        return np.asarray(np.abs(self.levels[:, None] - self.levels[None, :]), dtype=np.float64)

    @property
    def incumbent(self) -> float | None:
        """The best expected value of what was trained longest; None where nothing was.

        Expected and not observed: the luckiest of many noisy values is one that hardly anything improves on.
        """
        if not len(self.levels):
            return None
        longest = np.flatnonzero(self.levels == self.levels.max())
        mean, _ = self.posterior([self.results[at].architecture for at in longest])
        return float(mean.max())

    def best(self, count: int) -> list[Architecture]:
        """The architectures of the best warped values, each once."""
        found: dict[str, Architecture] = {}
        for at in np.argsort(-self.warped, kind="stable"):
            found.setdefault(self.results[at].architecture.id, self.results[at].architecture)
            if len(found) == count:
                break
        return list(found.values())

    def likelihood(self, given: Hyperparameters, count: int) -> float:
        """The log marginal likelihood of the first `count` values, without its constant."""
        part = slice(0, count)
        warped = _warp(self.values[part], self.levels[part], self.keys[part])
        lower = _factor(self._apart[part, part], self._steps[part, part], given)
        half = _solve(lower, warped)
        return float(-half @ half / 2 - np.log(np.diag(lower)).sum())

    @cached_property
    def _fitted(self) -> tuple[Hyperparameters, Matrix, Matrix]:
        count = max(len(self.results) // REFIT * REFIT, min(len(self.results), REFIT))
        given = self.searcher.fit(self, count)
        lower = _factor(self._apart, self._steps, given)
        return given, lower, _solve(lower, self.warped)

    def posterior(self, architectures: Sequence[Architecture]) -> tuple[Matrix, Matrix]:
        """Mean and deviation of the noiseless warped value of each at full fidelity."""
        if not self.results:
            return np.zeros(len(architectures)), np.ones(len(architectures))
        given, lower, half = self._fitted
        apart = distances(self.rows, self.rows_of(architectures))
        below = (len(self.searcher.fidelities) - 1 - self.levels).astype(np.float64)
        across = _solve(lower, covariance(apart, np.broadcast_to(below[:, None], apart.choices.shape), given))
        return half @ across, np.sqrt(np.maximum(1 - (across**2).sum(0), 1e-12))


def expected_improvement(mean: Matrix, deviation: Matrix, incumbent: float | None) -> Matrix:
    """E[max(value - incumbent, 0)] of normal values (Jones et al. 1998, equation 15)."""
    if incumbent is None:
        return np.ones_like(mean)
    z = (mean - incumbent) / deviation
    density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    return deviation * (z * normal_cdf(z) + density)


def _factor(apart: Distances, steps: Matrix, given: Hyperparameters) -> Matrix:
    matrix = covariance(apart, steps, given)
    matrix[np.diag_indices_from(matrix)] += given.noise
    return np.asarray(np.linalg.cholesky(matrix), dtype=np.float64)


def _solve(lower: Matrix, right: Matrix) -> Matrix:
    """What the lower triangle times it gives the right side."""
    return np.asarray(np.linalg.solve(lower, right), dtype=np.float64)


def _scalar(results: Sequence[Result], weights: Matrix) -> Matrix:
    """One number a result: its score, or the augmented Chebyshev sum of several, each on a scale from 0 to 1."""
    if not results:
        return np.zeros(0)
    scores = np.array([result.scores for result in results], dtype=np.float64)
    if len(weights) == 1:
        return np.asarray(scores[:, 0])
    low, high = scores.min(0), scores.max(0)
    lack = weights * (high - scores) / np.where(high > low, high - low, 1)  # (n, objectives), 0 is best
    return np.asarray(-(lack.max(1) + 0.05 * lack.sum(1)), dtype=np.float64)


def _warp(values: Matrix, levels: NDArray[np.int64], keys: Sequence[str]) -> Matrix:
    """-log(lack + OFFSET) of how far each value is from the best of its fidelity, standardised within the fidelity.

    What is trained further was chosen for being good. So a higher fidelity is standardised to what the same
    architectures reached below it, and not to zero.
    """
    warped = np.zeros(len(values))
    below: dict[str, float] = {}
    for level in np.unique(levels):
        mine = [int(at) for at in np.flatnonzero(levels == level)]
        own = values[mine]
        bent = -np.log((own.max() - own) / (_spread(own) or 1.0) + OFFSET)
        bent = (bent - bent.mean()) / (bent.std() or 1.0)
        before = np.array([below[keys[at]] for at in mine if keys[at] in below])
        if len(before):
            bent = before.mean() + bent * (before.std() if len(before) > 2 else 1.0)
        warped[mine] = bent
        below |= {keys[at]: value for at, value in zip(mine, bent, strict=True)}
    return warped


def _spread(values: Matrix) -> float:
    """Half the distance between the quartiles: a few that are hopeless must not decide it."""
    low, high = np.percentile(values, (25, 75))
    return float(high - low) / 1.35 or float(values.std())
