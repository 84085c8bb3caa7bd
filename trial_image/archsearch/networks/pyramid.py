"""The detector of NAS-FPN's space (Ghiasi et al. 2019): backbone, merging nodes, and FCOS' head (Tian et al. 2019).

Differences from the papers: three levels instead of five, separable convolutions, no centreness.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Final

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from archsearch.api.signature import STRIDES, Signature
from archsearch.api.space import ChainSize, FeaturePyramid
from archsearch.networks.base import SpaceNetwork, add
from archsearch.networks.chains import chain_stages, convolution, inverted_bottleneck, scaled
from archsearch.networks.chooser import Alternatives, Chooser, Mix, Number, connected
from archsearch.networks.inputs import Inputs
from archsearch.spaces.pyramid import LEVELS, MERGED, MERGES, node_name, output_level, places, unused

PRIOR: Final = 0.01
"""The score of every class at the start (Lin et al. 2017, section 4.1)."""


class Sum(nn.Module):
    """(2, N, C, H, W) -> (N, C, H, W)."""

    def forward(self, pair: Tensor) -> Tensor:
        """The sum of both maps."""
        return pair.sum(0)


class Attention(nn.Module):
    """Global pooling (Ghiasi et al. 2019, figure 3): the first map's maxima say what of the second is added."""

    def forward(self, pair: Tensor) -> Tensor:
        """(2, N, C, H, W) -> (N, C, H, W)."""
        first, second = pair.unbind()
        return first + second * torch.sigmoid(first.amax((2, 3), keepdim=True))


class Node(nn.Module):
    """Merges two maps at one level: resized, merged, ReLU, a separable convolution, batch normalisation."""

    def __init__(self, chooser: Chooser, settings: FeaturePyramid, node: int, channels: int) -> None:
        super().__init__()
        self._name, own = node_name(node, "inputs"), output_level(settings, node)
        self._sources = chooser.inputs(self._name, LEVELS + node, MERGED)
        merges = dict(zip(MERGES, (lambda _: Sum(), lambda _: Attention()), strict=True))
        self.merge = chooser.operation(node_name(node, "merge"), Alternatives(merges, None))
        self._level = Number("", (own,)) if own is not None else chooser.number(node_name(node, "level"), range(LEVELS))
        self.convolve = nn.Sequential(
            nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
            nn.Conv2d(channels, channels, 1, bias=False), nn.BatchNorm2d(channels),
        )  # fmt: skip

    def sources(self, mix: Mix | None) -> tuple[int, ...]:
        """The two maps that it takes in this pass."""
        found = connected(mix, self._name, self._sources)
        if len(found) != MERGED:
            raise TypeError(f"{self._name} must be {MERGED} maps in a mix, but got {found}")
        return found

    def level(self, mix: Mix | None) -> int:
        """Its level in this pass."""
        return self._level.now(mix)

    def forward(self, maps: list[Tensor], levels: list[int], sizes: list[tuple[int, int]], mix: Mix | None) -> Tensor:
        """The map of this node; maps and levels are those of all before it, sizes by level."""
        level = self.level(mix)
        pair = torch.stack([at_level(maps[at], levels[at], level, sizes) for at in self.sources(mix)])
        merged: Tensor = self.convolve(self.merge(pair, mix))
        return merged


class Head(nn.Module):
    """Class logits and boxes of each place; the same weights at all levels, the last scale of each aside."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.tower = nn.Sequential(
            convolution(channels, channels, 3, groups=channels), convolution(channels, channels, 1)
        )
        self.scores, self.sides = nn.Conv2d(channels, classes, 1), nn.Conv2d(channels, 4, 1)
        self.scales = nn.Parameter(torch.ones(LEVELS))
        nn.init.constant_(self.scores.bias, -math.log((1 - PRIOR) / PRIOR))  # type: ignore[arg-type]
        nn.init.constant_(self.sides.bias, 1.0)  # type: ignore[arg-type]

    def forward(self, x: Tensor, level: int) -> Tensor:
        """(N, channels, H, W) -> (N, H x W, 4 + classes), as the signature says of Boxes."""
        tower: Tensor = self.tower(x)
        height, width, stride = x.shape[-2], x.shape[-1], STRIDES[level]
        across = (torch.arange(width, device=x.device, dtype=x.dtype) + 0.5) * stride
        down = (torch.arange(height, device=x.device, dtype=x.dtype) + 0.5) * stride
        centre = torch.stack([across.expand(height, width), down[:, None].expand(height, width)])  # (2, H, W)
        sides = F.softplus(self.sides(tower) * self.scales[level]) * stride  # left, top, right, bottom
        found = torch.cat([centre - sides[:, :2], centre + sides[:, 2:], self.scores(tower)], dim=1)
        return found.flatten(2).transpose(1, 2)


class PyramidNetwork(SpaceNetwork):
    """Finds boxes in images at three resolutions."""

    def __init__(
        self,
        chooser: Chooser,
        settings: FeaturePyramid,
        size: ChainSize,
        *,
        signature: Signature,
        affine: bool,  # noqa: ARG002 - where nothing is mixed, a normalisation undoes no weight
    ) -> None:
        super().__init__()
        percent = size.width_percent
        channels = scaled(settings.pyramid_channels, percent)
        self.stem = convolution(signature.shape[0], scaled(settings.stem_channels, percent), 3, stride=2)
        build = partial(inverted_bottleneck, affine=True)
        self.stages = nn.ModuleList(chain_stages(chooser, places(settings), settings.blocks, percent, build))
        self.lateral = nn.ModuleList(
            convolution(scaled(stage.channels, percent), channels, 1, activation=False)
            for stage in settings.stages[-LEVELS:]
        )
        self.nodes = nn.ModuleList(Node(chooser, settings, node, channels) for node in range(settings.nodes))
        self.head = Head(channels, signature.classes)

    def features(self, inputs: Inputs, mix: Mix | None = None) -> list[Tensor]:
        """The pyramid's outputs, from the highest resolution to the lowest, (N, channels, H, W) each."""
        x, outputs = self.stem(inputs), []
        for stage in self.stages:
            x = stage(x, mix)
            outputs.append(x)
        maps = [lateral(found) for lateral, found in zip(self.lateral, outputs[-LEVELS:], strict=True)]
        sizes = [(found.shape[-2], found.shape[-1]) for found in maps]
        levels = list(range(LEVELS))
        for node in self.nodes:
            maps.append(node(maps, levels, sizes, mix))
            levels.append(node.level(mix))  # type: ignore[operator]
        # What no node has taken is added to the output of its level (Ghiasi et al. 2019, section 3.2).
        left = unused([node.sources(mix) for node in self.nodes])  # type: ignore[operator]
        return [
            add([maps[len(self.nodes) + level], *(maps[at] for at in sorted(left) if levels[at] == level)])
            for level in range(LEVELS)
        ]

    def forward(self, inputs: Inputs, mix: Mix | None = None) -> Tensor:
        """(N, image_channels, H, W) -> (N, places, 4 + classes)."""
        return torch.cat([self.head(found, level) for level, found in enumerate(self.features(inputs, mix))], dim=1)


def at_level(x: Tensor, source: int, target: int, sizes: list[tuple[int, int]]) -> Tensor:
    """A map of one level at the size of another: repeated pixels, or the largest of those that fall together."""
    if target < source:
        return F.interpolate(x, sizes[target], mode="nearest")
    for _ in range(target - source):
        x = F.max_pool2d(x, 2, ceil_mode=True)
    return x
