"""An architecture as labelled graphs, one for each cell: what path encodings and pictures are made from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

OUTPUT: Final = "output"
PATHS: Final = 4096
"""Most paths of a cell that are listed."""


@dataclass(frozen=True)
class Edge:
    """An operation between two nodes of a cell. Nodes that are no target are the cell's inputs."""

    source: str
    target: str
    operation: str


Graph = Mapping[str, Sequence[Edge]]
"""The edges of each cell, by the cell's name. The node OUTPUT is what the cell gives to the next one."""


def paths(graph: Graph) -> frozenset[str]:
    """Every way from an input to the output, as the operations on it (the path encoding of White et al. 2021).

    `cell:op,op`. Of a cell with more than PATHS ways the shortest are listed.
    """
    return frozenset(f"{cell}:{path}" for cell, edges in graph.items() for path in _ways(edges))


def _ways(edges: Sequence[Edge]) -> list[str]:
    incoming: defaultdict[str, list[Edge]] = defaultdict(list)
    for edge in edges:
        incoming[edge.target].append(edge)
    found: dict[str, None] = {}
    # From the output backwards, one edge longer in each round, so that the shortest come first.
    ends: dict[tuple[str, str], None] = {(OUTPUT, ""): None}
    while ends and len(found) < PATHS:
        longer: dict[tuple[str, str], None] = {}
        for node, way in ends:
            if not incoming[node] and node != OUTPUT:
                found[way] = None
            for edge in incoming[node]:
                # An edge without an operation joins nodes, as the concatenation of a cell's nodes does.
                longer[edge.source, ",".join(filter(None, (edge.operation, way)))] = None
        ends = dict(list(longer.items())[:PATHS])
    return list(found)[:PATHS]
