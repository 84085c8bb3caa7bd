"""An architecture as labelled graphs, one for each cell: what path encodings and pictures are made from."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Final

OUTPUT: Final = "output"
IDENTITIES: Final = frozenset({"skip_connect", "skip"})
"""Operations that change nothing."""
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
    return frozenset(f"{cell}:{way}" for cell, edges in graph.items() for way in _ways(edges, frozenset()))


def chains(graph: Graph) -> Counter[str]:
    """What the cells compute: how often each chain of operations leads from an input to the output.

    As `paths`, but operations that change nothing are left out, so that cells are alike that compute alike, and a
    chain that is there twice counts twice.
    """
    return Counter(
        {f"{cell}:{way}": count for cell, edges in graph.items() for way, count in _ways(edges, IDENTITIES).items()}
    )


def _ways(edges: Sequence[Edge], without: Set[str]) -> Counter[str]:
    incoming: defaultdict[str, list[Edge]] = defaultdict(list)
    for edge in edges:
        incoming[edge.target].append(edge)
    found: Counter[str] = Counter()
    # From the output backwards, one edge longer in each round, so that the shortest come first.
    ends = Counter({(OUTPUT, ""): 1})
    while ends and len(found) < PATHS:
        longer: Counter[tuple[str, str]] = Counter()
        for (node, way), count in ends.items():
            if not incoming[node] and node != OUTPUT:
                found[way] += count
            for edge in incoming[node]:
                # An edge without an operation joins nodes, as the concatenation of a cell's nodes does.
                operation = "" if edge.operation in without else edge.operation
                longer[edge.source, ",".join(filter(None, (operation, way)))] += count
        ends = Counter(dict(list(longer.items())[:PATHS]))
    return Counter(dict(list(found.items())[:PATHS]))
