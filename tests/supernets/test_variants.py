"""Supernets that methods change: partial channels, an auxiliary skip, dropout on skips, fewer operations."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from archsearch.api.differentiable import Differentiable
from archsearch.api.signature import image_signature
from archsearch.networks import Alternatives, Mixture, Super, network, supernet
from archsearch.networks.mixture import AUXILIARY_SKIP, SKIP_DROPOUT, AuxiliarySkip, PartialChannels
from archsearch.networks.operations import DARTS_OPERATIONS, FactorizedReduce
from archsearch.spaces import Choice, Space
from archsearch.supernets import Recipe, parts_of
from archsearch.supernets.mixing import Moment
from archsearch.supernets.progressive import reduced
from tests.supernets.methods import NB201
from tests.supernets.tiny import CLASSES, SHAPE, SPACE

NAMES = ("skip_connect", "sep_conv_3x3", "max_pool_3x3")


def place(channels: int, stride: int, **options: object) -> nn.Module:
    """One edge of a supernet."""
    space = Space("edge", (Choice("edge", NAMES),), SPACE.settings)
    build = {name: lambda width, of=DARTS_OPERATIONS[name]: of(width, stride, False) for name in NAMES}
    torch.manual_seed(0)
    chooser = Super(space, **options)  # type: ignore[arg-type]
    return chooser.operation("edge", Alternatives(build, channels, stride)).double()


def images(channels: int) -> Tensor:
    return torch.randn(3, channels, 7, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("share", [2, 4])
def test_a_part_of_the_channels_is_mixed_and_all_are_shuffled(share: int, stride: int) -> None:
    """The published layout: channel i of group g goes to place i x groups + g."""
    channels, weights = 16, torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    edge = place(channels, stride, partial_channels=share)
    assert isinstance(edge, PartialChannels)
    x, mixed = images(channels), channels // share
    found = edge(x, {"edge": weights})
    assert found.shape == (3, channels, -(-7 // stride), -(-6 // stride))
    inside = edge.mixture(x[:, :mixed], {"edge": weights})
    rest = x[:, mixed:] if stride == 1 else functional.max_pool2d(x[:, mixed:], 2, ceil_mode=True)
    joined = torch.cat([inside, rest], 1)
    for group in range(share):
        for index in range(mixed):
            assert torch.equal(found[:, index * share + group], joined[:, group * mixed + index])


def test_operations_on_a_part_are_as_wide_as_the_part() -> None:
    whole, part = (sum(p.numel() for p in place(16, 1, partial_channels=k).parameters()) for k in (1, 4))
    assert whole == 2 * (16 * 9 + 16 * 16)
    assert part == 2 * (4 * 9 + 4 * 4)


def test_one_operation_runs_on_a_part_too() -> None:
    edge, x = place(16, 1, partial_channels=4), images(16)
    torch.testing.assert_close(edge(x, {"edge": "skip_connect"}), torch.channel_shuffle(x, 4), rtol=0, atol=0)


@pytest.mark.parametrize(("channels", "stride", "share"), [(6, 1, 4), (4, 2, 4), (2, 1, 4)])
def test_channels_that_cannot_be_divided_are_refused(channels: int, stride: int, share: int) -> None:
    """A stride halves the part on its way."""
    with pytest.raises(
        ValueError, match=rf"partialChannels must divide an edge's channels \({channels}\) .* got {share}"
    ):
        place(channels, stride, partial_channels=share)


def test_an_operation_that_changes_the_number_of_channels_is_whole() -> None:
    space = Space("edge", (Choice("edge", ("narrow",)),), SPACE.settings)
    narrow = Alternatives({"narrow": lambda _: nn.Conv2d(8, 4, 1)}, None)
    edge = Super(space, partial_channels=4, auxiliary_skip=True).operation("edge", narrow)
    assert isinstance(edge, Mixture)


@pytest.mark.parametrize("stride", [1, 2])
def test_an_auxiliary_skip_is_added_beside_the_mixture(stride: int) -> None:
    edge, x = place(4, stride, auxiliary_skip=True), images(4)
    assert isinstance(edge, AuxiliarySkip)
    assert isinstance(edge.skip, nn.Identity if stride == 1 else FactorizedReduce)
    weights = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    without = edge(x, {"edge": weights})
    assert torch.equal(without, edge.mixture(x, {"edge": weights}))
    added = edge(x, {"edge": weights, AUXILIARY_SKIP: torch.tensor(0.75)})
    torch.testing.assert_close(added, without + 0.75 * edge.skip(x), rtol=0, atol=1e-12)


def test_the_auxiliary_skip_fades_from_one_to_zero() -> None:
    switches = parts_of(Recipe.of(Differentiable(method="DARTSMinus", epochs=50))).switches
    weights = [float(switches(Moment(epoch, 50, torch.Generator()))[AUXILIARY_SKIP]) for epoch in (0, 25, 49)]
    assert weights == pytest.approx([1, 0.5, 0.02])
    assert parts_of(Recipe.of(Differentiable(epochs=50))).switches(Moment(0, 50, torch.Generator())) == {}


def test_dropout_is_on_skips_and_in_training_only() -> None:
    edge, x = place(4, 1), images(4)
    weights = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    mix = {"edge": weights, SKIP_DROPOUT: torch.tensor(0.4)}
    edge.eval()
    assert torch.equal(edge(x, mix), edge(x, {"edge": weights}))
    edge.train()
    torch.manual_seed(0)
    skip_alone = edge(x, {"edge": torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64), SKIP_DROPOUT: torch.tensor(0.4)})
    dropped = skip_alone == 0
    assert float(dropped.double().mean()) == pytest.approx(0.4, abs=0.05)
    torch.testing.assert_close(skip_alone[~dropped], (x / 0.6)[~dropped], rtol=1e-6, atol=1e-9)
    convolution_alone = {"edge": torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)}
    once, again = (edge(x, {**convolution_alone, SKIP_DROPOUT: torch.tensor(0.4)}) for _ in range(2))
    assert torch.equal(once, again)


def test_dropout_falls_as_in_the_published_code() -> None:
    """25 epochs, of which 10 warm up: 0.4 (24 - epoch) / 25, then 0.4 exp(-0.2 (epoch - 10))."""
    recipe = Recipe.of(Differentiable(method="PDARTS", epochs=25))
    switches = parts_of(Recipe(**{**recipe.__dict__, "stages": (), "skip_dropout": 0.4})).switches
    rates = [float(switches(Moment(epoch, 25, torch.Generator()))[SKIP_DROPOUT]) for epoch in (0, 9, 10, 15, 24)]
    expected = [0.4 * 24 / 25, 0.4 * 15 / 25, 0.4, 0.4 * 2.718281828**-1, 0.4 * 2.718281828**-2.8]
    assert rates == pytest.approx(expected, rel=1e-6)


def test_a_supernet_of_a_part_of_the_space_has_the_operations_of_that_part_only() -> None:
    kept = {c.name: ("skip_connect", "none") for c in SPACE.choices if not c.is_subset}
    kept["normal/0/0"] = ("sep_conv_3x3",)
    small = supernet(reduced(SPACE, kept, 100), signature=image_signature(SHAPE, CLASSES))
    mixtures = {module.name: list(module) for module in small.modules() if isinstance(module, Mixture)}
    assert mixtures == {name: list(names) for name, names in kept.items()}
    mix = {name: torch.full((len(names),), 1 / len(names)) for name, names in kept.items()}
    assert small(torch.rand(2, *SHAPE), mix).shape == (2, CLASSES)


def test_a_supernet_that_runs_an_architecture_is_that_architectures_network() -> None:
    """With the weights that they share: the one-shot accuracy needs no second network."""
    for space in (SPACE, NB201):
        torch.manual_seed(0)
        shared = supernet(space, signature=image_signature(SHAPE, CLASSES)).double()
        architecture = space.at(space.size() // 3)
        fixed = network(
            space, architecture, stack="search", signature=image_signature(SHAPE, CLASSES), affine=False
        ).double()
        fixed.load_state_dict({name: shared.state_dict()[name] for name in fixed.state_dict()})
        x = torch.rand(4, *SHAPE, dtype=torch.float64)
        torch.testing.assert_close(shared(x, dict(architecture.values)), fixed(x), rtol=0, atol=1e-12)
