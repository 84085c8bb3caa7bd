"""The cells of DARTS (Liu et al. 2019, section 2.1): a normal and a reduction cell, shared by the whole network.

Node i of a cell sees i + 2 predecessors: the outputs of the two cells before it (0 and 1) and the nodes before it.
`normal/2/inputs` is the pair of predecessors that node 2 keeps, `normal/2/0` the operation on the edge from
predecessor 0. Node 0 has only two predecessors; its choice of inputs is kept all the same, with one option, so that
no reader of an architecture has to treat it differently.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import combinations
from typing import Final, cast

from archsearch.api.space import DartsCells
from archsearch.spaces.architecture import Architecture
from archsearch.spaces.choice import Choice
from archsearch.spaces.graph import OUTPUT, Edge, Graph
from archsearch.spaces.space import Space

CELLS: Final = ("normal", "reduction")
INPUTS: Final = 2
"""Predecessors that every node keeps (Liu et al. 2019, section 2.4)."""
NONE: Final = "none"


def inputs_name(cell: str, node: int) -> str:
    """The choice of a node's predecessors."""
    return f"{cell}/{node}/inputs"


def edge_name(cell: str, node: int, source: int) -> str:
    """The choice of the operation between a predecessor and a node."""
    return f"{cell}/{node}/{source}"


def darts_cells(settings: DartsCells) -> Space:
    """The space; with 4 nodes and 7 operations besides `none` it has 1,037,664,180 cells of each type."""
    return Space("dartsCells", tuple(_choices(settings)), settings, partial(graph, settings.nodes))


def graph(count: int, architecture: Architecture) -> Graph:
    """Both cells."""
    return {cell: cell_edges(cell, count, architecture) for cell in CELLS}


def cell_edges(cell: str, count: int, architecture: Architecture) -> list[Edge]:
    """A cell; its inputs are the outputs of the cell before the previous one, and of the previous one."""
    nodes = ["before previous", "previous", *(str(node) for node in range(count))]
    edges = [
        Edge(nodes[source], str(node), str(architecture[edge_name(cell, node, source)]))
        for node in range(count)
        for source in cast("tuple[int, ...]", architecture[inputs_name(cell, node)])
    ]
    return edges + [Edge(str(node), OUTPUT, "") for node in range(count)]


def cell_choices(cell: str, count: int, words: Sequence[str]) -> Iterator[Choice]:
    """The choices of a cell with so many nodes and these operations."""
    operations = tuple(word for word in words if word != NONE)
    extra = tuple(word for word in words if word == NONE)
    for node in range(count):
        inputs = inputs_name(cell, node)
        yield Choice(inputs, tuple(combinations(range(node + 2), INPUTS)))
        for source in range(node + 2):
            yield Choice(edge_name(cell, node, source), operations, when=((inputs, source),), extra=extra)


def _choices(settings: DartsCells) -> Iterator[Choice]:
    for cell in CELLS:
        yield from cell_choices(cell, settings.nodes, settings.operations)
