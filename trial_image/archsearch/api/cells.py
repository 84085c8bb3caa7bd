"""Spaces whose networks repeat a cell: what is searched is the cell."""

from __future__ import annotations

from typing import Annotated, Final, Literal, get_args

from pydantic import Field

from archsearch.api.base import Model, distinct

DartsOperation = Literal[
    "none",
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
]
DARTS_OPERATIONS: Final[tuple[DartsOperation, ...]] = get_args(DartsOperation)


NasnetOperation = Literal[
    "skip_connect",
    "conv_1x1",
    "conv_3x3",
    "conv_1x3_3x1",
    "conv_1x7_7x1",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "sep_conv_7x7",
    "dil_conv_3x3",
    "avg_pool_3x3",
    "max_pool_3x3",
    "max_pool_5x5",
    "max_pool_7x7",
]
AMOEBANET_OPERATIONS: Final[tuple[NasnetOperation, ...]] = (
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "sep_conv_7x7",
    "dil_conv_3x3",
    "conv_1x7_7x1",
    "avg_pool_3x3",
    "max_pool_3x3",
)


class CellStack(Model):
    """How many cells are stacked, and how wide they are."""

    channels: Annotated[int, Field(ge=2, le=512, multiple_of=2)]
    """Channels of the first cells; each reduction doubles them. An even number: a reduction halves them on the way."""
    cells: Annotated[int, Field(ge=3, le=64)]
    """Cells in the network; those at one third and two thirds of the depth halve the resolution."""


class DartsCells(Model):
    """A normal and a reduction cell of the DARTS space (Liu et al. 2019): each node sums two operations, each on the
    output of an earlier node or of the two cells before. About 10^18 architectures with 4 nodes."""

    nodes: Annotated[int, Field(ge=1, le=7)] = 4
    """Nodes in a cell; the cell's output is their concatenation."""
    operations: Annotated[tuple[DartsOperation, ...], Field(min_length=2, max_length=8)] = DARTS_OPERATIONS
    """Candidate operations. `none` only takes part in a supernet's mixture and is never chosen."""
    search: CellStack = CellStack(channels=16, cells=8)
    """The network that trials train while searching, and the size of the supernet."""
    final: CellStack = CellStack(channels=36, cells=20)
    """The network that is profiled, retrained and exported."""

    rules, checks = distinct("operations")


class NasnetCells(Model):
    """A normal and a reduction cell of the NASNet space (Zoph et al. 2018): each node sums two operations, each on any
    earlier state, and the outputs that no node uses make the cell's output. About 3 x 10^29 architectures with 5 nodes.
    """

    nodes: Annotated[int, Field(ge=1, le=6)] = 5
    """Nodes in a cell."""
    operations: Annotated[tuple[NasnetOperation, ...], Field(min_length=1, max_length=13)] = AMOEBANET_OPERATIONS
    """Candidate operations: the thirteen of NASNet, by default the eight that Real et al. 2019 search (AmoebaNet).
    `skip_connect` is the identity."""
    search: CellStack = CellStack(channels=16, cells=8)
    """The network that trials train while searching, and the size of the supernet."""
    final: CellStack = CellStack(channels=36, cells=20)
    """The network that is profiled, retrained and exported."""

    rules, checks = distinct("operations")


class StageStack(Model):
    """How many cells each of the three stages has, and how wide they are."""

    channels: Annotated[int, Field(ge=2, le=512, multiple_of=2)]
    """Channels of the first stage; the second has twice, the third four times as many. An even number."""
    cells: Annotated[int, Field(ge=1, le=18)]
    """Cells in each of the three stages."""


class NasBench201(Model):
    """The cell of NAS-Bench-201 (Dong and Yang 2020): 4 nodes, an operation of 5 on each of 6 edges; 15,625 cells."""

    search: StageStack = StageStack(channels=16, cells=5)
    """The network that trials train while searching, and the size of the supernet."""
    final: StageStack = StageStack(channels=16, cells=5)
    """The network that is profiled, retrained and exported."""
