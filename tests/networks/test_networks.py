"""What the networks of every space must do, at the sizes that the demonstrations and the smallest data need."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from archsearch.api import DartsCells, ElasticChain, EnasMacro, MbconvChain, NasBench201, NasnetCells
from archsearch.api import Space as SpaceSpec
from archsearch.api.signature import image_signature
from archsearch.hardware import count
from archsearch.networks import Mix, SpaceNetwork, Sparse, Trace, inherit, network, supernet, trace
from archsearch.networks.chooser import Mixture
from archsearch.networks.operations import NASNET_OPERATIONS
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
WIDTHS = {"search": {"widthPercent": 50}, "final": {"widthPercent": 75}}


def nasnet(nodes: int, *operations: str) -> Space:
    settings = {**SMALL, "nodes": nodes} | ({"operations": operations} if operations else {})
    return space_of(SpaceSpec(nasnet_cells=NasnetCells.model_validate(settings)))


def elastic(kernels: list[int]) -> Space:
    settings = {
        "stem": {"channels": 8},
        "stages": [{"channels": 8, "depths": [1, 3]}, {"channels": 12, "depths": [2], "stride": 2}],
        "headChannels": 16,
        "kernels": kernels,
        "expansions": [3, 1],
    }
    return space_of(SpaceSpec(elastic_chain=ElasticChain.model_validate(settings | WIDTHS)))


SPACES |= {
    "nasnet": nasnet(3, *NASNET_OPERATIONS),
    "nasnet-default": nasnet(2),
    "nasnet-1-node": nasnet(1, "conv_1x1"),
    "enas-macro": space_of(
        SpaceSpec(
            enas_macro=EnasMacro.model_validate({"layers": 5, "search": {"channels": 2}, "final": {"channels": 4}})
        )
    ),
    "mbconv": space_of(
        SpaceSpec(
            mbconv_chain=MbconvChain.model_validate(
                {
                    "stem": {"channels": 8, "stride": 2, "separable": 6},
                    "stages": [{"channels": 6, "layers": 2}, {"channels": 12, "layers": 2, "stride": 2}],
                    "headChannels": 16,
                    "blocks": ["k3e1g2", "k5e2", "k7e3"],
                }
                | WIDTHS
            )
        )
    ),
    "elastic": elastic([3, 5, 7]),
    "elastic-1-kernel": elastic([5]),
}


def trellis(**settings: Any) -> Space:
    sizes = {"search": {"channels": 4}, "final": {"channels": 2}}
    return space_of(SpaceSpec.model_validate({"resolutionTrellis": {"nodes": 2, **sizes, **settings}}))


MOTIFS = {"motifs": 2, "motifNodes": 3, "cellNodes": 3}
STAGES = {"search": {"channels": 4, "cells": 1}, "final": {"channels": 6, "cells": 2}}
SPACES |= {
    "trellis": trellis(layers=3),
    "trellis-small-images": trellis(
        layers=1, levels=2, nodes=1, stemReductions=2, operations=["sep_conv_3x3", "dil_conv_3x3"]
    ),
    "motifs": space_of(SpaceSpec.model_validate({"hierarchicalMotifs": MOTIFS | STAGES})),
}
every_space = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES.keys())
SHAPES = [(1, 8, 8), (3, 32, 32), (2, 7, 5), (1, 1, 1), (3, 1, 9)]


def uniform(space: Space) -> Mix:
    return {
        choice.name: torch.full((len(choice.alternatives),), 1 / len(choice.alternatives))
        for choice in space.choices
        if not choice.is_subset
    }


def largest(space: Space) -> Mix:
    """The values of the architecture that has the largest number wherever there is one."""
    return space.architecture({choice.name: max(choice.options) for choice in space.choices}).values


def everything(space: Space) -> Mix:
    """A mix with which a supernet uses all its weights, where it has one."""
    return uniform(space) if space.mixable else largest(space)


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
    mixtures = [
        m for m in supernet(space, signature=image_signature((1, 8, 8), 10)).modules() if isinstance(m, Mixture)
    ]
    assert {mixture.name for mixture in mixtures} == {c.name for c in space.choices if isinstance(c.options[0], str)}
    for mixture in mixtures:
        assert tuple(mixture) == declared[mixture.name]


@every_space
def test_every_option_of_every_choice_can_be_built(space: Space) -> None:
    options = {(c.name, option) for c in space.choices for option in c.options}
    rng = np.random.default_rng(0)
    with torch.device("meta"):
        for _ in range(400):
            architecture = space.sample(rng)
            network(space, architecture, stack="search", signature=image_signature((1, 8, 8), 10))
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
        network(larger, larger.at(0), stack="search", signature=image_signature((1, 8, 8), 10))


@every_space
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_images_of_any_size_give_logits(space: Space, shape: tuple[int, int, int]) -> None:
    images = torch.rand(4, *shape)
    fixed = network(space, space.sample(np.random.default_rng(1)), stack="final", signature=image_signature(shape, 7))
    mixed = supernet(space, signature=image_signature(shape, 7))
    for logits in (fixed(images), mixed(images, everything(space))):
        assert logits.shape == (4, 7)
        assert torch.isfinite(logits).all()


@every_space
@pytest.mark.parametrize("mode", ["training", "evaluation"])
def test_a_fixed_network_with_inherited_weights_is_one_path_of_the_supernet(space: Space, mode: str) -> None:
    torch.manual_seed(0)
    mixed = supernet(space, signature=image_signature((2, 7, 8), 5)).double()
    move_statistics(mixed)
    state = {name: value.clone() for name, value in mixed.state_dict().items()}
    rng = np.random.default_rng(2)
    images = torch.randn(6, 2, 7, 8, dtype=torch.float64)
    outputs = []
    for architecture in list(dict.fromkeys(space.sample(rng) for _ in range(20)))[:6]:
        fixed = network(
            space, architecture, stack="search", signature=image_signature((2, 7, 8), 5), affine=False
        ).double()
        assert fixed.state_dict().keys() <= state.keys()
        inherit(fixed, state)
        for each in (fixed, mixed):
            each.train(mode == "training")
        outputs.append(fixed(images))
        paths = [architecture.values, *([one_path(space, architecture)] if space.mixable else [])]
        for path in paths:
            torch.testing.assert_close(outputs[-1], mixed(images, path), rtol=0, atol=1e-12)
            mixed.load_state_dict(state)
    assert all(not torch.allclose(first, second) for first, second in pairwise(outputs))


@every_space
def test_the_cells_of_a_supernet_have_no_affine_parameters_and_those_of_a_final_network_do(space: Space) -> None:
    def affine(module: SpaceNetwork) -> set[bool]:
        return {
            part.affine
            for name, part in module.named_modules()
            if isinstance(part, nn.BatchNorm2d)
            and name.startswith(("cells", "stages", "layers"))
            and "pool" not in name
        }

    # Where nothing is mixed, a normalisation undoes no weight.
    assert affine(supernet(space, signature=image_signature((1, 8, 8), 10))) == {not space.mixable}
    convolutional = {c.name: c.options[-1] for c in space.choices}
    if "layer/0" in convolutional:
        convolutional |= {f"layer/{layer}": "conv_3x3" for layer in range(5)}
    if space.name == "nasBench201":
        convolutional = dict.fromkeys(convolutional, "nor_conv_3x3")
    architecture = space.architecture(convolutional)
    assert affine(network(space, architecture, stack="final", signature=image_signature((1, 8, 8), 10))) == {True}


@pytest.mark.parametrize("name", [name for name in SPACES if name != "motifs"])  # no architecture has all of them
def test_nothing_is_mixed_into_the_parameters(name: str) -> None:
    space = SPACES[name]
    mixed = supernet(space, signature=image_signature((1, 8, 8), 10))
    mixed(torch.rand(4, 1, 8, 8), everything(space)).sum().backward()
    without_gradient = [name for name, parameter in mixed.named_parameters() if parameter.grad is None]
    assert not without_gradient


@pytest.mark.parametrize("name", [name for name, space in SPACES.items() if space.mixable])
def test_every_mixing_weight_has_a_gradient(name: str) -> None:
    space = SPACES[name]
    mix = {name: weights.clone().requires_grad_() for name, weights in uniform(space).items()}
    supernet(space, signature=image_signature((1, 8, 8), 10))(torch.rand(4, 1, 8, 8), mix).square().sum().backward()
    assert all(torch.isfinite(weights.grad).all() for weights in mix.values())
    assert all(weights.grad.abs().max() > 0 for weights in mix.values() if len(weights) > 1)


@every_space
def test_one_path_of_a_sparse_mix_is_the_architecture(space: Space) -> None:
    mixed = supernet(space, signature=image_signature((1, 8, 8), 10)).eval()
    architecture = space.sample(np.random.default_rng(3))
    mix: dict[str, Any] = dict(architecture.values)
    for choice in space.choices:
        if not choice.is_subset and choice.name in architecture.values:
            at = choice.alternatives.index(architecture[choice.name])
            mix[choice.name] = Sparse(torch.eye(len(choice.alternatives))[at], (at,))
    images = torch.rand(4, 1, 8, 8)
    torch.testing.assert_close(mixed(images, mix), mixed(images, architecture.values), rtol=1e-5, atol=1e-5)


@every_space
def test_a_network_is_counted_without_being_made(space: Space) -> None:
    architecture = space.sample(np.random.default_rng(4))
    with torch.device("meta"):
        unmade = network(space, architecture, stack="final", signature=image_signature((3, 8, 8), 10))
    counted = count(unmade, torch.zeros(1, 3, 8, 8))
    made = network(space, architecture, stack="final", signature=image_signature((3, 8, 8), 10))
    assert counted == count(made, torch.zeros(1, 3, 8, 8))
    assert counted[0] == sum(parameter.numel() for parameter in made.parameters())


def test_a_supernet_of_numbers_runs_one_architecture_at_a_time() -> None:
    mixed = supernet(SPACES["elastic"], signature=image_signature((1, 8, 8), 10))
    with pytest.raises(TypeError, match=r"0/depth must be one number in a mix, but got weights of \[1, 3\]"):
        mixed(torch.rand(4, 1, 8, 8), uniform(SPACES["elastic"]))
    with pytest.raises(TypeError, match=r"0/depth must be a number or weights in a mix, but got None"):
        mixed(torch.rand(4, 1, 8, 8))
    with pytest.raises(ValueError, match=r"0/depth must have 2 weights, but got \(3,\)"):
        mixed(torch.rand(4, 1, 8, 8), {"0/depth": torch.ones(3)})


def test_weights_that_do_not_fit_are_not_inherited() -> None:
    space = SPACES["elastic"]
    fixed = network(space, space.at(0), stack="search", signature=image_signature((1, 8, 8), 10))
    shared = supernet(space, signature=image_signature((1, 8, 8), 10)).state_dict()
    with pytest.raises(ValueError, match=r"hold a larger classifier\.weight: a part of \(9, 8\) must .* got \(10, 8\)"):
        inherit(fixed, shared | {"classifier.weight": torch.zeros(9, 8)})
    with pytest.raises(ValueError, match=r"depthwise\.weight: a part of \(24, 1, 4, 4\) must fit in its middle"):
        inherit(fixed, shared | {"stages.0.0.depthwise.weight": torch.zeros(24, 1, 4, 4)})
    with pytest.raises(ValueError, match=r"classifier\.weight: a part must have 1 dimensions, but got \(10, 8\)"):
        inherit(fixed, shared | {"classifier.weight": torch.zeros(10)})
    del shared["classifier.bias"]
    with pytest.raises(ValueError, match=r"the shared weights must hold classifier\.bias, but do not"):
        inherit(fixed, shared)


def test_the_published_network_has_the_published_size() -> None:
    # 1.931 M weights: the search network of the DARTS paper at 16 channels and 8 cells, without auxiliary head.
    space = space_of(SpaceSpec(darts_cells=DartsCells()))
    with torch.device("meta"):
        mixed = supernet(space, signature=image_signature((3, 32, 32), 10))
    assert sum(parameter.numel() for parameter in mixed.parameters()) == 1_930_618


def test_reductions_halve_the_map_and_double_the_channels() -> None:
    fixed = network(DARTS, DARTS.at(0), stack="final", signature=image_signature((3, 32, 32), 10))
    shapes: list[tuple[int, ...]] = []
    for cell in fixed.get_submodule("cells").children():
        cell.register_forward_hook(lambda _module, _inputs, output: shapes.append(tuple(output.shape)))
    fixed(torch.rand(2, 3, 32, 32))
    # 4 cells of 4 nodes and 6 channels; those at one third and two thirds reduce.
    assert shapes == [(2, 24, 32, 32), (2, 48, 16, 16), (2, 96, 8, 8), (2, 96, 8, 8)]
