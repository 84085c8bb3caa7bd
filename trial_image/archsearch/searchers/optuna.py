"""Optuna's tree-structured Parzen estimator (Bergstra et al. 2011; Watanabe 2023) as a searcher.

Of Optuna's other samplers CMA-ES and quasi-random sequences do not apply to choices between words, the Gaussian process
needs torch, and the genetic ones keep their generations in trials that only they have made.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from archsearch.api.base import ChoiceValue
from archsearch.searchers.base import Evidence, Proposal, Result, generator
from archsearch.searchers.nsga2 import survivors
from archsearch.searchers.random import draw
from archsearch.spaces import Architecture, Space

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import TPESampler
    from optuna.study import Study
    from optuna.trial import FrozenTrial

MUTATIONS: Final = 100
"""Attempts at an architecture that was not proposed, where the sampler repeats one; each mutates the last again."""
BLOCK: Final = 200
"""Results that are forgotten at a time, so that the latest one to two blocks are known: each costs time in a draw."""
GOOD: Final = 25
"""Those of the forgotten that are known all the same, the best: more the sampler never takes for good."""


@dataclass(frozen=True)
class TreeParzen:
    """Draws each choice where good results are dense and others are not, good being the best tenth.

    The choices that are always active are drawn together, those that others open one by one. Limits are Optuna's
    constraints: what is beyond one is never good. Of many results the latest and the best are known.
    initial: random architectures at the start.
    Raises ImportError, saying what to install, where Optuna is not installed.
    """

    space: Space
    seed: int
    initial: int = 10
    objectives: int = 1
    _study: Study = field(init=False, repr=False, compare=False)
    _distributions: dict[str, BaseDistribution] = field(init=False, repr=False, compare=False)
    _told: list[Result] = field(default_factory=list, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        try:
            import optuna
        except ImportError as error:
            raise ImportError(
                "the searcher treeParzen needs Optuna, which is not installed: pip install 'archsearch[optuna]'"
            ) from error
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        object.__setattr__(self, "_study", self._empty())
        # Places and not values: sets are no categories to Optuna.
        places = {
            choice.name: optuna.distributions.CategoricalDistribution(range(len(choice.options)))
            for choice in self.space.choices
        }
        object.__setattr__(self, "_distributions", places)

    def ask(self, evidence: Evidence) -> Proposal | None:
        """A random architecture at the start, then what the sampler draws, mutated until it was not proposed."""
        rng = generator(self.seed, evidence.index)
        if len(evidence.proposed) < self.initial:
            return draw(self.space, rng, evidence.proposed)
        self._learn(evidence.results)
        found = self._drawn(rng)
        for _ in range(MUTATIONS):
            if found.id not in evidence.proposed:
                return Proposal(found)
            found = self.space.mutate(found, rng)
        return draw(self.space, rng, evidence.proposed)

    def _empty(self) -> Study:
        import optuna

        return optuna.create_study(directions=["maximize"] * self.objectives)

    def _learn(self, results: Sequence[Result]) -> None:
        """Tell the study of what it does not know; another history, or one that forgets more, needs another study."""
        told, known = list(results), len(self._told)
        forgotten = _forgotten(len(told))
        if told[:known] != self._told or forgotten != _forgotten(known):
            object.__setattr__(self, "_study", self._empty())
            for result in survivors(told[:forgotten], GOOD):
                self._tell(result)
            known = forgotten
        for result in told[known:]:
            self._tell(result)
        self._told[:] = told

    def _tell(self, result: Result) -> None:
        from optuna.trial import create_trial

        beyond = {str(at): part for at, part in enumerate(result.excess) if part is not None}
        scores = result.scores
        if scores is None and any(part > 0 for part in beyond.values()):
            # Of what is beyond a limit the sampler looks at the excess only, but wants a number.
            scores = (0.0,) * self.objectives
        if scores is None or not all(math.isfinite(score) for score in scores):
            return
        indices = {
            choice.name: choice.options.index(result.architecture[choice.name])
            for choice in self.space.choices
            if choice.name in result.architecture.values
        }
        distributions = {name: self._distributions[name] for name in indices}
        self._study.add_trial(
            create_trial(
                values=scores[: self.objectives], params=indices, distributions=distributions, constraints=beyond
            )
        )

    def _sampler(self, seed: int) -> TPESampler:
        from optuna.samplers import TPESampler

        together = {
            choice.name: self._distributions[choice.name]
            for choice in sorted(self.space.choices, key=lambda choice: choice.name)
            if not choice.when and len(choice.options) > 1
        }

        class Sampler(TPESampler):
            # Optuna would look for what all trials have in common, each time, which takes longer than all the rest.
            def infer_relative_search_space(self, _study: Study, _trial: FrozenTrial) -> dict[str, BaseDistribution]:
                return together

        return Sampler(seed=seed, n_startup_trials=1, multivariate=True, constant_liar=False)

    def _drawn(self, rng: np.random.Generator) -> Architecture:
        from optuna.trial import TrialState

        self._study.sampler = self._sampler(int(rng.integers(2**32)))
        trial = self._study.ask()
        values: dict[str, ChoiceValue] = {}
        for choice in self.space.choices:
            if choice.active(values):
                place = trial.suggest_categorical(choice.name, range(len(choice.options)))
                values[choice.name] = choice.options[place]
        # Failed trials are nothing to the sampler: what comes of this one is told when it is known.
        self._study.tell(trial, state=TrialState.FAIL)
        return Architecture(values)


def _forgotten(results: int) -> int:
    """How many of so many results, the first, only the best are known of."""
    return max(0, results // BLOCK - 1) * BLOCK
