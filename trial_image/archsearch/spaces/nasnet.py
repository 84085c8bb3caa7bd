"""The cells of NASNet (Zoph et al. 2018, section 3), which AmoebaNet and ENAS' micro search use as well.

Node i of a cell sees i + 2 states: the outputs of the two cells before it (0 and 1) and the nodes before it. It adds
up two of them, each after an operation: `normal/2/left` is the state, `normal/2/left/op` the operation; both sides may
have the same. The outputs that no node uses are concatenated: they are the cell's output.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final, cast

from archsearch.api.space import NasnetCells
from archsearch.spaces.architecture import Architecture
from archsearch.spaces.choice import Choice
from archsearch.spaces.graph import OUTPUT, Edge, Graph
from archsearch.spaces.space import Space

CELLS: Final = ("normal", "reduction")
SIDES: Final = ("left", "right")


def source_name(cell: str, node: int, side: str) -> str:
    """The choice of the state that one side of a node sees."""
    return f"{cell}/{node}/{side}"


def operation_name(cell: str, node: int, side: str) -> str:
    """The choice of the operation on that state."""
    return f"{cell}/{node}/{side}/op"


def nasnet_cells(settings: NasnetCells) -> Space:
    """The space; with 5 nodes and 8 operations it has 5.6 x 10^14 cells of each type (Liu et al. 2018, PNAS)."""
    return Space("nasnetCells", tuple(_choices(settings)), settings, partial(graph, settings.nodes))


def graph(count: int, architecture: Architecture) -> Graph:
    """Both cells; their inputs are the outputs of the cell before the previous one, and of the previous one."""
    cells: dict[str, list[Edge]] = {}
    for cell in CELLS:
        states = ["before previous", "previous", *(str(node) for node in range(count))]
        sides = [(node, side) for node in range(count) for side in SIDES]
        sources = [states[cast("int", architecture[source_name(cell, node, side)])] for node, side in sides]
        cells[cell] = [
            Edge(source, str(node), str(architecture[operation_name(cell, node, side)]))
            for source, (node, side) in zip(sources, sides, strict=True)
        ]
        cells[cell] += [Edge(node, OUTPUT, "") for node in states[2:] if node not in sources]
    return cells


def _choices(settings: NasnetCells) -> Iterator[Choice]:
    for cell in CELLS:
        for node in range(settings.nodes):
            for side in SIDES:
                yield Choice(source_name(cell, node, side), tuple(range(node + 2)))
                yield Choice(operation_name(cell, node, side), settings.operations)
