"""What networks of chained layers have in common, and those of inverted bottlenecks (Sandler et al. 2018).

The layers of ProxylessNAS (Cai et al. 2019) and FBNet (Wu et al. 2019): a convolution that widens, a depthwise one, and
one that projects; the last has no activation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

from torch import Tensor, nn

from archsearch.api.signature import Signature
from archsearch.api.space import ChainSize, ChainStem, ElasticChain, MbconvChain
from archsearch.networks.base import SpaceNetwork
from archsearch.networks.chooser import Alternatives, Chooser, Mix
from archsearch.networks.inputs import Inputs
from archsearch.spaces.mbconv import SKIP, Place, block, places, words


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
    sequences: bool = False,
) -> nn.Sequential:
    """Convolution, batch normalisation, ReLU6, of maps or of sequences."""
    layers: list[nn.Module] = [
        (nn.Conv1d if sequences else nn.Conv2d)(
            inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False
        ),
        (nn.BatchNorm1d if sequences else nn.BatchNorm2d)(outputs, affine=affine),
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
        sequences: bool = False,
    ) -> None:
        super().__init__()
        inner, layer = inputs * expansion, partial(convolution, affine=affine, sequences=sequences)
        self.expand = layer(inputs, inner, 1, groups=groups)
        self.shuffle = nn.ChannelShuffle(groups) if groups > 1 else nn.Identity()
        self.depthwise = layer(inner, inner, kernel, stride=stride, groups=inner)
        self.project = layer(inner, outputs, 1, groups=groups, activation=False)
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, ceil(H / stride), ceil(W / stride)); of sequences likewise."""
        y: Tensor = self.project(self.depthwise(self.shuffle(self.expand(x))))
        return x + y if self.residual else y


Builder = Callable[[str, Place, int, int], nn.Module]
"""Makes the block of a word for a place, with so many channels in and out."""


def chain_stages(
    chooser: Chooser, stages: Iterable[Sequence[Place]], blocks: Sequence[str], percent: int, build: Builder
) -> list[Stage]:
    """The layers of a chain, as they are chosen; channels are so many percent of those of the places."""

    def layer(place: Place) -> nn.Module:
        inputs, outputs = (scaled(channels, percent) for channels in (place.inputs, place.outputs))

        def builder(word: str) -> Callable[[int], nn.Module]:
            if word == SKIP:
                return lambda _channels: nn.Identity()
            return lambda channels: build(word, place, channels or inputs, channels or outputs)

        channels = inputs if place.keeps_shape else None
        made = {word: builder(word) for word in words(place, blocks)}
        return chooser.operation(place.name, Alternatives(made, channels))

    return [Stage(layer(place) for place in stage) for stage in stages]


def inverted_bottleneck(
    word: str, place: Place, inputs: int, outputs: int, *, affine: bool, sequences: bool = False
) -> Mbconv:
    """The block of a word such as `k3e6`."""
    kernel, expansion, groups = block(word)
    return Mbconv(
        inputs,
        outputs,
        kernel=kernel,
        expansion=expansion,
        groups=groups,
        stride=place.stride,
        residual=place.keeps_shape,
        affine=affine,
        sequences=sequences,
    )


def mbconv_network(
    chooser: Chooser, settings: MbconvChain, size: ChainSize, *, signature: Signature, affine: bool
) -> ChainNetwork:
    """The network of a chain whose layers are blocks, or skipped."""
    build = partial(inverted_bottleneck, affine=affine)
    stages = chain_stages(chooser, places(settings), settings.blocks, size.width_percent, build)
    outputs = scaled(settings.stages[-1].channels, size.width_percent)
    return ChainNetwork(settings, size, stages, outputs, signature=signature)
