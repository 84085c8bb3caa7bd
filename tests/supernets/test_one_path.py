"""Training of shared weights one path at a time: who is trained, how often, and to what end."""

from __future__ import annotations

from collections import Counter
from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from archsearch.api import NasBench201
from archsearch.api import Space as SpaceSpec
from archsearch.api.signature import image_signature
from archsearch.api.space import ElasticChain
from archsearch.api.task import Task, Training
from archsearch.evaluation import Trainer, evaluate, recalibrate
from archsearch.evaluation.shared import evaluate_shared
from archsearch.networks import SpaceNetwork, network, supernet
from archsearch.networks.build import inherit
from archsearch.spaces import Space, space_of
from archsearch.supernets.one_path import OnePath
from archsearch.tasks import ImageData, Split, load
from tests.supernets.tiny import DIGITS, plainly

SMALL = {"search": {"channels": 8, "cells": 1}, "final": {"channels": 8, "cells": 1}}
NB201 = space_of(SpaceSpec(nas_bench201=NasBench201.model_validate(SMALL)))
ELASTIC = space_of(
    SpaceSpec(
        elastic_chain=ElasticChain.model_validate(
            {
                "stem": {"channels": 8},
                "stages": [{"channels": 8, "depths": [1, 2]}, {"channels": 16, "depths": [1, 2], "stride": 2}],
                "headChannels": 32,
                "kernels": [3, 5],
                "expansions": [1, 2],
                "search": {"widthPercent": 100},
            }
        )
    )
)


@pytest.fixture(scope="module")
def digits() -> ImageData:
    """Real images."""
    return load(Task.model_validate({"imageClassification": {"dataset": {"builtin": "digits"}}}), None)


def shared(space: Space, shape: tuple[int, int, int] = (1, 8, 8)) -> SpaceNetwork:
    torch.manual_seed(0)
    return supernet(space, signature=image_signature(shape, 10))


def test_every_option_is_drawn_equally_often_and_differently_in_each_step() -> None:
    passes = OnePath(NB201, shared(NB201), DIGITS, "Uniform", seed=3)
    paths = [path for step in range(3000) for path in passes.paths((0, step))]
    for choice in NB201.choices:
        counts = Counter(path[choice.name] for path in paths)
        assert all(abs(counts[option] / 3000 - 1 / 5) < 0.03 for option in choice.options)
    assert passes.paths((2, 7)) == OnePath(NB201, shared(NB201), DIGITS, "Uniform", seed=3).paths((2, 7))
    assert passes.paths((2, 7)) != passes.paths((7, 2))


@pytest.mark.parametrize("space", [NB201, ELASTIC], ids=["nasbench201", "elastic"])
def test_a_fair_step_trains_every_option_of_a_choice_equally_often(space: Space) -> None:
    paths = OnePath(space, shared(space), DIGITS, "Fair").paths((0, 0))
    assert len(paths) == max(len(choice.options) for choice in space.choices)
    for choice in space.choices:
        if len(choice.options) == len(paths):
            assert sorted(map(str, (path[choice.name] for path in paths))) == sorted(map(str, choice.options))


def test_a_sandwich_has_the_largest_first_then_the_smallest_then_some_between() -> None:
    passes = OnePath(ELASTIC, shared(ELASTIC), DIGITS, "Sandwich", random_paths=3)
    largest, smallest, *between = passes.paths((0, 0))
    assert all(largest[c.name] == max(c.options) and smallest[c.name] == min(c.options) for c in ELASTIC.choices)
    assert len(between) == 3
    with pytest.raises(ValueError, match="sampling Sandwich must be on choices between numbers, but cell/1/0 is none"):
        OnePath(NB201, shared(NB201), DIGITS, "Sandwich")


def test_a_step_gives_gradients_to_the_path_and_to_nothing_else(digits: ImageData) -> None:
    net = shared(NB201)
    passes = OnePath(NB201, net, digits, "Uniform", seed=1)
    (path,) = passes.paths((0, 0))
    passes(digits.prepare(digits.weights.first(16)), (0, 0))
    for name, weight in net.named_parameters():
        parts = name.split(".")
        inside = "edges" in parts
        used = not inside or path[f"cell/{parts[parts.index('edges') + 1]}"] == parts[parts.index("edges") + 2]
        assert (weight.grad is not None) == used, name


@pytest.mark.parametrize("distillation", [False, True])
def test_the_gradient_of_a_sandwich_is_the_mean_of_its_paths(digits: ImageData, distillation: bool) -> None:
    images, labels = plainly(digits.weights.inputs[:8]).double(), digits.weights.targets[:8]
    net = shared(ELASTIC).double()
    passes = OnePath(ELASTIC, net, digits, "Sandwich", random_paths=2, distillation=distillation)
    paths = passes.paths((1, 4))
    passes(Split(images, labels), (1, 4))
    found = {name: weight.grad for name, weight in net.named_parameters()}
    other = shared(ELASTIC).double()
    soft: Tensor | None = None
    total: Tensor = torch.zeros(())
    for path in paths:
        logits = other(images, path)
        total = total + functional.cross_entropy(logits, labels if soft is None else soft)
        soft = torch.softmax(logits.detach(), 1) if distillation and soft is None else soft
    expected = torch.autograd.grad(total / 4, list(other.parameters()), allow_unused=True)
    for (name, gradient), wanted in zip(found.items(), expected, strict=True):
        assert gradient is not None, name
        torch.testing.assert_close(gradient, wanted, rtol=0, atol=1e-10)


def trainer(space: Space, data: ImageData, epochs: int, sampling: str = "Uniform") -> Trainer:
    net = shared(space)
    recipe = Training(batch_size=64, learning_rate="0.1", weight_decay="0.00004")
    return Trainer(net, data, recipe, epochs=epochs, seed=5, passes=OnePath(space, net, data, sampling, seed=5))  # type: ignore[arg-type]


@pytest.mark.parametrize(("space", "sampling"), [(NB201, "Uniform"), (ELASTIC, "Sandwich")], ids=["path", "sandwich"])
def test_a_resumed_training_is_bit_equal_to_an_undisturbed_one(digits: ImageData, space: Space, sampling: str) -> None:
    whole, first, again = (trainer(space, digits, 2, sampling) for _ in range(3))
    for _ in range(2):
        whole.run_epoch(lambda: False)
    left = iter([False] * 5 + [True])
    assert first.run_epoch(lambda: next(left)) is None
    tensors, place = first.state()
    again.load(({name: value.clone() for name, value in tensors.items()}, place))
    while again.epoch < 2:
        again.run_epoch(lambda: False)
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, again.network.state_dict()[name]), name


def test_inherited_weights_need_statistics_of_their_own_and_gain_over_twenty_points_by_them(digits: ImageData) -> None:
    """Guo et al. (2020): without them an architecture that inherits weights is hardly better than chance."""
    training = trainer(NB201, digits, 30)
    reports = [training.run_epoch(lambda: False) for _ in range(30)]
    assert reports[-1] is not None
    assert reports[0] is not None
    assert reports[-1].loss < 0.7 * reports[0].loss
    net = cast("SpaceNetwork", training.network)
    before, after = [], []
    rng = np.random.default_rng(1)
    state = {name: value.clone() for name, value in net.state_dict().items()}
    for _ in range(8):
        architecture = NB201.sample(rng)
        net.load_state_dict(state)
        before.append(evaluate(net, digits, digits.selection, mix=architecture.values)["accuracy"])
        found = evaluate_shared(net, architecture, digits, calibration=digits.weights, selection=digits.selection)
        after.append(found["accuracy"])
    print(f"before {np.mean(before):.3f}, after {np.mean(after):.3f}")
    assert np.mean(after) - np.mean(before) > 0.2
    for name, value in net.named_parameters():
        assert torch.equal(value, state[name])


@pytest.mark.parametrize("space", [NB201, ELASTIC], ids=["nasbench201", "elastic"])
def test_a_path_is_worth_what_its_own_network_with_these_weights_is(digits: ImageData, space: Space) -> None:
    training = trainer(space, digits, 1)
    training.run_epoch(lambda: False)
    net = cast("SpaceNetwork", training.network)
    architecture = space.sample(np.random.default_rng(0))
    fixed = network(space, architecture, stack="search", signature=digits.signature, affine=False)
    inherit(fixed, net.state_dict())
    recalibrate(fixed, digits, digits.weights)
    alone = evaluate(fixed, digits, digits.selection)
    found = evaluate_shared(net, architecture, digits, calibration=digits.weights, selection=digits.selection)
    assert found["accuracy"] == alone["accuracy"]
    assert found["loss"] == pytest.approx(alone["loss"], abs=1e-5)
