"""Perturbation-based derivation (Wang et al. 2021, DARTS-PT): one choice after the other, what the supernet needs most.

How large a mixing weight is says little about what an operation is worth; how much worse the supernet does without it
says more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import groupby, zip_longest
from typing import Final

import torch
from torch import Tensor

from archsearch.api.base import ChoiceValue
from archsearch.evaluation.resumable import ShouldStop, State
from archsearch.evaluation.seeds import derive, generator
from archsearch.networks import Mix, SpaceNetwork
from archsearch.spaces import Architecture, Choice, Space
from archsearch.supernets.bilevel import Bilevel, SupernetReport
from archsearch.supernets.derivation import Allowed, anything, cell_of
from archsearch.supernets.gradients import batch_norms, batch_statistics
from archsearch.supernets.recipe import Recipe

ORDER, TUNING = 9, 10
"""What the random numbers of a place are for."""
TUNING_RATE: Final = 0.1
"""Of the search's learning rate: that of the tuning between decisions (published code)."""

Judge = Callable[[SpaceNetwork, Mix], tuple[float, ...]]
"""How well a supernet does with a mix on images that it is not trained on: larger is better, the first counts most."""
Tune = Callable[[SpaceNetwork, Recipe, int], Bilevel]
"""A new bilevel training of a supernet that there is."""


class Projection:
    """A bilevel training, and then rounds of decisions with training in between.

    In each round one choice of every cell is decided, in random order: first the operations, then the inputs.
    """

    def __init__(self, space: Space, search: Bilevel, tune: Tune, judge: Judge, seed: int) -> None:
        self._rounds = rounds(space, generator(seed, ORDER))
        self._space, self._search, self._tune, self._judge, self._seed = space, search, tune, judge, seed
        self._every = search.recipe.finetune_epochs
        self._tuning_epochs = self._every * (len(self._rounds) - 1)
        self._current = search
        self.network = search.network
        self.epochs = search.epochs + self._tuning_epochs
        self.epoch = 0

    def run_epoch(self, should_stop: ShouldStop) -> SupernetReport | None:
        """Train to the end of the epoch, and decide where it is time; None where should_stop said yes before a step.

        Raises Diverged.
        """
        report = self._current.run_epoch(should_stop)
        if report is None:
            return None
        self.epoch += 1
        if self.epoch == self._search.epochs:
            self._start_tuning()
        if (done := self.epoch - self._search.epochs) >= 0 and done % self._every == 0:
            for choice in self._rounds[done // self._every]:
                self._current.decided[choice.name] = self._best(choice)
        return replace(report, epoch=self.epoch)

    def architecture(self) -> Architecture:
        """What is decided, and the strongest of the rest."""
        return self._current.architecture()

    def candidates(self, allowed: Allowed = anything) -> tuple[Architecture, ...]:
        """The one that is decided."""
        return self._current.candidates(allowed)

    def state(self) -> State:
        """Which of the two trainings it is in, and that one's state."""
        tensors, place = self._current.state()
        return tensors, {"tuning": self._current is not self._search, "training": place}

    def load(self, state: State) -> None:
        """Go on from a state of the same search. ValueError names what does not fit."""
        tensors, place = state
        tuning, training = place.get("tuning"), place.get("training")
        if not isinstance(tuning, bool) or not isinstance(training, dict):
            raise ValueError(f"tuning must be true or false and training a place, but got {tuning} and {training}")
        self._current = self._search
        if tuning:
            self._start_tuning()
        self._current.load((tensors, training))
        self.epoch = self._current.epoch + (self._search.epochs if tuning else 0)

    def _start_tuning(self) -> None:
        """Go on with the same supernet and architecture weights, and new optimisers."""
        if not self._tuning_epochs:
            return
        recipe, search = self._search.recipe, self._search
        tuning = replace(
            recipe,
            epochs=self._tuning_epochs,
            learning_rate=TUNING_RATE * recipe.learning_rate,
            learning_rate_min=min(recipe.learning_rate_min, TUNING_RATE * recipe.learning_rate),
            temperature=recipe.temperature_end,
            warmup_percent=0,
            auxiliary_skip=0.0,  # it has faded
        )
        self._current = self._tune(search.network, tuning, derive(self._seed, TUNING))
        with torch.no_grad():
            for name, alpha in self._current.alphas.items():
                alpha.copy_(search.alphas[name])

    def _best(self, choice: Choice) -> ChoiceValue:
        """The operation without which the supernet does worst, or the inputs with which alone it does best.

        Where an operation is taken away the weights of the others stay as they are (published code).
        """
        if choice.is_subset:
            return max(choice.options, key=lambda option: self._score(choice.name, option))
        weights = self._current.probabilities()[choice.name].detach()

        def without(option: ChoiceValue) -> tuple[float, ...]:
            rest = weights.clone()
            rest[choice.alternatives.index(option)] = 0
            return self._score(choice.name, rest)

        return min(choice.options, key=without)

    @torch.no_grad()
    def _score(self, name: str, value: Tensor | ChoiceValue) -> tuple[float, ...]:
        """How well the supernet does where the mix has this value, with the statistics of each batch."""
        mix = {**self._current.probabilities(), **self._current.decided, name: value}
        self.network.train()
        with batch_statistics(batch_norms(self.network)):
            return self._judge(self.network, mix)


def rounds(space: Space, noise: torch.Generator) -> list[tuple[Choice, ...]]:
    """The choices that are to be decided, in random order: one of every cell in a round, operations before inputs."""
    found: list[tuple[Choice, ...]] = []
    for subsets in (False, True):
        wanted = [choice for choice in space.choices if choice.is_subset is subsets and len(choice.options) > 1]
        cells = [
            _shuffled(list(of), noise) for _, of in groupby(wanted, key=lambda choice: cell_of(space, choice.name))
        ]
        found += [tuple(choice for choice in row if choice is not None) for row in zip_longest(*cells)]
    return found


def _shuffled(choices: Sequence[Choice], noise: torch.Generator) -> list[Choice]:
    return [choices[int(place)] for place in torch.randperm(len(choices), generator=noise)]
