"""What the networks of every space must do, at the sizes that the demonstrations and the smallest data need."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from archsearch.api import DartsCells, NasBench201
from archsearch.api import Space as SpaceSpec
from archsearch.networks import Mix, SpaceNetwork, Trace, network, supernet, trace
from archsearch.networks.chooser import Mixture
from archsearch.spaces import Architecture, Choice, Space, space_of

SMALL = {"search": {"channels": 4, "cells": 3}, "final": {"channels": 6, "cells": 4}}
DARTS = space_of(SpaceSpec(darts_cells=DartsCells.model_validate(SMALL)))
SPACES = {
    "darts": DARTS,
    "darts-2-nodes": space_of(SpaceSpec(darts_cells=DartsCells.model_validate({**SMALL, "nodes": 2}))),
    "darts-3-operations": space_of(
        SpaceSpec(
            darts_cells=DartsCells.model_validate({**SMALL, "operations": ("skip_connect", "none", "sep_conv_3x3")})
        )
    ),
    "nasbench201": space_of(
        SpaceSpec(
            nas_bench201=NasBench201.model_validate(
                {"search": {"channels": 4, "cells": 1}, "final": {"channels": 6, "cells": 2}}
            )
        )
    ),
}
every_space = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES.keys())
SHAPES = [(1, 8, 8), (3, 32, 32), (2, 7, 5), (1, 1, 1), (3, 1, 9)]


def uniform(space: Space) -> Mix:
    return {
        choice.name: torch.full((len(choice.alternatives),), 1 / len(choice.alternatives))
        for choice in space.choices
        if not choice.is_subset
    }


def one_path(space: Space, architecture: Architecture) -> Mix:
    """All weight on what the architecture holds, and none on the edges that it does not have."""
    return {
        choice.name: torch.tensor(
            [float(architecture.values.get(choice.name) == option) for option in choice.alternatives]
        ).double()
        for choice in space.choices
        if not choice.is_subset
    }


def move_statistics(module: nn.Module) -> None:
    """Give batch normalisations statistics and parameters that are not the ones they start with."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            assert part.running_mean is not None
            assert part.running_var is not None
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2.0)
            if part.affine:
                nn.init.uniform_(part.weight, 0.5, 2.0)
                nn.init.normal_(part.bias)


@every_space
def test_the_network_asks_for_exactly_the_choices_that_the_space_declares(space: Space) -> None:
    assert trace(space) == {choice.name: choice.alternatives for choice in space.choices}


@every_space
def test_the_mixture_of_every_edge_is_in_the_order_of_the_choice(space: Space) -> None:
    declared = {choice.name: choice.alternatives for choice in space.choices}
    mixtures = [m for m in supernet(space, shape=(1, 8, 8), classes=10).modules() if isinstance(m, Mixture)]
    assert {mixture.name for mixture in mixtures} == {c.name for c in space.choices if not c.is_subset}
    for mixture in mixtures:
        assert tuple(mixture) == declared[mixture.name]


@every_space
def test_every_option_of_every_choice_can_be_built(space: Space) -> None:
    options = {(c.name, option) for c in space.choices for option in c.options}
    rng = np.random.default_rng(0)
    with torch.device("meta"):
        for _ in range(400):
            architecture = space.sample(rng)
            network(space, architecture, stack="search", shape=(1, 8, 8), classes=10)
            options -= set(architecture.values.items())
            if not options:
                break
    assert not options


def test_a_trace_refuses_a_choice_that_is_asked_in_two_ways() -> None:
    chooser = Trace()
    chooser.inputs("cell/inputs", 3, 2)
    with pytest.raises(ValueError, match="cell/inputs must always be asked alike"):
        chooser.inputs("cell/inputs", 4, 2)


def test_a_choice_that_the_network_does_not_ask_for_is_refused() -> None:
    larger = Space("larger", (*DARTS.choices, Choice("normal/9/9", ("skip_connect",))), DARTS.settings)
    with pytest.raises(ValueError, match="must ask for every choice, but not for normal/9/9"):
        network(larger, larger.at(0), stack="search", shape=(1, 8, 8), classes=10)


@every_space
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_images_of_any_size_give_logits(space: Space, shape: tuple[int, int, int]) -> None:
    images = torch.rand(4, *shape)
    fixed = network(space, space.sample(np.random.default_rng(1)), stack="final", shape=shape, classes=7)
    mixed = supernet(space, shape=shape, classes=7)
    for logits in (fixed(images), mixed(images, uniform(space))):
        assert logits.shape == (4, 7)
        assert torch.isfinite(logits).all()


@every_space
@pytest.mark.parametrize("mode", ["training", "evaluation"])
def test_a_fixed_network_with_inherited_weights_is_one_path_of_the_supernet(space: Space, mode: str) -> None:
    torch.manual_seed(0)
    mixed = supernet(space, shape=(2, 7, 8), classes=5).double()
    move_statistics(mixed)
    state = mixed.state_dict()
    rng = np.random.default_rng(2)
    images = torch.randn(6, 2, 7, 8, dtype=torch.float64)
    outputs = []
    for _ in range(6):
        architecture = space.sample(rng)
        fixed = network(space, architecture, stack="search", shape=(2, 7, 8), classes=5, affine=False).double()
        assert fixed.state_dict().keys() < state.keys()
        fixed.load_state_dict({name: state[name] for name in fixed.state_dict()})
        for each in (fixed, mixed):
            each.train(mode == "training")
        outputs.append(fixed(images))
        torch.testing.assert_close(outputs[-1], mixed(images, one_path(space, architecture)), rtol=0, atol=1e-12)
        torch.testing.assert_close(outputs[-1], mixed(images, architecture.values), rtol=0, atol=1e-12)
        mixed.load_state_dict(state)
    assert all(not torch.allclose(first, second) for first, second in pairwise(outputs))


@every_space
def test_the_cells_of_a_supernet_have_no_affine_parameters_and_those_of_a_final_network_do(space: Space) -> None:
    def affine(module: SpaceNetwork) -> set[bool]:
        return {
            part.affine
            for name, part in module.named_modules()
            if isinstance(part, nn.BatchNorm2d) and ("cells" in name or "stages" in name) and "pool" not in name
        }

    assert affine(supernet(space, shape=(1, 8, 8), classes=10)) == {False}
    convolutional = {c.name: c.options[-1] for c in space.choices}
    if "cell/1/0" in convolutional:
        convolutional = dict.fromkeys(convolutional, "nor_conv_3x3")
    architecture = space.architecture(convolutional)
    assert affine(network(space, architecture, stack="final", shape=(1, 8, 8), classes=10)) == {True}


@every_space
def test_nothing_is_mixed_into_the_parameters(space: Space) -> None:
    mixed = supernet(space, shape=(1, 8, 8), classes=10)
    mixed(torch.rand(4, 1, 8, 8), uniform(space)).sum().backward()
    without_gradient = [name for name, parameter in mixed.named_parameters() if parameter.grad is None]
    assert not without_gradient


def test_the_published_network_has_the_published_size() -> None:
    # 1.931 M weights: the search network of the DARTS paper at 16 channels and 8 cells, without auxiliary head.
    space = space_of(SpaceSpec(darts_cells=DartsCells()))
    with torch.device("meta"):
        mixed = supernet(space, shape=(3, 32, 32), classes=10)
    assert sum(parameter.numel() for parameter in mixed.parameters()) == 1_930_618


def test_reductions_halve_the_map_and_double_the_channels() -> None:
    fixed = network(DARTS, DARTS.at(0), stack="final", shape=(3, 32, 32), classes=10)
    shapes: list[tuple[int, ...]] = []
    for cell in fixed.get_submodule("cells").children():
        cell.register_forward_hook(lambda _module, _inputs, output: shapes.append(tuple(output.shape)))
    fixed(torch.rand(2, 3, 32, 32))
    # 4 cells of 4 nodes and 6 channels; those at one third and two thirds reduce.
    assert shapes == [(2, 24, 32, 32), (2, 48, 16, 16), (2, 96, 8, 8), (2, 96, 8, 8)]
