"""The cell of NAS-Bench-201 (Dong and Yang 2020): 4 nodes, one of 5 operations on each of the 6 edges between them.

`cell/2/0` is the operation on the edge from node 0, the cell's input, to node 2. `none` is a real option here: it
removes the edge.
"""

from __future__ import annotations

import re
from typing import Final

from archsearch.api.space import NasBench201
from archsearch.spaces.architecture import Architecture, InvalidArchitecture
from archsearch.spaces.choice import Choice
from archsearch.spaces.graph import OUTPUT, Edge, Graph
from archsearch.spaces.space import Space

OPERATIONS: Final = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
NODES: Final = 4
EDGES: Final = tuple((node, source) for node in range(1, NODES) for source in range(node))


def edge_name(node: int, source: int) -> str:
    """The choice of the operation between two nodes."""
    return f"cell/{node}/{source}"


def nasbench201(settings: NasBench201) -> Space:
    """The space of 15,625 cells."""
    return Space("nasBench201", tuple(Choice(edge_name(*edge), OPERATIONS) for edge in EDGES), settings, graph)


def graph(architecture: Architecture) -> Graph:
    """The cell without the edges that are none."""
    nodes = ("input", *(str(node) for node in range(1, NODES - 1)), OUTPUT)
    edges = ((node, source, str(architecture[edge_name(node, source)])) for node, source in EDGES)
    return {"cell": [Edge(nodes[source], nodes[node], name) for node, source, name in edges if name != "none"]}


def to_string(architecture: Architecture) -> str:
    """The benchmark's own notation: `|op~0|+|op~0|op~1|+|op~0|op~1|op~2|`."""
    return "+".join(
        "|" + "".join(f"{architecture[edge_name(node, source)]}~{source}|" for source in range(node))
        for node in range(1, NODES)
    )


def from_string(space: Space, text: str) -> Architecture:
    """The architecture that the benchmark's notation stands for. Raises InvalidArchitecture where it is not one."""
    nodes = [re.findall(r"\|?([a-z0-9_]+)~(\d)\|", part) for part in text.split("+")]
    values = {
        edge_name(node, int(source)): operation
        for node, edges in enumerate(nodes, start=1)
        for operation, source in edges
    }
    architecture = space.architecture(values)
    if to_string(architecture) != text:
        raise InvalidArchitecture(f"a cell must be written |op~0|+|op~0|op~1|+|op~0|op~1|op~2|, but got {text[:200]!r}")
    return architecture
