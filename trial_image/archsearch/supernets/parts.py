"""The parts of a differentiable method, put together from its settings: every method is a choice of these."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import torch
from torch import Tensor

from archsearch.api.methods import Mixing as MixingName
from archsearch.networks.mixture import AUXILIARY_SKIP, SKIP_DROPOUT
from archsearch.supernets import perturbation
from archsearch.supernets.derivation import Derivation, most_probable, threshold, top_edges
from archsearch.supernets.mixing import (
    Moment,
    Relaxation,
    Schedule,
    binary_gates,
    dirichlet,
    expected_dirichlet,
    gumbel_softmax,
    hard_gumbel_softmax,
    keep_others,
    one_path,
    sigmoid,
    softmax,
)
from archsearch.supernets.perturbation import Perturbation
from archsearch.supernets.recipe import Recipe
from archsearch.supernets.regularisers import Penalty, Regulariser, beta_decay, dirichlet_divergence, zero_one

DROPOUT_DECAY: Final = 3.0
"""P-DARTS' dropout falls by exp(-0.2) in each of the 15 epochs that train the architecture (published code)."""


@dataclass(frozen=True)
class Parts:
    """What a bilevel training is made of.

    perturb: other mixing weights to train the network weights at. switches: what the mix says beside the choices.
    penalty: how what an architecture costs enters its loss.
    """

    relaxation: Relaxation
    derive: Derivation
    regularisers: tuple[Regulariser, ...] = ()
    perturb: Perturbation | None = None
    switches: Callable[[Moment], dict[str, Tensor]] = lambda _moment: {}
    penalty: Penalty | None = None


def parts_of(recipe: Recipe, penalty: Penalty | None = None) -> Parts:
    """The parts that the settings name."""
    return Parts(
        RELAXATIONS[recipe.mixing](recipe),
        _derivation(recipe),
        tuple(_regularisers(recipe)),
        {"None": None, "Random": perturbation.random, "Adversarial": perturbation.adversarial}[recipe.perturbation],
        _switches(recipe),
        penalty,
    )


def temperature(recipe: Recipe) -> Schedule:
    """From the first epoch's temperature to the last one's, in equal steps or by equal factors."""
    first, last = recipe.temperature, recipe.temperature_end

    def at(moment: Moment) -> float:
        done = moment.epoch / max(1, moment.epochs - 1)
        if recipe.temperature_schedule == "Linear":
            return first + (last - first) * done
        return first * float((last / first) ** done)

    return at


def _softmax_of(alpha: Tensor) -> Tensor:
    return torch.softmax(alpha, dim=-1)


RELAXATIONS: Final[dict[MixingName, Callable[[Recipe], Relaxation]]] = {
    "Softmax": lambda _: Relaxation(softmax, _softmax_of),
    "Sigmoid": lambda _: Relaxation(sigmoid, torch.sigmoid),
    "GumbelSoftmax": lambda recipe: Relaxation(gumbel_softmax(temperature(recipe)), _softmax_of),
    "HardGumbelSoftmax": lambda recipe: Relaxation(hard_gumbel_softmax(temperature(recipe)), _softmax_of),
    "Dirichlet": lambda _: Relaxation(dirichlet, expected_dirichlet),
    "BinaryGates": lambda _: Relaxation(binary_gates, _softmax_of, settle=keep_others),
    "OnePath": lambda _: Relaxation(one_path, _softmax_of, sampled=True),
}


def _derivation(recipe: Recipe) -> Derivation:
    if recipe.derivation == "Threshold":
        return partial(threshold, least=recipe.threshold)
    if recipe.derivation == "MostProbable":
        return most_probable
    return partial(top_edges, max_skips=recipe.max_skips)


def _regularisers(recipe: Recipe) -> list[Regulariser]:
    found: list[Regulariser] = []
    if recipe.beta_decay:
        found.append(beta_decay(lambda moment: recipe.beta_decay * moment.epoch / moment.epochs))
    if recipe.zero_one_loss:
        found.append(zero_one(recipe.zero_one_loss))
    if recipe.dirichlet_divergence:
        found.append(dirichlet_divergence(recipe.dirichlet_divergence))
    return found


def _switches(recipe: Recipe) -> Callable[[Moment], dict[str, Tensor]]:
    def at(moment: Moment) -> dict[str, Tensor]:
        found = {}
        if recipe.auxiliary_skip:
            found[AUXILIARY_SKIP] = recipe.auxiliary_skip * (1 - moment.epoch / moment.epochs)
        if recipe.skip_dropout:
            found[SKIP_DROPOUT] = recipe.skip_dropout * _dropout_left(recipe, moment)
        return {name: torch.tensor(value, dtype=torch.float64) for name, value in found.items()}

    return at


def _dropout_left(recipe: Recipe, moment: Moment) -> float:
    """Of P-DARTS' dropout: linear while only the weights are trained, then exponential from the start again."""
    if moment.epoch < recipe.warmup:
        return (moment.epochs - moment.epoch - 1) / moment.epochs
    return math.exp(-DROPOUT_DECAY * (moment.epoch - recipe.warmup) / (moment.epochs - recipe.warmup))
