"""The detector: what it asks, where its places are, what it merges, and that it is one path of its supernet."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from archsearch.api import Space as SpaceSpec
from archsearch.api.signature import Input, Signature
from archsearch.hardware import count
from archsearch.networks import inherit, network, supernet, trace
from archsearch.networks.pyramid import Attention, Node, at_level
from archsearch.spaces import space_of
from archsearch.spaces.pyramid import unused

STAGES = [{"channels": 4, "layers": 2}, *[{"channels": 8, "layers": 1}] * 3]
SETTINGS = {"stages": STAGES, "nodes": 5, "pyramidChannels": 8, "blocks": ["k3e2", "k5e1g2"]}
SPACE = space_of(SpaceSpec.model_validate({"featurePyramid": SETTINGS}))


def signature(*shape: int) -> Signature:
    return Signature(inputs=(Input(name="images", shape=shape),), outputs="Boxes", classes=3)


def test_the_network_asks_for_exactly_the_choices_that_the_space_declares() -> None:
    assert trace(SPACE) == {choice.name: choice.alternatives for choice in SPACE.choices}


@pytest.mark.parametrize("shape", [(1, 40, 72), (3, 17, 90), (1, 1, 1)])
def test_every_place_of_three_strides_has_a_box(shape: tuple[int, ...]) -> None:
    height, width = shape[1:]
    expected = sum(-(-height // stride) * -(-width // stride) for stride in (8, 16, 32))
    rng = np.random.default_rng(0)
    for _ in range(5):
        built = network(SPACE, SPACE.sample(rng), stack="final", signature=signature(*shape))
        outputs = built.eval()(torch.rand(2, *shape))
        assert outputs.shape == (2, expected, 7)
        left, top, right, bottom = outputs[..., :4].unbind(2)
        assert (left < right).all()
        assert (top < bottom).all()


def test_a_fixed_network_with_inherited_weights_is_one_path_of_the_supernet() -> None:
    torch.manual_seed(0)
    mixed = supernet(SPACE, signature=signature(1, 40, 40)).double()
    state, images = mixed.state_dict(), torch.randn(2, 1, 40, 40).double()
    outputs = []
    for architecture in (SPACE.sample(np.random.default_rng(seed)) for seed in range(6)):
        fixed = network(SPACE, architecture, stack="search", signature=signature(1, 40, 40), affine=False).double()
        inherit(fixed, state)
        for each in (fixed, mixed):
            each.eval()
        outputs.append(fixed(images))
        torch.testing.assert_close(outputs[-1], mixed(images, architecture.values), rtol=0, atol=1e-12)
    assert all(not torch.allclose(first, second) for first, second in pairwise(outputs))


def test_a_mix_that_names_no_two_maps_is_refused() -> None:
    mixed = supernet(SPACE, signature=signature(1, 40, 40))
    values = {name: value for name, value in SPACE.at(0).values.items() if name != "pyramid/1/inputs"}
    with pytest.raises(TypeError, match="pyramid/1/inputs must be 2 maps in a mix"):
        mixed(torch.rand(2, 1, 40, 40), values)


def test_what_no_node_takes_is_added_to_the_output_of_its_level() -> None:
    assert unused([(0, 1), (0, 3), (1, 3), (0, 5), (0, 6)]) == {2, 4}
    names = {choice.name: choice.options[0] for choice in SPACE.choices} | {"pyramid/1/level": 2}
    architecture = SPACE.architecture(names)  # every node takes maps 0 and 1: 2, 3 and 4 are left
    built = network(SPACE, architecture, stack="final", signature=signature(1, 64, 64)).eval()
    maps: list[torch.Tensor] = []
    for part in built.modules():
        if isinstance(part, Node):
            part.register_forward_hook(lambda _module, _inputs, output: maps.append(output))
    lateral = built.get_submodule("lateral.2")
    lateral.register_forward_hook(lambda _module, _inputs, output: maps.append(output))
    images = torch.rand(1, 1, 64, 64)
    found = built.features(images)  # type: ignore[operator]
    last, first, second, high, middle, low = maps
    torch.testing.assert_close(found[0], high + first)
    torch.testing.assert_close(found[1], middle)
    torch.testing.assert_close(found[2], low + last + second)


def test_a_map_is_resized_by_repeating_and_by_the_largest() -> None:
    x, sizes = torch.arange(15.0).view(1, 1, 3, 5), [(5, 9), (3, 5), (2, 3)]
    assert at_level(x, 1, 2, sizes).tolist() == [[[[6, 8, 9], [11, 13, 14]]]]
    assert at_level(x, 1, 0, sizes).shape == (1, 1, 5, 9)
    assert at_level(x, 0, 0, sizes) is x


def test_attention_weighs_the_second_map_by_the_largest_of_the_first() -> None:
    first, second = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5)
    expected = first[1, 2] + second[1, 2] * torch.sigmoid(first[1, 2].max())
    torch.testing.assert_close(Attention()(torch.stack([first, second]))[1, 2], expected)


def test_a_network_is_counted_without_being_made() -> None:
    architecture = SPACE.sample(np.random.default_rng(4))
    with torch.device("meta"):
        unmade = network(SPACE, architecture, stack="final", signature=signature(1, 40, 40))
    made = network(SPACE, architecture, stack="final", signature=signature(1, 40, 40))
    assert count(unmade, torch.zeros(1, 1, 40, 40)) == count(made, torch.zeros(1, 1, 40, 40))
