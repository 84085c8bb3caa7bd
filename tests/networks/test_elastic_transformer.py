"""The elastic Transformer: parts share weights, places do not see what they must not, and what is padded is nothing."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from archsearch.api import Space as SpaceSpec
from archsearch.api.signature import Input, Signature
from archsearch.hardware import Deployed, activation_mib, count, export_onnx
from archsearch.networks import SpaceNetwork, inherit, network, supernet, trace
from archsearch.networks.elastic_transformer import positions
from archsearch.networks.inputs import random_inputs
from archsearch.spaces import Architecture, Space, space_of

TEXTS = Signature(
    inputs=(Input(name="source", shape=(9,), vocabulary=20), Input(name="target", shape=(7,), vocabulary=20)),
    outputs="Tokens",
    classes=20,
)
SETTINGS: dict[str, Any] = {
    "widths": [16, 24], "encoderDepths": [3, 2], "decoderDepths": [1, 2], "feedForward": [32, 16], "heads": [1, 3],
    "headChannels": 8, "attends": [2, 1], "dropout": "0", "search": {"widthPercent": 100},
    "final": {"widthPercent": 150},
}  # fmt: skip


def space(**changes: Any) -> Space:
    return space_of(SpaceSpec.model_validate({"elasticTransformer": SETTINGS | changes}))


SPACE = space()


def texts(count: int = 5, ends: bool = True) -> tuple[Tensor, Tensor]:
    """Random tokens; with padding after some of them."""
    generator = torch.Generator().manual_seed(3)
    source = torch.randint(1, 20, (count, 9), generator=generator)
    target = torch.randint(1, 20, (count, 7), generator=generator)
    if ends:
        source[1, 5:], target[1, 3:] = 0, 0
    return source, target


def built(architecture: Architecture | None = None, of: Space = SPACE, stack: Any = "search") -> SpaceNetwork:
    torch.manual_seed(0)
    made = network(of, architecture or of.sample(np.random.default_rng(5)), stack=stack, signature=TEXTS)
    for name, value in made.named_parameters():  # biases and normalisations that are not where they start
        if value.dim() == 1:
            nn.init.normal_(value, mean=float("norm.weight" in name), std=0.3)
    return made.eval()


def test_the_network_asks_for_exactly_the_choices_that_the_space_declares() -> None:
    assert trace(SPACE) == {choice.name: choice.alternatives for choice in SPACE.choices}


def test_every_option_of_every_choice_can_be_built() -> None:
    options = {(choice.name, option) for choice in SPACE.choices for option in choice.options}
    rng = np.random.default_rng(0)
    with torch.device("meta"):
        for _ in range(100):
            architecture = SPACE.sample(rng)
            network(SPACE, architecture, stack="final", signature=TEXTS)
            options -= set(architecture.values.items())
    assert not options


@pytest.mark.parametrize("mode", ["training", "evaluation"])
def test_a_fixed_network_with_inherited_weights_is_one_path_of_the_supernet(mode: str) -> None:
    torch.manual_seed(0)
    mixed = supernet(SPACE, signature=TEXTS).double().train(mode == "training")
    for value in mixed.parameters():
        nn.init.normal_(value, std=0.3)
    rng, outputs = np.random.default_rng(2), []
    for architecture in list(dict.fromkeys(SPACE.sample(rng) for _ in range(20)))[:6]:
        fixed = network(SPACE, architecture, stack="search", signature=TEXTS, affine=False).double()
        assert fixed.state_dict().keys() <= mixed.state_dict().keys()
        inherit(fixed, mixed.state_dict())
        outputs.append(fixed.train(mode == "training")(texts()))
        torch.testing.assert_close(outputs[-1], mixed(texts(), architecture.values), rtol=0, atol=1e-12)
    assert all(not torch.allclose(first, second) for first, second in pairwise(outputs))


def test_the_largest_path_uses_every_weight() -> None:
    mixed = supernet(SPACE, signature=TEXTS)
    largest = {choice.name: max(choice.options) for choice in SPACE.choices}
    mixed(texts(), largest).square().sum().backward()
    assert [name for name, value in mixed.named_parameters() if value.grad is None or not value.grad.any()] in (
        [],
        [name for name in mixed.state_dict() if "key.bias" in name],  # no softmax sees it
    )


def test_a_place_sees_what_is_before_it_and_the_whole_source() -> None:
    made = built().double()
    source, target = texts(ends=False)
    first = made((source, target))
    later = target.clone()
    later[:, 4] = later[:, 4] % 19 + 1
    second = made((source, later))
    torch.testing.assert_close(first[:, :, :4], second[:, :, :4], rtol=0, atol=1e-12)
    assert (first[:, :, 4:] - second[:, :, 4:]).abs().amax(1).min() > 1e-6
    last = source.clone()
    last[:, 8] = last[:, 8] % 19 + 1
    assert (first - made((last, target))).abs().amax(1).min() > 1e-6


def test_padding_changes_nothing_and_has_no_answer() -> None:
    made = built().double()
    source, target = texts(ends=False)
    shorter = made((source[:, :6], target[:, :4]))
    source[:, 6:], target[:, 4:] = 0, 0
    padded = made((source, target))
    torch.testing.assert_close(padded[:, :, :4], shorter, rtol=0, atol=1e-12)
    assert not padded[:, :, 4:].any()


def test_padding_alone_gives_numbers() -> None:
    made = built()
    zeros = torch.zeros(2, 9, dtype=torch.int64), torch.zeros(2, 7, dtype=torch.int64)
    assert torch.isfinite(made(zeros)).all()
    zeros[1][:, 0] = 2
    assert torch.isfinite(made(zeros)).all()


def test_a_layer_of_the_decoder_sees_as_many_layers_of_the_encoder_as_it_says() -> None:
    base = SPACE.sample(np.random.default_rng(5)).values | {
        "encoder/depth": 3, "decoder/depth": 1, "decoder/0/attends": 1,
    }  # fmt: skip
    lengths: list[int] = []
    for attends in (1, 2):
        complete = {choice.name: max(choice.options) for choice in SPACE.choices} | base
        made = built(SPACE.architecture(complete | {"decoder/0/attends": attends}))
        keys = made.get_submodule("decoder.0.cross.key")
        keys.register_forward_hook(lambda _module, inputs, _output: lengths.append(inputs[0].shape[1]))
        made(texts())
    assert lengths == [9, 18]


def test_the_sizes_are_those_of_the_architecture() -> None:
    values = {choice.name: max(choice.options) for choice in SPACE.choices}
    smallest = {choice.name: min(choice.options) for choice in SPACE.choices}
    large, small = (built(SPACE.architecture(each)) for each in (values, smallest))
    assert large.get_parameter("embedding").shape == (20, 24)
    assert large.get_parameter("encoder.2.feed_forward.widen.weight").shape == (32, 24)
    assert large.get_parameter("decoder.1.cross.query.weight").shape == (24, 24)
    assert small.get_parameter("embedding").shape == (20, 16)
    assert small.get_parameter("decoder.0.attention.project.weight").shape == (16, 8)
    assert len(list(small.get_submodule("encoder").children())) == 2
    final = built(SPACE.architecture(smallest), stack="final")
    assert final.get_parameter("decoder.0.attention.project.weight").shape == (24, 12)
    (fewer, less), (more, most) = (count(each, random_inputs(TEXTS, 1)) for each in (small, large))
    assert fewer < more
    assert less < most
    assert activation_mib(small, random_inputs(TEXTS, 1)) < activation_mib(large, random_inputs(TEXTS, 1))


def test_a_network_is_counted_without_being_made() -> None:
    architecture = SPACE.sample(np.random.default_rng(4))
    with torch.device("meta"):
        unmade = network(SPACE, architecture, stack="final", signature=TEXTS)
    made = network(SPACE, architecture, stack="final", signature=TEXTS)
    assert count(unmade, random_inputs(TEXTS, 1)) == count(made, random_inputs(TEXTS, 1))


def test_dropout_is_for_training_only() -> None:
    made = built(of=space(dropout="0.5"))
    assert torch.equal(made(texts()), made(texts()))
    made.train()
    assert not torch.equal(made(texts()), made(texts()))


def test_positions_are_those_of_the_paper() -> None:
    """sin(p / 10000^(2i / channels)) in channel 2i, the cosine in the next (Vaswani et al. 2017, section 3.5)."""
    found = positions(50, 8)
    assert found.shape == (50, 8)
    assert float(found[7, 4]) == pytest.approx(np.sin(7 / 10_000 ** (4 / 8)), abs=1e-6)
    assert float(found[7, 5]) == pytest.approx(np.cos(7 / 10_000 ** (4 / 8)), abs=1e-6)


def test_real_texts_are_exported(tmp_path: Path) -> None:
    """With padding in them, in any number."""
    made = built(SPACE.architecture({choice.name: max(choice.options) for choice in SPACE.choices}))
    assert export_onnx(Deployed(made, TEXTS), tmp_path / "model.onnx", texts(11)) < 1e-5


def test_its_graph_has_a_chain_for_each_side() -> None:
    assert SPACE.graph is not None
    smallest = SPACE.architecture({choice.name: min(choice.options) for choice in SPACE.choices})
    cells = SPACE.graph(smallest)
    labels = {side: [edge.operation for edge in edges] for side, edges in cells.items()}
    assert labels == {"encoder": ["w16", "h1f16", "h1f16", ""], "decoder": ["w16", "h1c1a1f16", ""]}
    rng = np.random.default_rng(0)
    drawn = {SPACE.sample(rng) for _ in range(200)}
    assert len({str(SPACE.graph(each)) for each in drawn}) == len(drawn)
