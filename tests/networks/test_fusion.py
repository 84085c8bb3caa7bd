"""Networks that fuse images and questions: a path of the supernet, at every size, exported and cheap to count."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from archsearch.api import Space as SpaceSpec
from archsearch.api.signature import Input, Signature, image_signature
from archsearch.hardware import Deployed, count, export_onnx
from archsearch.networks import Mix, Sparse, inherit, network, supernet, trace
from archsearch.networks.chooser import Mixture
from archsearch.networks.fusion import FusedNetwork
from archsearch.spaces import Architecture, Space, space_of

SIZES = {"search": {"channels": 4, "width": 8}, "final": {"channels": 6, "width": 12}}


def fusion(**settings: Any) -> Space:
    return space_of(SpaceSpec.model_validate({"fusionNetwork": SIZES | settings}))


SPACES = {
    "default": fusion(),
    "one of each": fusion(imageLayers=1, questionLayers=1, nodes=1, operators=["glu"]),
    "three nodes": fusion(imageLayers=2, nodes=3, operators=["film", "sum"]),
}
every_space = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES.keys())


def signature(shape: tuple[int, ...] = (3, 7, 8), tokens: int = 6, classes: int = 5) -> Signature:
    question = Input(name="question", shape=(tokens,), vocabulary=11)
    return Signature(inputs=(Input(name="images", shape=shape), question), outputs="Classes", classes=classes)


def inputs(count: int, shape: tuple[int, ...] = (3, 7, 8), tokens: int = 6) -> tuple[Tensor, Tensor]:
    """Images, and questions of 1 to `tokens` words."""
    generator = torch.Generator().manual_seed(0)
    words = torch.randint(1, 11, (count, tokens), generator=generator)
    ends = torch.arange(count) % tokens + 1
    return torch.randn(count, *shape, generator=generator), words * (torch.arange(tokens) < ends[:, None])


def uniform(space: Space) -> Mix:
    return {c.name: torch.full((len(c.alternatives),), 1 / len(c.alternatives)) for c in space.choices}


def one_path(space: Space, architecture: Architecture) -> Mix:
    return {
        c.name: torch.tensor([float(architecture[c.name] == option) for option in c.alternatives]).double()
        for c in space.choices
    }


@every_space
def test_the_network_asks_for_exactly_the_choices_that_the_space_declares(space: Space) -> None:
    assert trace(space) == {choice.name: choice.alternatives for choice in space.choices}


@every_space
def test_a_mixture_of_operators_is_in_the_order_of_the_choice(space: Space) -> None:
    mixtures = [m for m in supernet(space, signature=signature()).modules() if isinstance(m, Mixture)]
    assert {m.name: tuple(m) for m in mixtures} == {
        choice.name: choice.alternatives for choice in space.choices if isinstance(choice.options[0], str)
    }


@every_space
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (2, 7, 5), (1, 1, 1), (3, 1, 9)], ids=str)
def test_images_of_any_size_give_logits(space: Space, shape: tuple[int, int, int]) -> None:
    given = inputs(4, shape)
    fixed = network(space, space.sample(np.random.default_rng(1)), stack="final", signature=signature(shape))
    mixed = supernet(space, signature=signature(shape))
    for logits in (fixed(given), mixed(given, uniform(space))):
        assert logits.shape == (4, 5)
        assert torch.isfinite(logits).all()


@every_space
@pytest.mark.parametrize("mode", ["training", "evaluation"])
def test_a_fixed_network_with_inherited_weights_is_one_path_of_the_supernet(space: Space, mode: str) -> None:
    torch.manual_seed(0)
    mixed = supernet(space, signature=signature()).double()
    for part in mixed.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2.0)
    state = {name: value.clone() for name, value in mixed.state_dict().items()}
    images, tokens = inputs(6)
    given, outputs = (images.double(), tokens), []
    rng = np.random.default_rng(2)
    for architecture in list(dict.fromkeys(space.sample(rng) for _ in range(20)))[:6]:
        fixed = network(space, architecture, stack="search", signature=signature(), affine=False).double()
        inherit(fixed, state)
        for each in (fixed, mixed):
            each.train(mode == "training")
        outputs.append(fixed(given))
        sparse = {c.name: _sparse(c.alternatives.index(architecture[c.name]), c.alternatives) for c in space.choices}
        for path in (architecture.values, one_path(space, architecture), sparse):
            torch.testing.assert_close(outputs[-1], mixed(given, path), rtol=0, atol=1e-12)
            mixed.load_state_dict(state)
    assert all(not torch.allclose(first, second) for first, second in pairwise(outputs))


def _sparse(at: int, alternatives: tuple[Any, ...]) -> Sparse:
    return Sparse(torch.eye(len(alternatives), dtype=torch.float64)[at], (at,))


@every_space
def test_every_weight_and_every_mixing_weight_has_a_gradient(space: Space) -> None:
    torch.manual_seed(0)
    mixed = supernet(space, signature=signature((3, 32, 32)))
    mix = {name: weights.requires_grad_() for name, weights in uniform(space).items()}
    mixed(inputs(8, (3, 32, 32)), mix).square().sum().backward()
    assert not [name for name, parameter in mixed.named_parameters() if parameter.grad is None]
    assert all(weights.grad.abs().max() > 0 for weights in mix.values() if len(weights) > 1)


def test_what_is_mixed_has_no_scale_of_its_own_in_a_supernet() -> None:
    def scales(built: nn.Module) -> set[bool]:
        return {name.endswith((".norm.weight", "vectors.0.1.weight", "maps.0.1.weight")) for name in names(built)}

    def names(built: nn.Module) -> list[str]:
        return [name for name, _ in built.named_parameters() if name.startswith("nodes.")]

    space = SPACES["default"]
    assert scales(supernet(space, signature=signature())) == {False}
    assert scales(network(space, space.at(0), stack="final", signature=signature())) == {False, True}


def test_a_network_has_no_layer_beyond_the_deepest_that_a_node_sees() -> None:
    space = SPACES["default"]

    def made(image: tuple[int, int], question: tuple[int, int]) -> FusedNetwork:
        values = {"0/operator": "sum", "1/operator": "glu"}
        values |= {f"{node}/image": image[node] for node in (0, 1)}
        values |= {f"{node}/question": question[node] for node in (0, 1)}
        built = network(space, space.architecture(values), stack="final", signature=signature((3, 32, 32)))
        assert isinstance(built, FusedNetwork)
        return built

    assert [len(made((0, 3), (2, 1)).images), len(made((0, 3), (2, 1)).questions)] == [4, 2]
    assert [len(made((1, 0), (0, 0)).images), len(made((1, 0), (0, 0)).questions)] == [2, 0]
    given = inputs(1, (3, 32, 32))
    assert count(made((1, 0), (0, 0)), given)[1] < count(made((0, 3), (2, 1)), given)[1]


def test_what_fills_a_question_up_changes_nothing() -> None:
    space = SPACES["default"]
    torch.manual_seed(0)
    built = network(space, space.at(space.size() - 1), stack="final", signature=signature()).eval()
    images, tokens = inputs(6)
    longer = torch.cat([tokens, torch.zeros(6, 3, dtype=torch.int64)], dim=1)
    torch.testing.assert_close(built((images, tokens)), built((images, longer)), rtol=1e-5, atol=1e-6)
    nothing = built((images, torch.zeros_like(tokens)))
    assert torch.isfinite(nothing).all()


def test_questions_are_more_than_their_words() -> None:
    space = SPACES["default"]
    torch.manual_seed(0)
    values = {"0/image": 0, "0/question": 0, "0/operator": "sum", "1/image": 0, "1/operator": "sum"}
    images, tokens = inputs(1)[0], torch.tensor([[3, 4, 5, 6, 7, 8]])
    for layer, same in ((0, True), (1, False)):
        architecture = space.architecture(values | {"1/question": layer})
        built = network(space, architecture, stack="final", signature=signature()).eval()
        first, second = built((images, tokens)), built((images, tokens.flip(1)))
        assert torch.allclose(first, second, atol=1e-6) == same


@every_space
def test_a_network_is_counted_without_being_made(space: Space) -> None:
    architecture = space.sample(np.random.default_rng(4))
    with torch.device("meta"):
        unmade = network(space, architecture, stack="final", signature=signature())
    counted = count(unmade, inputs(1))
    made = network(space, architecture, stack="final", signature=signature())
    assert counted == count(made, inputs(1))
    assert counted[0] == sum(parameter.numel() for parameter in made.parameters())


@pytest.mark.parametrize("operator", ["sum", "film", "attention", "glu", "concat_fc"])
def test_every_operator_can_be_exported(tmp_path: Path, operator: str) -> None:
    space = fusion(nodes=1)
    images = Input(name="images", shape=(3, 7, 9), mean=(100.0,) * 3, std=(50.0,) * 3)
    whole = signature((3, 7, 9)).model_copy(update={"inputs": (images, signature().inputs[1])})
    torch.manual_seed(1)
    architecture = space.architecture({"0/image": 2, "0/question": 2, "0/operator": operator})
    built = network(space, architecture, stack="final", signature=whole)
    for _ in range(3):
        built(inputs(16, (3, 7, 9)))
    path = tmp_path / "model.onnx"
    assert export_onnx(Deployed(built, whole), path) < 1e-5
    session = onnxruntime.InferenceSession(path)
    assert {given.name: given.type for given in session.get_inputs()} == {
        "images": "tensor(float)", "question": "tensor(int64)"
    }  # fmt: skip


def test_other_inputs_are_refused() -> None:
    space = SPACES["default"]
    with pytest.raises(ValueError, match="must have images and a question as inputs, but got images of 1x8x8"):
        supernet(space, signature=image_signature((1, 8, 8), 10))
