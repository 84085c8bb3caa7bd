"""Chains of inverted bottlenecks: published networks have their published size, and parts are parts."""

from typing import Any

import pytest
import torch
import torchvision
from torch import nn

from archsearch.api import ElasticChain, MbconvChain
from archsearch.api import Space as SpaceSpec
from archsearch.api.signature import image_signature
from archsearch.hardware import count
from archsearch.networks import inherit, network, supernet
from archsearch.networks.chains import Mbconv, scaled
from archsearch.networks.elastic import ElasticConv, ElasticNorm, crop
from archsearch.spaces import Space, space_of
from archsearch.supernets.gradients import batch_norms, batch_statistics


def chain(stem: dict[str, int], stages: list[tuple[int, int, int]], blocks: list[str], head: int) -> Space:
    settings = {
        "stem": stem,
        "stages": [{"channels": channels, "layers": layers, "stride": stride} for channels, layers, stride in stages],
        "blocks": blocks,
        "headChannels": head,
    }
    return space_of(SpaceSpec(mbconv_chain=MbconvChain.model_validate(settings)))


def cost(space: Space, words: list[str]) -> tuple[int, int]:
    """Parameters and operations of the network of these blocks for ImageNet."""
    architecture = space.architecture({choice.name: word for choice, word in zip(space.choices, words, strict=True)})
    with torch.device("meta"):
        built = network(space, architecture, stack="final", signature=image_signature((3, 224, 224), 1000))
    return count(built, torch.zeros(1, 3, 224, 224))


def test_mobilenet_v2_is_a_chain() -> None:
    stages = [(24, 2, 2), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1)]
    space = chain({"channels": 32, "stride": 2, "separable": 16}, stages, ["k3e6"], 1280)
    with torch.device("meta"):
        published = torchvision.models.mobilenet_v2()
    assert cost(space, ["k3e6"] * 16) == count(published, torch.zeros(1, 3, 224, 224)) == (3_504_872, 601_548_544)


def test_proxylessnas_mobile_is_a_chain() -> None:
    # The published network (mit-han-lab/proxylessnas, proxyless_mobile) has 32 channels in the first stage instead of
    # 24; its 4,080,512 parameters are those that osmr/imgclsmob lists, its 320 M multiplications those of the paper.
    stages = [(32, 4, 2), (40, 4, 2), (80, 4, 2), (96, 4, 1), (192, 4, 2), (320, 1, 1)]
    blocks = [f"k{kernel}e{expansion}" for kernel in (3, 5, 7) for expansion in (3, 6)]
    words = (
        "k5e3 k3e3 skip_connect skip_connect k7e3 k3e3 k5e3 k5e3 k7e6 k5e3 k5e3 k5e3 k5e6 k5e3 k5e3 k5e3 k7e6 k7e6 "
        "k7e3 k7e3 k7e6"
    )
    parameters, operations = cost(
        chain({"channels": 32, "stride": 2, "separable": 16}, stages, blocks, 1280), words.split()
    )
    assert parameters == 4_080_512
    assert round(operations / 2e6) == 320


def test_fbnet_c_is_a_chain() -> None:
    # As timm has it from the paper (fbnetc_100); the 5,572,200 parameters are those that osmr/imgclsmob lists.
    stages = [(16, 1, 1), (24, 4, 2), (32, 4, 2), (64, 4, 2), (112, 4, 1), (184, 4, 2), (352, 1, 1)]
    blocks = ["k3e1", "k3e1g2", "k3e3", "k3e6", "k5e1", "k5e1g2", "k5e3", "k5e6"]
    words = (
        "k3e1 k3e6 k3e1 k3e1 skip_connect k5e6 k5e3 k5e6 k3e6 k5e6 k5e3 k5e6 k5e6 k5e6 k5e6 k5e6 k5e3 k5e6 k5e6 k5e6 "
        "k5e6 k3e6"
    )
    parameters, _ = cost(chain({"channels": 16, "stride": 2}, stages, blocks, 1984), words.split())
    assert parameters == 5_572_200


@pytest.mark.parametrize(
    ("channels", "percent", "expected"), [(32, 100, 32), (18, 50, 10), (16, 50, 8), (2, 5, 2), (24, 130, 32)]
)
def test_scaled_channels_are_even(channels: int, percent: int, expected: int) -> None:
    assert scaled(channels, percent) == expected


def test_groups_exchange_channels() -> None:
    torch.manual_seed(0)
    options = {"kernel": 3, "expansion": 2, "stride": 1, "residual": False, "affine": False}
    block = Mbconv(4, 4, groups=2, **options).eval()  # type: ignore[arg-type]
    x = torch.rand(1, 4, 5, 5)
    moved = x.clone()
    moved[:, 0] += 1
    # The first group's change reaches the outputs of the second as well.
    assert bool(((block(moved) - block(x)).abs().amax((0, 2, 3)) > 1e-4).all())
    ungrouped = Mbconv(4, 4, groups=1, **options)  # type: ignore[arg-type]
    assert [part[0].weight.numel() for part in (block.expand, block.project)] == [16, 16]  # type: ignore[union-attr]
    assert [part[0].weight.numel() for part in (ungrouped.expand, ungrouped.project)] == [32, 32]  # type: ignore[union-attr]


def test_a_layer_that_is_skipped_does_nothing() -> None:
    space = chain({"channels": 4}, [(4, 2, 1)], ["k3e1"], 8)
    kept, skipped = (
        network(
            space,
            space.architecture({"0/0": "k3e1", "0/1": second}),
            stack="final",
            signature=image_signature((1, 8, 8), 2),
        )
        for second in ("k3e1", "skip_connect")
    )
    inherit(skipped, kept.state_dict())
    nn.init.zeros_(kept.get_parameter("stages.0.1.k3e1.project.1.weight"))
    x = torch.rand(4, 1, 8, 8)
    torch.testing.assert_close(kept(x), skipped(x))


def test_a_part_is_the_first_channels_and_the_middle_of_the_kernels() -> None:
    whole = torch.arange(2 * 3 * 5 * 5).reshape(2, 3, 5, 5)
    part = crop(whole, (1, 2, 3, 1))
    assert part.flatten().tolist() == [whole[0, c, y, 2].item() for c in (0, 1) for y in (1, 2, 3)]
    assert part.data_ptr() == whole[0, 0, 1:, 2:].data_ptr()


@pytest.mark.parametrize("groups", [1, 6])
def test_an_elastic_convolution_is_a_smaller_one(groups: int) -> None:
    elastic = ElasticConv(6, 6, 5, stride=2, groups=groups, bias=False)
    small = nn.Conv2d(4, 4, 3, stride=2, padding=1, groups=4 if groups > 1 else 1, bias=False)
    small.weight = nn.Parameter(crop(elastic.weight.detach(), small.weight.shape))
    x = torch.rand(2, 4, 7, 5)
    torch.testing.assert_close(elastic(x, 4, 3), small(x))


@pytest.mark.parametrize("momentum", [0.1, None])
def test_an_elastic_normalisation_is_a_smaller_one(momentum: float | None) -> None:
    elastic, small = ElasticNorm(6, momentum=momentum), nn.BatchNorm2d(4, momentum=momentum)
    for _ in range(2):
        x = torch.randn(8, 4, 3, 3) * 2 + 1
        torch.testing.assert_close(elastic(x), small(x))
    assert elastic.running_mean is not None
    torch.testing.assert_close(elastic.running_mean[:4], small.running_mean)
    assert elastic.running_mean[4:].tolist() == [0.0, 0.0]
    torch.testing.assert_close(elastic.eval()(x), small.eval()(x))
    before = elastic.running_mean.clone()
    with batch_statistics(batch_norms(elastic.train())):
        torch.testing.assert_close(elastic(x), small.train()(x))
    assert torch.equal(elastic.running_mean, before)


def test_the_weights_outside_a_part_have_no_gradient() -> None:
    settings: dict[str, Any] = {
        "stem": {"channels": 4},
        "stages": [{"channels": 4, "depths": [1, 2]}],
        "kernels": [3, 5],
        "expansions": [1, 2],
        "search": {"widthPercent": 100},
    }
    space = space_of(SpaceSpec(elastic_chain=ElasticChain.model_validate(settings)))
    mixed = supernet(space, signature=image_signature((1, 8, 8), 2))
    smallest = space.architecture({"0/depth": 1, "0/0/kernel": 3, "0/0/expand": 1})
    mixed(torch.rand(4, 1, 8, 8), smallest.values).square().sum().backward()
    used = mixed.get_parameter("stages.0.0.depthwise.weight").grad
    assert used is not None
    assert (used != 0).nonzero().amax(0).tolist() == [3, 0, 3, 3]
    assert (used != 0).nonzero().amin(0).tolist() == [0, 0, 1, 1]
    assert mixed.get_parameter("stages.0.1.depthwise.weight").grad is None
