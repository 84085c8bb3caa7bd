"""Spaces whose networks look at several resolutions at once, to find objects: a backbone, and what merges its maps."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from archsearch.api.base import Model, distinct
from archsearch.api.chains import Block, ChainSize, Channels


class PyramidStage(Model):
    """Layers of the backbone that share a number of channels; the first one halves the map."""

    channels: Channels
    """Channels of the layers' outputs. An even number."""
    layers: Annotated[int, Field(ge=1, le=8)]
    """Layers, each with its own choice."""


class FeaturePyramid(Model):
    """A backbone of inverted bottlenecks, layer by layer, and a pyramid whose nodes each merge two maps of any earlier
    ones (Ghiasi et al. 2019, NAS-FPN). Boxes are predicted at strides of 8, 16 and 32 pixels."""

    stem_channels: Channels = 16
    """Channels of the first convolution, which halves the image. An even number."""
    stages: Annotated[tuple[PyramidStage, ...], Field(min_length=4, max_length=4)] = (
        PyramidStage(channels=24, layers=2),
        PyramidStage(channels=40, layers=2),
        PyramidStage(channels=80, layers=3),
        PyramidStage(channels=160, layers=2),
    )
    """The four stages of the backbone; the outputs of the last three are what the pyramid begins with."""
    blocks: Annotated[tuple[Block, ...], Field(min_length=1, max_length=16)] = ("k3e3", "k3e6", "k5e3", "k5e6")
    """Candidate blocks of the backbone, as of `mbconvChain`."""
    nodes: Annotated[int, Field(ge=3, le=7)] = 5
    """Merging nodes; 7 in the paper. The last three give the outputs, from the highest resolution to the lowest."""
    pyramid_channels: Channels = 64
    """Channels of all maps of the pyramid. An even number."""
    search: ChainSize = ChainSize(width_percent=50)
    """The network that trials train while searching, and the size of the supernet."""
    final: ChainSize = ChainSize(width_percent=100)
    """The network that is profiled, retrained and exported."""

    rules, checks = distinct("blocks")
