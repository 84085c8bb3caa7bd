"""The cell over sequences, whose choices are those of a cell of DARTS, and the chain over sequences.

`cell/2/inputs` is the pair of predecessors that node 2 keeps, `cell/2/0` the operation on the edge from predecessor 0.
`2/1` is the block of layer 1 in stage 2: `attention`, or a word as in `mbconv`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

from archsearch.api.space import SequenceCells, SequenceChain
from archsearch.spaces import mbconv
from archsearch.spaces.architecture import Architecture
from archsearch.spaces.darts import cell_choices, cell_edges
from archsearch.spaces.graph import Graph
from archsearch.spaces.mbconv import Place, layer_choices, stage_places
from archsearch.spaces.space import Space

CELL: Final = "cell"
ATTENTION: Final = "attention"


def sequence_cells(settings: SequenceCells) -> Space:
    """The space; with 3 nodes and 8 operations besides `none` it has 18 x 8^6 = 4,718,592 cells."""
    return Space(
        "sequenceCells",
        tuple(cell_choices(CELL, settings.nodes, settings.operations)),
        settings,
        partial(graph, settings.nodes),
    )


def graph(count: int, architecture: Architecture) -> Graph:
    """The cell."""
    return {CELL: cell_edges(CELL, count, architecture)}


def sequence_chain(settings: SequenceChain) -> Space:
    """The space; with the default settings it has 7^2 x 8^6 networks, skipped layers being the eighth option."""
    return Space("sequenceChain", tuple(layer_choices(places(settings), settings.blocks)), settings, mbconv.graph)


def places(settings: SequenceChain) -> Iterator[list[Place]]:
    """The layers of each stage, with the channels that the settings give."""
    return stage_places(settings.stages, settings.stem.channels)
