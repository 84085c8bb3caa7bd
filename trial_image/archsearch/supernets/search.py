"""One whole differentiable search, whatever its method: the trainings that its settings ask for, put together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from archsearch.api.differentiable import Differentiable
from archsearch.evaluation.resumable import EpochTraining, ShouldStop
from archsearch.networks import SpaceNetwork
from archsearch.spaces import Architecture, Space
from archsearch.supernets.bilevel import Bilevel, SupernetReport
from archsearch.supernets.derivation import Allowed, anything
from archsearch.supernets.parts import parts_of
from archsearch.supernets.progressive import Progressive
from archsearch.supernets.projection import Judge, Projection
from archsearch.supernets.recipe import Recipe
from archsearch.supernets.regularisers import Penalty
from archsearch.tasks import TaskData

Build = Callable[[Space, int], SpaceNetwork]
"""A new supernet of a space, on its device, with weights that follow from a seed."""


class Search(EpochTraining, Protocol):
    """A training of supernets that ends with an architecture."""

    epochs: int
    network: SpaceNetwork

    def run_epoch(self, should_stop: ShouldStop) -> SupernetReport | None:
        """Train to the end of the epoch; None where should_stop said yes before a step. Raises Diverged."""
        ...

    def architecture(self) -> Architecture:
        """The architecture that it stands for now."""
        ...

    def candidates(self, allowed: Allowed = anything) -> tuple[Architecture, ...]:
        """The architectures that it offers at its end, of which the best with shared weights is the result.

        They keep the limits where the search can find one that does.
        """
        ...


def network_options(settings: Differentiable) -> dict[str, Any]:
    """How the method wants its supernet built, for `networks.supernet`."""
    recipe = Recipe.of(settings)
    return {"partial_channels": recipe.partial_channels, "auxiliary_skip": recipe.auxiliary_skip > 0}


def differentiable_search(
    space: Space,
    data: TaskData,
    settings: Differentiable,
    *,
    build: Build,
    judge: Judge,
    seed: int,
    penalise: Callable[[Space], Penalty] | None = None,
) -> Search:
    """The search that the settings describe.

    data: its two halves train the network weights and the architecture weights. judge: how well a supernet does on the
    examples that choose between architectures. penalise: what the networks of a space cost, where
    that is to enter the architecture's loss; the space may be a part of the whole.
    """

    def train(of: Space, network: SpaceNetwork, recipe: Recipe, own: int) -> Bilevel:
        parts = parts_of(recipe, penalise(of) if penalise else None)
        return Bilevel(of, network, data, recipe, seed=own, parts=parts)

    def make(of: Space, recipe: Recipe, own: int) -> Bilevel:
        return train(of, build(of, own), recipe, own)

    recipe = Recipe.of(settings)
    if recipe.stages:
        return Progressive(space, recipe, make, seed)
    search = make(space, recipe, seed)
    if recipe.derivation != "Perturbation":
        return search
    return Projection(space, search, lambda network, then, own: train(space, network, then, own), judge, seed)
