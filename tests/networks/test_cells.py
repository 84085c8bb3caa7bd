"""What is particular to the networks with loose ends and skip connections."""

import numpy as np
import torch
from torch import nn

from archsearch.api import EnasMacro, NasnetCells
from archsearch.api import Space as SpaceSpec
from archsearch.api.signature import image_signature
from archsearch.networks import Fixed, Super, network, supernet
from archsearch.networks.enas_macro import Layer
from archsearch.networks.joined import Joined, Projection
from archsearch.networks.nasnet import Cell
from archsearch.networks.operations import FactorizedReduce
from archsearch.spaces import Architecture, Space, space_of
from archsearch.spaces.nasnet import SIDES

SIZE = {"search": {"channels": 4, "cells": 3}, "final": {"channels": 4, "cells": 3}}


def nasnet(nodes: int) -> Space:
    settings = {**SIZE, "nodes": nodes, "operations": ["skip_connect", "conv_1x1"]}
    return space_of(SpaceSpec(nasnet_cells=NasnetCells.model_validate(settings)))


def macro(layers: int) -> Space:
    settings = {"layers": layers, "search": {"channels": 4}, "final": {"channels": 4}}
    return space_of(SpaceSpec(enas_macro=EnasMacro.model_validate(settings)))


def cells(space: Space, *sources: tuple[int, int]) -> Architecture:
    """Both cells alike, with these predecessors and no operation."""
    given: dict[str, object] = {}
    for cell in ("normal", "reduction"):
        for node, pair in enumerate(sources):
            for side, source in zip(SIDES, pair, strict=True):
                given |= {f"{cell}/{node}/{side}": source, f"{cell}/{node}/{side}/op": "skip_connect"}
    return space.architecture(given)


def cell(chooser: Fixed | Super, space: Space) -> Cell:
    settings = space.settings
    assert isinstance(settings, NasnetCells)
    return Cell(
        chooser, settings, reduces=False, previous_reduces=False, inputs=({"a": 4}, {"a": 4}), channels=4, affine=False
    )


def test_joined_parts_are_convolved_as_their_concatenation() -> None:
    joined = Joined({"a": 3, "b": 5, "c": 2}, 4)
    whole = nn.Conv2d(8, 4, 1, bias=False)
    whole.weight = nn.Parameter(torch.cat([joined.weights["b"], joined.weights["a"]], dim=1))
    x = torch.rand(2, 8, 3, 3)
    torch.testing.assert_close(joined(x, ("b", "a")), whole(x))
    # New weights are drawn as those of the whole convolution.
    assert max(float(weight.detach().abs().max()) for weight in joined.weights.values()) < 10**-0.5


def test_a_projection_that_reduces_sees_what_a_factorized_reduction_sees() -> None:
    projection = Projection({"a": 3}, 4, affine=True, reduces=True)
    reduction = FactorizedReduce(3, 4, affine=True)
    reduction.even.weight, reduction.odd.weight = (joined.weights["a"] for joined in projection.joined)  # type: ignore[union-attr, assignment, index]
    x = torch.randn(2, 3, 7, 5)
    torch.testing.assert_close(projection({"a": x}), reduction(x))


def test_the_output_of_a_cell_is_what_no_node_uses() -> None:
    space = nasnet(3)
    states = {"a": torch.rand(2, 4, 5, 5)}
    for sources, loose in (
        (((0, 1), (0, 1), (0, 1)), ["0", "1", "2"]),
        (((0, 1), (2, 1), (0, 1)), ["1", "2"]),
        (((0, 1), (2, 2), (3, 3)), ["2"]),
        (((0, 1), (1, 1), (2, 3)), ["2"]),
    ):
        architecture = cells(space, *sources)
        built = cell(Fixed(architecture), space)
        assert list(built.outputs) == list(built(states, states, None)) == loose
        assert list(cell(Super(space), space)(states, states, architecture.values)) == loose


def test_in_a_mixture_a_node_is_in_the_output_as_far_as_nobody_uses_it() -> None:
    space = nasnet(2)
    built = cell(Super(space), space)
    states = {"a": torch.rand(2, 4, 5, 5)}
    mix = {choice.name: torch.tensor([0.5, 0.3, 0.2][: len(choice.options)]) for choice in space.choices}
    outputs = built(states, states, mix)
    assert list(outputs) == ["0", "1"]
    before, previous = built.before_previous(states), built.previous(states)
    sides = [built.sides[f"0/{side}"].edges for side in SIDES]
    expected = sum(
        0.5 * (0.5 * before + 0.3 * edges["0"]["conv_1x1"](before))  # type: ignore[index]
        + 0.3 * (0.5 * previous + 0.3 * edges["1"]["conv_1x1"](previous))  # type: ignore[index]
        for edges in sides
    )
    # The two sides of node 1 see node 0 with a weight of 0.2 each.
    torch.testing.assert_close(outputs["0"], 0.8**2 * expected)


def test_the_classifier_sees_all_loose_ends() -> None:
    space = nasnet(3)
    for sources, parts in ((((0, 1), (0, 1), (0, 1)), 3), (((0, 1), (2, 2), (3, 3)), 1)):
        fixed = network(space, cells(space, *sources), stack="search", signature=image_signature((3, 8, 8), 10))
        weights = fixed.get_submodule("classifier.weights")
        assert [tuple(weight.shape) for weight in weights.parameters()] == [(10, 16, 1, 1)] * parts


def test_macro_layers_halve_the_map_and_double_the_channels_at_one_third_and_two_thirds() -> None:
    space = macro(6)
    fixed = network(
        space, space.sample(np.random.default_rng(0)), stack="search", signature=image_signature((3, 9, 12), 10)
    )
    shapes: list[tuple[int, ...]] = []
    for layer in fixed.get_submodule("layers").children():
        layer.register_forward_hook(lambda _module, _inputs, output: shapes.append(tuple(output.shape)))
    fixed(torch.rand(2, 3, 9, 12))
    assert shapes == [(2, 4, 9, 12)] * 2 + [(2, 8, 5, 6)] * 2 + [(2, 16, 3, 3)] * 2


def test_a_macro_layer_joins_what_its_bits_say_with_the_weight_of_the_bit() -> None:
    space = macro(3)
    layer = Layer(Super(space), 2, inputs=4, sources=[4, 4], channels=4, affine=False).eval()
    x, outputs = torch.rand(2, 4, 5, 5), [torch.rand(2, 4, 5, 5), torch.rand(2, 4, 5, 5)]
    mix = {"layer/2": "max_pool_3x3", "skip/2/0": 0, "skip/2/1": 1}
    joined = layer(x, outputs, mix)
    result = layer.operation(layer.first(x), mix)
    torch.testing.assert_close(joined, layer.join({"result": result, "1": outputs[1]}))
    half = layer(x, outputs, mix | {"skip/2/0": torch.tensor([0.25, 0.75])})
    torch.testing.assert_close(half, layer.join({"result": result, "0": 0.75 * outputs[0], "1": outputs[1]}))


def test_a_macro_network_has_weights_only_for_the_connections_that_it_has() -> None:
    space = macro(6)
    operations = {f"layer/{layer}": "max_pool_3x3" for layer in range(6)}
    every = {f"skip/{layer}/{source}": 1 for layer in range(6) for source in range(layer)}

    def slices(bits: dict[str, int]) -> list[str]:
        architecture = space.architecture(operations | bits)
        built = network(space, architecture, stack="search", signature=image_signature((3, 8, 8), 10))
        return [name for name, _ in built.named_parameters() if "weights" in name and "result" not in name]

    assert len(slices(every)) == 15
    assert slices(dict.fromkeys(every, 0) | {"skip/5/2": 1}) == ["layers.5.join.joined.0.weights.2"]
    assert set(slices(every)) < {
        name for name, _ in supernet(space, signature=image_signature((3, 8, 8), 10)).named_parameters()
    }
