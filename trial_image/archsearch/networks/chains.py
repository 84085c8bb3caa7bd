"""What networks of chained layers have in common, and those of inverted bottlenecks (Sandler et al. 2018).

The layers of ProxylessNAS (Cai et al. 2019) and FBNet (Wu et al. 2019): a convolution that widens, a depthwise one, and
one that projects; the last has no activation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from archsearch.api.signature import Signature
from archsearch.api.space import ChainSize, ChainStem, ElasticChain, MbconvChain
from archsearch.networks.base import SpaceNetwork
from archsearch.networks.chooser import Alternatives, Chooser, Mix
from archsearch.networks.inputs import Inputs
from archsearch.spaces.mbconv import SKIP, Place, block, places


def scaled(channels: int, percent: int) -> int:
    """So many percent of the channels, as the nearest even number, and at least 2: groups of two must fit."""
    return max(2, 2 * ((channels * percent + 100) // 200))


def convolution(
    inputs: int,
    outputs: int,
    kernel: int,
    *,
    stride: int = 1,
    groups: int = 1,
    affine: bool = True,
    activation: bool = True,
) -> nn.Sequential:
    """Convolution, batch normalisation, ReLU6."""
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs, affine=affine),
    ]
    return nn.Sequential(*layers, nn.ReLU6()) if activation else nn.Sequential(*layers)


class Stage(nn.ModuleList):
    """Layers, one after the other."""

    def forward(self, x: Tensor, mix: Mix | None) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, H, W), or smaller by the stage's stride."""
        for layer in self:
            x = layer(x, mix)
        return x


class ChainNetwork(SpaceNetwork):
    """A stem, the stages, a 1 x 1 convolution, pooling, a linear head.

    stages: modules that are called with the map and the mix. outputs: channels of the last one.
    """

    def __init__(
        self,
        settings: MbconvChain | ElasticChain,
        size: ChainSize,
        stages: Sequence[nn.Module],
        outputs: int,
        *,
        signature: Signature,
    ) -> None:
        super().__init__()
        head = scaled(settings.head_channels, size.width_percent)
        self.stem = _stem(settings.stem, size.width_percent, signature.shape[0])
        self.stages = nn.ModuleList(stages)
        self.head = nn.Sequential(convolution(outputs, head, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classifier = nn.Linear(head, signature.classes)

    def forward(self, inputs: Inputs, mix: Mix | None = None) -> Tensor:
        """(N, image_channels, H, W) -> (N, classes)."""
        x = self.stem(inputs)
        for stage in self.stages:
            x = stage(x, mix)
        logits: Tensor = self.classifier(self.head(x))
        return logits


def _stem(stem: ChainStem, percent: int, image_channels: int) -> nn.Sequential:
    channels = scaled(stem.channels, percent)
    layers = [convolution(image_channels, channels, 3, stride=stem.stride)]
    if stem.separable is not None:
        outputs = scaled(stem.separable, percent)
        layers += [
            convolution(channels, channels, 3, groups=channels),
            convolution(channels, outputs, 1, activation=False),
        ]
    return nn.Sequential(*layers)


class Mbconv(nn.Module):
    """An inverted bottleneck; where it keeps the shape of the map, its output is added to its input.

    groups: of the 1 x 1 convolutions; the channels are shuffled after the first (Wu et al. 2019, figure 3).
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        kernel: int,
        expansion: int,
        groups: int,
        stride: int,
        residual: bool,
        affine: bool,
    ) -> None:
        super().__init__()
        inner = inputs * expansion
        self.expand = convolution(inputs, inner, 1, groups=groups, affine=affine)
        self.shuffle = nn.ChannelShuffle(groups) if groups > 1 else nn.Identity()
        self.depthwise = convolution(inner, inner, kernel, stride=stride, groups=inner, affine=affine)
        self.project = convolution(inner, outputs, 1, groups=groups, affine=affine, activation=False)
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, ceil(H / stride), ceil(W / stride))."""
        y: Tensor = self.project(self.depthwise(self.shuffle(self.expand(x))))
        return x + y if self.residual else y


def mbconv_layer(chooser: Chooser, place: Place, words: Sequence[str], percent: int, *, affine: bool) -> nn.Module:
    """A layer that is one of several blocks, or skipped where that is one of the words."""
    inputs, outputs = (scaled(channels, percent) for channels in (place.inputs, place.outputs))

    def build(word: str) -> Callable[[int], nn.Module]:
        if word == SKIP:
            return lambda _channels: nn.Identity()
        kernel, expansion, groups = block(word)
        return lambda channels: Mbconv(
            channels or inputs,
            channels or outputs,
            kernel=kernel,
            expansion=expansion,
            groups=groups,
            stride=place.stride,
            residual=place.keeps_shape,
            affine=affine,
        )

    channels = inputs if place.keeps_shape else None
    return chooser.operation(place.name, Alternatives({word: build(word) for word in words}, channels))


def mbconv_network(
    chooser: Chooser, settings: MbconvChain, size: ChainSize, *, signature: Signature, affine: bool
) -> ChainNetwork:
    """The network of a chain whose layers are blocks, or skipped."""

    def layer(place: Place) -> nn.Module:
        words = (*settings.blocks, SKIP) if place.keeps_shape else settings.blocks
        return mbconv_layer(chooser, place, words, size.width_percent, affine=affine)

    stages = [Stage(layer(place) for place in stage) for stage in places(settings)]
    outputs = scaled(settings.stages[-1].channels, size.width_percent)
    return ChainNetwork(settings, size, stages, outputs, signature=signature)
