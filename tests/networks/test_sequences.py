"""What the networks over sequences must do, on tokens and on frames."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from archsearch.api import Space as SpaceSpec
from archsearch.api.signature import Input, Signature, image_signature
from archsearch.hardware import Deployed, activation_mib, count, export_onnx
from archsearch.networks import Mix, Sparse, inherit, network, supernet, trace
from archsearch.networks.inputs import random_inputs
from archsearch.networks.mixture import PartialChannels
from archsearch.networks.operations import Zero
from archsearch.networks.sequences import Attention, SequenceHead, shortened
from archsearch.spaces import Architecture, Space, space_of

CELLS: dict[str, Any] = {"nodes": 2, "embedding": 6, "search": {"channels": 4, "cells": 2},
                         "final": {"channels": 6, "cells": 2}}  # fmt: skip
CHAIN: dict[str, Any] = {
    "stem": {"channels": 8},
    "stages": [{"channels": 8, "layers": 2}, {"channels": 12, "layers": 2, "stride": 2}],
    "headChannels": 16,
    "embedding": 6,
    "blocks": ["k3e1g2", "k5e2", "k9e3", "attention"],
}
SPACES = {
    "cells": space_of(SpaceSpec.model_validate({"sequenceCells": CELLS})),
    "cells-reduced": space_of(SpaceSpec.model_validate({"sequenceCells": CELLS | {"reductions": 1, "nodes": 1}})),
    "chain": space_of(SpaceSpec.model_validate({"sequenceChain": CHAIN})),
    "chain-strided": space_of(
        SpaceSpec.model_validate({"sequenceChain": CHAIN | {"stem": {"channels": 4, "stride": 2}}})
    ),
}


def tokens(steps: int) -> Signature:
    return Signature(inputs=(Input(name="tokens", shape=(steps,), vocabulary=20),), outputs="Classes", classes=5)


def frames(*shape: int) -> Signature:
    given = Input(name="frames", shape=shape, mean=(-3.0,) * shape[0], std=(2.0,) * shape[0])
    return Signature(inputs=(given,), outputs="Classes", classes=5)


every_space = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES.keys())
every_signature = pytest.mark.parametrize(
    "signature", [tokens(9), tokens(1), frames(7, 12), frames(1, 1)], ids=["tokens", "token", "frames", "number"]
)


def uniform(space: Space) -> dict[str, Tensor]:
    return {
        choice.name: torch.full((len(choice.alternatives),), 1 / len(choice.alternatives))
        for choice in space.choices
        if not choice.is_subset
    }


def one_path(space: Space, architecture: Architecture) -> Mix:
    return {
        c.name: torch.tensor([float(architecture.values.get(c.name) == o) for o in c.alternatives]).double()
        for c in space.choices
        if not c.is_subset
    }


@every_space
def test_the_network_of_sequences_asks_for_what_its_space_declares(space: Space) -> None:
    declared = {choice.name: choice.alternatives for choice in space.choices}
    assert trace(space) == declared
    assert trace(space, tokens(9)) == declared


@every_space
@every_signature
def test_sequences_of_any_length_give_logits(space: Space, signature: Signature) -> None:
    fixed = network(space, space.sample(np.random.default_rng(1)), stack="final", signature=signature)
    mixed = supernet(space, signature=signature)
    inputs = random_inputs(signature, 4)
    for logits in (fixed(inputs), mixed(inputs, uniform(space))):
        assert logits.shape == (4, 5)
        assert torch.isfinite(logits).all()


@every_space
@pytest.mark.parametrize("signature", [tokens(9), frames(7, 12)], ids=["tokens", "frames"])
@pytest.mark.parametrize("mode", ["training", "evaluation"])
def test_a_fixed_network_of_sequences_is_one_path_of_the_supernet(
    space: Space, signature: Signature, mode: str
) -> None:
    torch.manual_seed(0)
    mixed = supernet(space, signature=signature).double()
    state = {name: value.clone() for name, value in mixed.state_dict().items()}
    inputs = random_inputs(signature, 6)
    inputs = inputs.double() if isinstance(inputs, Tensor) and inputs.is_floating_point() else inputs
    rng, outputs = np.random.default_rng(2), []
    for architecture in list(dict.fromkeys(space.sample(rng) for _ in range(20)))[:5]:
        fixed = network(space, architecture, stack="search", signature=signature, affine=False).double()
        assert fixed.state_dict().keys() <= state.keys()
        inherit(fixed, state)
        made = []
        for each, path in ((fixed, None), (mixed, architecture.values), (mixed, one_path(space, architecture))):
            each.train(mode == "training")
            torch.manual_seed(5)  # of the dropout
            made.append(each(inputs, path))
            mixed.load_state_dict(state)
        torch.testing.assert_close(made[1], made[0], rtol=0, atol=1e-12)
        torch.testing.assert_close(made[2], made[0], rtol=0, atol=1e-12)
        outputs.append(made[0])
    assert all(not torch.allclose(first, second) for first, second in pairwise(outputs))


@every_space
def test_every_weight_and_mixing_weight_of_sequences_has_a_gradient(space: Space) -> None:
    torch.manual_seed(0)
    mixed = supernet(space, signature=tokens(9))
    mix = {name: weights.requires_grad_() for name, weights in uniform(space).items()}
    mixed(random_inputs(tokens(9), 6), mix).square().sum().backward()
    assert not [name for name, parameter in mixed.named_parameters() if parameter.grad is None]
    assert all(weights.grad is not None and weights.grad.abs().max() > 0 for weights in mix.values())


@pytest.mark.parametrize("space", [SPACES["cells"], SPACES["cells-reduced"]], ids=["cells", "cells-reduced"])
def test_mixtures_of_sequences_can_be_sparse_and_of_a_part_of_the_channels(space: Space) -> None:
    mixed = supernet(space, signature=frames(7, 12), partial_channels=2, auxiliary_skip=True)
    assert any(isinstance(module, PartialChannels) for module in mixed.modules())
    sparse: Mix = {name: Sparse(weights, (0, 1)) for name, weights in uniform(space).items()}
    assert torch.isfinite(mixed(random_inputs(frames(7, 12), 4), sparse)).all()


@every_space
def test_networks_of_sequences_are_counted_without_being_made(space: Space) -> None:
    architecture, inputs = space.sample(np.random.default_rng(0)), random_inputs(frames(7, 12), 8)
    with torch.device("meta"):
        unmade = network(space, architecture, stack="final", signature=frames(7, 12))
    assert count(unmade, inputs) == count(network(space, architecture, stack="final", signature=frames(7, 12)), inputs)
    assert count(unmade, inputs)[1] > 0
    assert activation_mib(unmade, inputs) > 0


WORDS = {
    "cells-reduced": ["recurrent", "attention"],
    "chain": ["k3e1g2", "attention", "k9e3", "skip_connect"],
}


@pytest.mark.parametrize("name", WORDS)
def test_networks_of_sequences_can_be_exported(name: str, tmp_path: Path) -> None:
    space, signature = SPACES[name], frames(7, 12) if name == "chain" else tokens(9)
    words = iter(WORDS[name])
    values = {c.name: c.options[0] if c.is_subset else next(words, c.options[1]) for c in space.choices}
    built = network(space, space.architecture(values), stack="final", signature=signature)
    built(random_inputs(signature, 8))
    assert export_onnx(Deployed(built, signature), tmp_path / "model.onnx") < 1e-4


def test_what_pads_a_text_does_not_count() -> None:
    head = SequenceHead(2, 3, dropout=0.0)
    x = torch.tensor([[[1.0, 3.0, 9.0], [2.0, -4.0, 9.0]]])
    there = torch.tensor([[[1.0, 1.0, 0.0]]])
    features = torch.tensor([[2.0, 1.0, 3.0, 2.0]])  # means of 1, 3 and of 2, 0; maxima
    torch.testing.assert_close(head(x, there), head.linear(features))
    torch.testing.assert_close(head(x[..., :2], None), head.linear(features))
    assert torch.isfinite(head(x, torch.zeros(1, 1, 3))).all()


def test_every_second_step_remains_of_a_mask() -> None:
    there = torch.tensor([[[1.0, 1.0, 1.0, 0.0, 0.0]]])
    assert shortened(there, torch.zeros(1, 4, 3)).tolist() == [[[1.0, 1.0, 0.0]]]
    assert shortened(there, torch.zeros(1, 4, 2)).tolist() == [[[1.0, 0.0]]]


def test_attention_is_that_of_torch() -> None:
    torch.manual_seed(0)
    own, theirs = Attention(8, 8), nn.MultiheadAttention(8, 4, bias=True, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([own.query.weight, own.key_value.weight])[..., 0])
        theirs.in_proj_bias.copy_(torch.cat([own.query.bias, own.key_value.bias]))
        theirs.out_proj.weight.copy_(own.output.weight[..., 0])
        theirs.out_proj.bias.zero_()
    x = torch.randn(3, 8, 7)
    expected = theirs(*(x.transpose(1, 2),) * 3)[0].transpose(1, 2)
    torch.testing.assert_close(own(x), expected)
    strided = Attention(8, 8, stride=2)
    strided.load_state_dict(own.state_dict())
    torch.testing.assert_close(strided(x), expected[..., ::2])


def test_no_connection_is_zeros_of_a_sequence_as_well() -> None:
    assert Zero(2)(torch.ones(2, 3, 5)).shape == (2, 3, 3)
    assert not Zero(1)(torch.ones(2, 3, 5)).any()


@every_space
def test_images_are_no_sequence(space: Space) -> None:
    with pytest.raises(ValueError, match=r"images must be a sequence .* but got the shape \(1, 8, 8\)"):
        network(space, space.at(0), stack="final", signature=image_signature((1, 8, 8), 3))
