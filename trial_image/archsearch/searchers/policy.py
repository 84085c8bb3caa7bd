"""Policy gradients: a controller learns to draw architectures that are good (REINFORCE and PPO)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, Literal

import numpy as np

from archsearch.searchers.base import Evidence, Proposal, Result, generator
from archsearch.searchers.controllers import Controller, Matrix, Parameters, Recurrent, Softmaxes, Walk
from archsearch.searchers.random import draw
from archsearch.spaces import Architecture, Space

DRAWS: Final = 100
"""Draws of the policy before one that was not proposed is drawn uniformly."""
CLIP: Final = 0.2
"""PPO: by how much the probability of a decision may change before it is left alone (Schulman et al. 2017)."""
EPOCHS: Final = 4
"""PPO: steps on each batch."""
DECAYS: Final = (0.9, 0.999)
"""Adam's, of the mean and of the square."""


RATES: Final = {"Softmax": 0.1, "LSTM": 0.003}
"""Learning rates for some hundred trials, measured on NAS-Bench-201. Published are 0.01 (Dong and Yang 2020, softmax)
and 0.00035 (Zoph et al. 2018, LSTM), which has 20,000 trials."""
BATCHES: Final = {"REINFORCE": 1, "PPO": 10}
"""Results of an update: REINFORCE learns from each at once, PPO goes over several a few times."""


@dataclass(frozen=True)
class PolicyGradient:
    """Draws architectures from a policy that the results have moved. The first objective is the reward.

    Results are learnt from in the order of completion, in batches, each under the policy of that moment: what counts is
    the architecture that was evaluated, whoever proposed it. So a history gives one policy. A failure, or a result
    beyond a limit, has the worst reward so far; before there is any, nothing is learnt from it.
    controller: a softmax for each choice on its own, or an LSTM that knows the choices made before.
    learning_rate: Adam's; None: what RATES has for the controller. baseline_decay: of the moving mean of the rewards.
    batch: results of each update; None: what BATCHES has for the update. units: of the LSTM.
    """

    space: Space
    seed: int
    controller: Literal["Softmax", "LSTM"] = "Softmax"
    update: Literal["REINFORCE", "PPO"] = "REINFORCE"
    learning_rate: float | None = None
    baseline_decay: float = 0.9
    entropy_weight: float = 0.0
    batch: int | None = None
    units: int = 100
    _learners: list[Learner] = field(default_factory=list, init=False, repr=False, compare=False)

    def ask(self, evidence: Evidence) -> Proposal | None:
        """A draw of the policy that was not proposed before."""
        learner, rng = self.learnt(evidence.results), generator(self.seed, evidence.index)
        for _ in range(DRAWS):
            found = self.form.draw(learner.parameters, rng).architecture
            if found.id not in evidence.proposed:
                return Proposal(found)
        return draw(self.space, rng, evidence.proposed)

    @cached_property
    def form(self) -> Controller:
        """The form of the policy."""
        return Softmaxes(self.space) if self.controller == "Softmax" else Recurrent(self.space, self.units)

    def learnt(self, results: Sequence[Result]) -> Learner:
        """The policy after these results. What the last call has learnt is gone on from where it can be."""
        told = list(results)
        if not self._learners or told[: len(self._learners[0].told)] != self._learners[0].told:
            self._learners[:] = [Learner(self)]
        learner = self._learners[0]
        for result in told[len(learner.told) :]:
            learner.tell(result)
        return learner


class Learner:
    """The state of a policy: it follows from the settings and the results that it was told, in this order."""

    def __init__(self, settings: PolicyGradient) -> None:
        self.settings, self.form = settings, settings.form
        # Not the numbers of any proposal, which have two words.
        self.parameters = self.form.initial(np.random.default_rng([settings.seed, 0, 1]))
        self.told: list[Result] = []
        self._waiting: list[tuple[Architecture, float]] = []
        self._worst: float | None = None
        self._mean, self._weight = 0.0, 0.0
        self._batch = settings.batch or BATCHES[settings.update]
        self._optimiser = Adam(settings.learning_rate or RATES[settings.controller])

    def tell(self, result: Result) -> None:
        """Take in one more result, and move the policy when a batch is complete."""
        self.told.append(result)
        value = result.value
        if value is not None:
            self._worst = value if self._worst is None else min(value, self._worst)
        reward = self._worst if value is None else value
        if reward is None:
            return
        self._waiting.append((result.architecture, reward))
        if len(self._waiting) == self._batch:
            self._update()
            self._waiting = []

    def _update(self) -> None:
        for _, reward in self._waiting:
            decay = self.settings.baseline_decay
            self._mean = decay * self._mean + (1 - decay) * reward
            self._weight = decay * self._weight + 1 - decay
        # Without the correction, as Adam has it too, all first rewards would look good.
        baseline = self._mean / self._weight
        advantages = [reward - baseline for _, reward in self._waiting]
        before: list[Matrix] | None = None
        for _ in range(EPOCHS if self.settings.update == "PPO" else 1):
            walks = [self.form.of(self.parameters, architecture) for architecture, _ in self._waiting]
            before = before or [walk.taken for walk in walks]
            gradients = [
                self.form.gradient(self.parameters, walk, ascent(walk, advantage, then, self.settings.entropy_weight))
                for walk, advantage, then in zip(walks, advantages, before, strict=True)
            ]
            mean = {name: sum(one[name] for one in gradients) / len(gradients) for name in self.parameters}
            self._optimiser.ascend(self.parameters, {name: np.asarray(value) for name, value in mean.items()})


def ascent(walk: Walk, advantage: float, before: Matrix, entropy_weight: float) -> list[Matrix]:
    """The gradient of PPO's clipped objective plus the entropies, with respect to the logits of each decision.

    The objective is that of Schulman et al. (2017, equation 7), summed over the decisions, which all have the same
    advantage. before: the logarithms of their probabilities when the batch began, (decisions,). At that point, where
    REINFORCE takes its only step, the gradient is that of the advantage times the logarithm of the probability.
    """
    found: list[Matrix] = []
    for decision, then in zip(walk.decisions, before, strict=True):
        log_p = decision.log_probabilities
        p = np.exp(log_p)
        ratio = np.exp(log_p[decision.index] - then)
        clipped = ratio > 1 + CLIP if advantage > 0 else ratio < 1 - CLIP
        gradient = -p * (log_p - p @ log_p) * entropy_weight
        if not clipped:
            taken = np.zeros(len(p))
            taken[decision.index] = 1
            gradient = gradient + advantage * ratio * (taken - p)
        found.append(gradient)
    return found


class Adam:
    """Adam (Kingma and Ba 2015), upwards and in place."""

    def __init__(self, learning_rate: float) -> None:
        self.learning_rate = learning_rate
        self._steps = 0
        self._means: Parameters = {}
        self._squares: Parameters = {}

    def ascend(self, parameters: Parameters, gradients: Parameters) -> None:
        """One step."""
        self._steps += 1
        first, second = DECAYS
        for name, gradient in gradients.items():
            mean = self._means.setdefault(name, np.zeros_like(gradient))
            square = self._squares.setdefault(name, np.zeros_like(gradient))
            mean += (1 - first) * (gradient - mean)
            square += (1 - second) * (gradient**2 - square)
            corrected = np.sqrt(square / (1 - second**self._steps)) + 1e-8
            parameters[name] += self.learning_rate * (mean / (1 - first**self._steps)) / corrected
