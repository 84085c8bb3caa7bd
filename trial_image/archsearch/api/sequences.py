"""Spaces over sequences, of tokens or of frames of numbers: a cell that is repeated, and a chain of blocks."""

from __future__ import annotations

from typing import Annotated, Final, Literal, get_args

from pydantic import Field, StringConstraints

from archsearch.api.base import Fraction, Model, distinct
from archsearch.api.chains import ChainSize, ChainStage, Channels, Stride

SequenceOperation = Literal[
    "none",
    "max_pool_3",
    "avg_pool_3",
    "skip_connect",
    "sep_conv_3",
    "sep_conv_5",
    "dil_conv_3",
    "attention",
    "recurrent",
]
SEQUENCE_OPERATIONS: Final[tuple[SequenceOperation, ...]] = get_args(SequenceOperation)
SequenceBlock = Annotated[str, StringConstraints(pattern=r"^(k[3579]e[1-8](g2)?|attention)$", max_length=9)]
Embedding = Annotated[int, Field(ge=2, le=1024)]


class SequenceStack(Model):
    """How many cells are stacked, and how wide they are."""

    channels: Annotated[int, Field(ge=2, le=512, multiple_of=2)]
    """Channels of every cell's nodes. An even number: a recurrent operation has one half for each direction."""
    cells: Annotated[int, Field(ge=1, le=32)]
    """Cells in the network."""


class SequenceCells(Model):
    """A cell over sequences, as DARTS has it over images (Liu et al. 2019): each node sums two operations, each on the
    output of an earlier node or of the two cells before. About 4.7 million architectures with 3 nodes."""

    nodes: Annotated[int, Field(ge=1, le=7)] = 3
    """Nodes in a cell; the cell's output is their concatenation."""
    operations: Annotated[tuple[SequenceOperation, ...], Field(min_length=2, max_length=9)] = SEQUENCE_OPERATIONS
    """Candidate operations. `none` only takes part in a supernet's mixture and is never chosen."""
    reductions: Annotated[int, Field(ge=0, le=4)] = 0
    """How often the sequence is halved, evenly over the depth and at most once before a cell."""
    embedding: Embedding = 64
    """Numbers that stand for a token; of no use for frames."""
    dropout: Fraction = "0.3"
    """Share of the stem's outputs and of the features that is dropped in training; below 1."""
    search: SequenceStack = SequenceStack(channels=16, cells=3)
    """The network that trials train while searching, and the size of the supernet."""
    final: SequenceStack = SequenceStack(channels=32, cells=4)
    """The network that is profiled, retrained and exported."""

    rules, checks = distinct("operations")


class SequenceStem(Model):
    """What comes before the first stage."""

    channels: Channels = 32
    """Channels of the first convolution. An even number."""
    stride: Stride = 1
    """Stride of the first convolution: 2 halves the sequence."""


class SequenceChain(Model):
    """A chain of inverted bottlenecks over sequences: each layer is one of several blocks, attention among them, or,
    where it keeps the shape, skipped."""

    stem: SequenceStem = SequenceStem()
    """What comes before the first stage."""
    stages: Annotated[tuple[ChainStage, ...], Field(min_length=1, max_length=8)] = (
        ChainStage(channels=32, layers=2),
        ChainStage(channels=48, layers=3, stride=2),
        ChainStage(channels=64, layers=3, stride=2),
    )
    """The stages in their order; a stride of 2 halves the sequence."""
    head_channels: Channels = 128
    """Channels of the last convolution. An even number."""
    blocks: Annotated[tuple[SequenceBlock, ...], Field(min_length=1, max_length=16)] = (
        "k3e2", "k3e4", "k5e2", "k5e4", "k9e2", "k9e4", "attention",
    )  # fmt: skip
    """Candidate blocks: `k5e4` has a depthwise kernel of 5 steps on 4 times as many channels as come in; with `g2` its
    pointwise convolutions have two groups. `attention` is self-attention of all steps."""
    embedding: Embedding = 64
    """Numbers that stand for a token; of no use for frames."""
    dropout: Fraction = "0.1"
    """Share of an embedding and of the features that is dropped in training; below 1."""
    search: ChainSize = ChainSize(width_percent=50)
    """The network that trials train while searching, and the size of the supernet."""
    final: ChainSize = ChainSize(width_percent=100)
    """The network that is profiled, retrained and exported."""

    rules, checks = distinct("blocks")
