"""Spaces whose networks are a chain of layers: every layer is searched by itself."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from archsearch.api.base import Model, Rule, distinct

Channels = Annotated[int, Field(ge=2, le=4096, multiple_of=2)]
Stride = Annotated[int, Field(ge=1, le=2)]
Block = Annotated[str, StringConstraints(pattern=r"^k[357]e[1-8](g2)?$", max_length=6)]


class MacroSize(Model):
    """How wide the layers are."""

    channels: Channels
    """Channels of the first third; the second has twice, the last four times as many. An even number."""


class EnasMacro(Model):
    """The macro space of ENAS (Pham et al. 2018): each layer is one of six operations and may see the output of every
    earlier layer. About 1.6 x 10^29 architectures with 12 layers."""

    layers: Annotated[int, Field(ge=3, le=12)] = 12
    """Layers of the network; the map is halved at one third and two thirds of them."""
    search: MacroSize = MacroSize(channels=36)
    """The network that trials train while searching, and the size of the supernet."""
    final: MacroSize = MacroSize(channels=96)
    """The network that is profiled, retrained and exported."""


class ChainStem(Model):
    """What comes before the first stage."""

    channels: Channels
    """Channels of the first convolution. An even number."""
    stride: Stride = 1
    """Stride of the first convolution: 1 keeps the resolution of small images, 2 halves it."""
    separable: Channels | None = None
    """Channels of a depthwise separable convolution after it, as in MobileNetV2; none where it is left out."""


class ChainSize(Model):
    """How wide the network is."""

    width_percent: Annotated[int, Field(ge=5, le=400)]
    """Channels of every layer, in percent of those in `stem`, `stages` and `headChannels`, to the nearest even
    number."""


class ChainStage(Model):
    """Layers that share a number of channels."""

    channels: Channels
    """Channels of the layers' outputs. An even number."""
    layers: Annotated[int, Field(ge=1, le=8)]
    """Layers, each with its own choice."""
    stride: Stride = 1
    """Stride of the first layer: 2 halves the map."""


class MbconvChain(Model):
    """A chain of inverted bottlenecks (Sandler et al. 2018): each layer is one of several blocks or, where it keeps the
    shape, skipped. The spaces of ProxylessNAS (Cai et al. 2019) and FBNet (Wu et al. 2019) are of this form."""

    stem: ChainStem = ChainStem(channels=32, separable=16)
    """What comes before the first stage."""
    stages: Annotated[tuple[ChainStage, ...], Field(min_length=1, max_length=8)] = (
        ChainStage(channels=24, layers=2),
        ChainStage(channels=32, layers=3, stride=2),
        ChainStage(channels=64, layers=4, stride=2),
        ChainStage(channels=96, layers=3),
        ChainStage(channels=160, layers=3, stride=2),
        ChainStage(channels=320, layers=1),
    )
    """The stages in their order; those of MobileNetV2 with fewer reductions, for small images, where left out."""
    head_channels: Channels = 1280
    """Channels of the last convolution. An even number."""
    blocks: Annotated[tuple[Block, ...], Field(min_length=1, max_length=16)] = (
        "k3e3", "k3e6", "k5e3", "k5e6", "k7e3", "k7e6",
    )  # fmt: skip
    """Candidate blocks: `k5e6` has a depthwise kernel of 5 x 5 on 6 times as many channels as come in; with `g2` its
    1 x 1 convolutions have two groups. Those of ProxylessNAS where left out."""
    search: ChainSize = ChainSize(width_percent=50)
    """The network that trials train while searching, and the size of the supernet."""
    final: ChainSize = ChainSize(width_percent=100)
    """The network that is profiled, retrained and exported."""

    rules, checks = distinct("blocks")


class ElasticStage(Model):
    """Layers that share a number of channels, of which the first few can be used alone."""

    channels: Channels
    """Channels of the layers' outputs. An even number."""
    depths: Annotated[tuple[Annotated[int, Field(ge=1, le=6)], ...], Field(min_length=1, max_length=6)] = (2, 3, 4)
    """How many layers there can be."""
    stride: Stride = 1
    """Stride of the first layer: 2 halves the map."""

    rules, checks = distinct("depths")


class ElasticChain(Model):
    """A chain of inverted bottlenecks of which smaller ones are a part, as in Once-for-all (Cai et al. 2020): stages
    have fewer layers, layers a smaller kernel and fewer inner channels. Architectures share all their weights."""

    stem: ChainStem = ChainStem(channels=32, separable=16)
    """What comes before the first stage."""
    stages: Annotated[tuple[ElasticStage, ...], Field(min_length=1, max_length=7)] = (
        ElasticStage(channels=24),
        ElasticStage(channels=40, stride=2),
        ElasticStage(channels=80, stride=2),
        ElasticStage(channels=96),
        ElasticStage(channels=192, stride=2),
    )
    """The stages in their order; those of ProxylessNAS with fewer reductions, for small images, where left out."""
    head_channels: Channels = 1280
    """Channels of the last convolution. An even number."""
    kernels: Annotated[tuple[Annotated[int, Field(ge=1, le=11)], ...], Field(min_length=1, max_length=6)] = (3, 5, 7)
    """Sizes of the depthwise kernels: odd numbers."""
    expansions: Annotated[tuple[Annotated[int, Field(ge=1, le=8)], ...], Field(min_length=1, max_length=8)] = (3, 4, 6)
    """Inner channels of a layer for each one that comes in."""
    search: ChainSize = ChainSize(width_percent=50)
    """The network that trials train while searching, and the size of the supernet."""
    final: ChainSize = ChainSize(width_percent=100)
    """The network that is profiled, retrained and exported."""

    rules, checks = distinct("kernels", "expansions")
    rules += (
        Rule(expression="self.kernels.all(k, k % 2 == 1)", message="kernels must be odd", field_path=".kernels"),
    )  # fmt: skip
    checks += (lambda self: _even(self.kernels),)


def _even(kernels: tuple[int, ...]) -> str | None:
    even = [kernel for kernel in kernels if kernel % 2 == 0]
    return f"kernels must be odd, but got {', '.join(map(str, even))}" if even else None
