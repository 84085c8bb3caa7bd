"""Networks that answer for each pixel: their size, and that a mixture weighs each level's answers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from archsearch.api import Space as SpaceSpec
from archsearch.api.signature import Input, Signature
from archsearch.networks import Mix, inherit, network, supernet
from archsearch.networks.dense import AtrousHead
from archsearch.spaces import Architecture, Space, space_of

SETTINGS = {"layers": 3, "nodes": 1, "search": {"channels": 4}, "final": {"channels": 2}, "stemReductions": 1}
TRELLIS = space_of(SpaceSpec.model_validate({"resolutionTrellis": SETTINGS}))


def signature(*shape: int) -> Signature:
    return Signature(inputs=(Input(name="images", shape=shape),), outputs="Map", classes=3)


def all_weight(space: Space, architecture: Architecture) -> Mix:
    return {
        choice.name: torch.tensor([float(architecture.values.get(choice.name) == x) for x in choice.alternatives])
        for choice in space.choices
        if not choice.is_subset
    }


@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 17, 9), (1, 1, 1)])
def test_every_pixel_of_the_image_has_an_answer(shape: tuple[int, ...]) -> None:
    mix = {c.name: torch.full((len(c.alternatives),), 0.3) for c in TRELLIS.choices if not c.is_subset}
    images = torch.rand(4, *shape)
    fixed = network(TRELLIS, TRELLIS.sample(np.random.default_rng(0)), stack="final", signature=signature(*shape))
    for outputs in (fixed(images), supernet(TRELLIS, signature=signature(*shape))(images, mix)):
        assert outputs.shape == (4, 3, *shape[1:])
        assert torch.isfinite(outputs).all()


def test_a_fixed_network_with_inherited_weights_is_one_path_of_the_supernet() -> None:
    torch.manual_seed(0)
    mixed = supernet(TRELLIS, signature=signature(1, 16, 16)).eval()
    state, images, rng = mixed.state_dict(), torch.randn(2, 1, 16, 16), np.random.default_rng(1)
    for _ in range(4):
        architecture = TRELLIS.sample(rng)
        fixed = network(TRELLIS, architecture, stack="search", signature=signature(1, 16, 16), affine=False).eval()
        inherit(fixed, state)
        for path in (architecture.values, all_weight(TRELLIS, architecture)):
            torch.testing.assert_close(fixed(images), mixed(images, path), rtol=1e-4, atol=1e-5)


def test_the_weights_of_the_last_steps_have_gradients() -> None:
    mix = {c.name: torch.full((len(c.alternatives),), 0.3).requires_grad_() for c in TRELLIS.choices if not c.is_subset}
    supernet(TRELLIS, signature=signature(1, 16, 16))(torch.rand(2, 1, 16, 16), mix).square().sum().backward()
    assert all(mix[name].grad.abs().min() > 0 for name in ("path/2/0", "path/2/1", "path/2/2"))


def test_an_answer_looks_as_far_as_its_rates_and_its_weight_is_the_maps() -> None:
    head = AtrousHead(2, 3, rates=(2, 4))
    x = torch.zeros(1, 2, 15, 15)
    x[..., 7, 7] = 1
    reached = (head(x).abs().sum((0, 1)) > 0).nonzero().tolist()
    steps = (0, 2, -2), (0, 4, -4)
    assert sorted(map(tuple, reached)) == sorted({(7 + a, 7 + b) for step in steps for a in step for b in step})
    torch.testing.assert_close(head(0.25 * x), 0.25 * head(x))
