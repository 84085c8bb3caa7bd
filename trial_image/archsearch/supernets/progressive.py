"""Progressive search (Chen et al. 2019, P-DARTS): supernets one after the other, deeper and with fewer operations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

import torch
from torch import Tensor

from archsearch.api.base import ChoiceValue, Model
from archsearch.api.methods import Stage
from archsearch.evaluation.resumable import ShouldStop, State
from archsearch.evaluation.seeds import derive
from archsearch.spaces import Architecture, Choice, Space
from archsearch.spaces.choice import members
from archsearch.supernets.bilevel import Bilevel, SupernetReport
from archsearch.supernets.derivation import Allowed, anything
from archsearch.supernets.recipe import Recipe

STAGE: Final = 8
"""What the random numbers of a place are for."""

Make = Callable[[Space, Recipe, int], Bilevel]
"""A new bilevel training of a new supernet, from a space, settings and a seed."""
Kept = dict[str, tuple[ChoiceValue, ...]]
"""The alternatives that are left of every choice of operations, in their order."""


class Progressive:
    """Bilevel trainings on shrinking spaces. Between them the weakest operations of every choice are dropped."""

    def __init__(self, space: Space, recipe: Recipe, make: Make, seed: int) -> None:
        self.epochs = recipe.epochs
        self.epoch = 0
        self._space, self._recipe, self._make, self._seed = space, recipe, make, seed
        self._enter(0, {c.name: c.alternatives for c in space.choices if not c.is_subset})

    def run_epoch(self, should_stop: ShouldStop) -> SupernetReport | None:
        """Train to the end of the epoch; None where should_stop said yes before a step. Raises Diverged."""
        if self._current.epoch == self._current.epochs:
            self._enter(self._stage + 1, self._strongest(self._stage + 1))
        report = self._current.run_epoch(should_stop)
        if report is None:
            return None
        self.epoch += 1
        return replace(report, epoch=self.epoch)

    def architecture(self) -> Architecture:
        """The architecture that the present stage stands for."""
        return self._current.architecture()

    def candidates(self, allowed: Allowed = anything) -> tuple[Architecture, ...]:
        """The architectures that the present stage offers."""
        return self._current.candidates(allowed)

    def state(self) -> State:
        """The stage, what it has left of every choice, and its training."""
        tensors, place = self._current.state()
        kept = {name: list(left) for name, left in self._kept.items()}
        return tensors, {"stage": self._stage, "kept": kept, "training": place}

    def load(self, state: State) -> None:
        """Go on from a state of the same search. ValueError names what does not fit."""
        tensors, place = state
        stage, kept, training = (place.get(name) for name in ("stage", "kept", "training"))
        if not isinstance(stage, int) or not 0 <= stage < len(self._recipe.stages):
            raise ValueError(f"stage must be one of {len(self._recipe.stages)}, but got {stage}")
        if not isinstance(kept, dict) or kept.keys() != self._kept.keys() or not isinstance(training, dict):
            raise ValueError("kept must name every choice of operations, and training a place, but do not")
        self._enter(stage, {name: tuple(left) for name, left in kept.items()})
        self._current.load((tensors, training))
        self.epoch = sum(self._epochs(earlier) for earlier in range(stage)) + self._current.epoch

    def _enter(self, stage: int, kept: Kept) -> None:
        """Begin a stage, with new weights."""
        self._stage, self._kept = stage, kept
        said = self._recipe.stages[stage]
        recipe = replace(self._recipe, epochs=self._epochs(stage), skip_dropout=float(said.skip_dropout), stages=())
        seed = derive(self._seed, STAGE, stage)
        self._current = self._make(reduced(self._space, kept, said.depth_percent), recipe, seed)
        self.network = self._current.network

    def _epochs(self, stage: int) -> int:
        """Of a stage; what does not divide evenly is left to the first ones."""
        each, rest = divmod(self._recipe.epochs, len(self._recipe.stages))
        return each + (stage < rest)

    @torch.no_grad()
    def _strongest(self, stage: int) -> Kept:
        """What the next stage has of every choice."""
        probabilities = self._current.probabilities()
        said = self._recipe.stages[stage]
        return {
            choice.name: strongest(choice, self._kept[choice.name], probabilities[choice.name], remaining(choice, said))
            for choice in self._space.choices
            if not choice.is_subset
        }


def remaining(choice: Choice, stage: Stage) -> int:
    """How many of its alternatives a choice has in a stage."""
    return max(1, round(len(choice.alternatives) * stage.keep_percent / 100))


def possible(space: Space, stage: Stage) -> Iterator[Space]:
    """Spaces that the stage may have, as many alternatives each; together they have all that it may keep."""
    choices = [choice for choice in space.choices if not choice.is_subset]
    turns = max((-(-len(choice.alternatives) // remaining(choice, stage)) for choice in choices), default=1)
    for turn in range(turns):
        kept: Kept = {}
        for choice in choices:
            count = remaining(choice, stage)
            weights = torch.arange(len(choice.alternatives)).roll(turn * count)
            kept[choice.name] = strongest(choice, choice.alternatives, weights, count)
        yield reduced(space, kept, stage.depth_percent)


def strongest(choice: Choice, kept: tuple[ChoiceValue, ...], weights: Tensor, count: int) -> tuple[ChoiceValue, ...]:
    """So many of the alternatives that are left, by their weights, in their order; one at least can be chosen."""
    order = sorted(kept, key=dict(zip(kept, weights.tolist(), strict=True)).__getitem__, reverse=True)
    found = set(order[: max(1, count)])
    if not found & set(choice.options):
        found = {*order[: max(1, count) - 1], next(option for option in order if option in choice.options)}
    return tuple(option for option in kept if option in found)


def reduced(space: Space, kept: Mapping[str, tuple[ChoiceValue, ...]], depth_percent: int) -> Space:
    """The space with these alternatives only, and a deeper search network where it is made of cells."""
    choices, left = [], dict[str, set[Any]]()
    for choice in space.choices:
        names = kept.get(choice.name, choice.alternatives)
        when = tuple((name, value) for name, value in choice.when if name in left and value in left[name])
        if choice.when and not when:
            continue  # nothing opens it any more
        options = tuple(option for option in choice.options if option in names)
        extra = tuple(option for option in choice.extra if option in names)
        choices.append(replace(choice, options=options, extra=extra, when=when))
        left[choice.name] = {member for option in options for member in members(option)}
    return replace(space, choices=tuple(choices), settings=_deeper(space.settings, depth_percent))


def _deeper(settings: Model, percent: int) -> Model:
    search: Any = getattr(settings, "search", None)
    if not hasattr(search, "cells"):
        return settings
    return settings.model_copy(
        update={"search": search.model_copy(update={"cells": round(search.cells * percent / 100)})}
    )
