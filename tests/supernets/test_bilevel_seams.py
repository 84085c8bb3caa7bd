"""What a bilevel search computes, what can be passed into it, and that it runs on every space."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from archsearch.api import NasBench201
from archsearch.api import Space as SpaceSpec
from archsearch.api.differentiable import Differentiable
from archsearch.networks import Mix
from archsearch.spaces import Space, space_of
from archsearch.supernets import Bilevel, Moment, Recipe, Relaxation, parts_of, top_edges
from tests.supernets.tiny import SPACE, halves, network

NB201 = space_of(SpaceSpec(nas_bench201=NasBench201.model_validate({"search": {"channels": 2, "cells": 1}})))
every_space = pytest.mark.parametrize("space", [SPACE, NB201], ids=["darts", "nasbench201"])


def settings(order: str = "Second") -> Differentiable:
    return Differentiable.model_validate({"method": "DARTS", "order": order, "epochs": 2, "batch_size": 8})


def search(space: Space, order: str, **seams: Any) -> Bilevel:
    recipe = Recipe.of(settings(order))
    parts = replace(parts_of(recipe), **seams)
    return Bilevel(space, network(space), halves(24), recipe, seed=0, parts=parts)


def run(training: Bilevel, steps: int) -> None:
    asked = count()
    while training.run_epoch(lambda: next(asked) >= steps) is not None:
        pass


@every_space
@pytest.mark.parametrize(
    ("order", "passes"),
    [
        ("First", ["alphas", "weights"]),
        ("Second", ["weights", "both", "alphas", "alphas", "weights"]),
    ],
)
def test_every_pass_computes_only_the_gradients_that_it_needs(space: Space, order: str, passes: list[str]) -> None:
    training = search(space, order)
    seen = []

    def look(module: nn.Module, arguments: tuple[Tensor, Mix]) -> None:
        (of_weights,) = {parameter.requires_grad for parameter in module.parameters()}
        (of_alphas,) = {weights.requires_grad for weights in arguments[1].values()}
        seen.append({(True, False): "weights", (False, True): "alphas", (True, True): "both"}[of_weights, of_alphas])

    training.network.register_forward_pre_hook(look)
    run(training, 1)
    assert seen == passes


@every_space
@pytest.mark.parametrize("order", ["First", "Second"])
def test_a_search_in_any_space_stops_goes_on_bit_equal_and_gives_an_architecture(space: Space, order: str) -> None:
    undisturbed, resumed = search(space, order), search(space, order)
    run(undisturbed, 5)
    stopped = search(space, order)
    run(stopped, 2)
    tensors, place = stopped.state()
    resumed.load(({name: value.detach().clone() for name, value in tensors.items()}, dict(place)))
    run(resumed, 3)
    expected = undisturbed.state()[0]
    assert [name for name, value in resumed.state()[0].items() if not torch.equal(value, expected[name])] == []
    architecture = top_edges(space, resumed.probabilities())
    assert space.architecture(architecture.values) == architecture


def test_every_pass_of_a_step_mixes_with_the_same_noise() -> None:
    """Gumbel noise: the finite difference of the second order would otherwise be one of noise."""
    drawn: list[Tensor] = []

    def gumbel(alpha: Tensor, moment: Moment) -> Tensor:
        uniform = torch.rand(alpha.shape, generator=moment.generator)
        drawn.append(uniform)
        return torch.softmax(alpha - torch.log(-torch.log(uniform)), -1)

    training = search(SPACE, "Second", relaxation=Relaxation(gumbel, torch.sigmoid))
    run(training, 2)
    edges = len(training.alphas)
    passes = [torch.stack(drawn[start : start + edges]) for start in range(0, len(drawn), edges)]
    assert len(passes) == 10
    assert all(torch.equal(passes[0], other) for other in passes[:5])
    assert all(torch.equal(passes[5], other) for other in passes[5:])
    assert not torch.equal(passes[0], passes[5])
    assert len(torch.unique(passes[0], dim=0)) == edges


def test_a_regulariser_is_a_term_of_the_architecture_loss() -> None:
    """beta-decay (Ye et al. 2022) pulls every architecture weight down, and Adam by its learning rate a step."""
    moments: list[Moment] = []

    def beta_decay(alphas: Mapping[str, Tensor], moment: Moment) -> Tensor:
        moments.append(moment)
        return 50 * torch.stack([torch.logsumexp(alpha, 0) for alpha in alphas.values()]).mean()

    falls = {}
    for name, regularisers in {"none": (), "beta-decay": (beta_decay,)}.items():
        training = search(SPACE, "First", regularisers=regularisers)
        before = torch.cat([alpha.detach().clone() for alpha in training.alphas.values()])
        run(training, 4)
        falls[name] = before - torch.cat([alpha.detach() for alpha in training.alphas.values()])
    learning_rate = Recipe.of(settings()).architecture_learning_rate
    torch.testing.assert_close(
        falls["beta-decay"], torch.full_like(falls["beta-decay"], 4 * learning_rate), rtol=0.1, atol=0
    )
    assert float(falls["none"].min()) < 0
    assert [(moment.epoch, moment.epochs) for moment in moments] == [(0, 2)] * 3 + [(1, 2)]
