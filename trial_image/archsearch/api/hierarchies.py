"""Spaces with choices on several levels: of a cell and of the path through its network, or of motifs in motifs."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from archsearch.api.base import Model, distinct
from archsearch.api.cells import DARTS_OPERATIONS, DartsOperation, StageStack


class TrellisSize(Model):
    """How wide the network is."""

    channels: Annotated[int, Field(ge=2, le=512, multiple_of=2)]
    """Channels of a cell's node at the highest resolution; every lower one has twice as many. An even number."""


class ResolutionTrellis(Model):
    """A cell, and the resolution of each layer (Liu et al. 2019, Auto-DeepLab): after every layer the map is half as
    high and wide, as it was, or twice as high and wide. Where the path leads is searched with the cell."""

    layers: Annotated[int, Field(ge=1, le=16)] = 8
    """Cells on a path; 12 in the paper."""
    levels: Annotated[int, Field(ge=2, le=4)] = 3
    """Resolutions, each half of the one before; 4 in the paper. A path begins at the highest."""
    stem_reductions: Annotated[int, Field(ge=0, le=2)] = 0
    """How often the map is halved before the first layer: 0 keeps the resolution of small images, the paper has 2."""
    nodes: Annotated[int, Field(ge=1, le=7)] = 4
    """Nodes of the cell; 5 in the paper. The cell's output is their concatenation."""
    operations: Annotated[tuple[DartsOperation, ...], Field(min_length=2, max_length=8)] = DARTS_OPERATIONS
    """Candidate operations. `none` only takes part in a supernet's mixture and is never chosen."""
    search: TrellisSize = TrellisSize(channels=8)
    """The network that trials train while searching, and the size of the supernet."""
    final: TrellisSize = TrellisSize(channels=20)
    """The network that is profiled, retrained and exported."""

    rules, checks = distinct("operations")


class HierarchicalMotifs(Model):
    """A cell whose edges are motifs, which are small graphs of operations themselves (Liu et al. 2018, Hierarchical
    representations). Equal motifs are one: what is found once can be used in many places."""

    motifs: Annotated[int, Field(ge=1, le=6)] = 6
    """How many different motifs there are."""
    motif_nodes: Annotated[int, Field(ge=2, le=4)] = 4
    """Nodes of a motif; the first is its input, the last its output, and every node sees all before it."""
    cell_nodes: Annotated[int, Field(ge=2, le=5)] = 5
    """Nodes of the cell."""
    search: StageStack = StageStack(channels=16, cells=1)
    """The network that trials train while searching, and the size of the supernet."""
    final: StageStack = StageStack(channels=64, cells=3)
    """The network that is profiled, retrained and exported."""
