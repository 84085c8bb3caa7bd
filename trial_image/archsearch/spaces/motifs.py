"""The space of hierarchical representations (Liu et al. 2018, section 2): operations make motifs, motifs make the cell.

`cell/2/0` is the motif on the edge from node 0 to node 2 of the cell: its number, or 0 for no connection.
`motif/3/2/0` is the operation on that edge of motif 3, to be chosen only where the cell uses the motif.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

from archsearch.api.space import HierarchicalMotifs
from archsearch.spaces.architecture import Architecture
from archsearch.spaces.choice import Choice
from archsearch.spaces.graph import OUTPUT, Edge, Graph
from archsearch.spaces.space import Space

NONE: Final = "none"
OPERATIONS: Final = (
    NONE, "skip_connect", "max_pool_3x3", "avg_pool_3x3", "conv_1x1", "depth_conv_3x3", "sep_conv_3x3",
)  # fmt: skip
"""No connection, and the six primitives of the paper (section 4.1)."""


def edges(nodes: int) -> Iterator[tuple[int, int]]:
    """Target and source of every edge of a graph, the targets ascending."""
    return ((target, source) for target in range(1, nodes) for source in range(target))


def motif_name(target: int, source: int) -> str:
    """The choice of the motif on an edge of the cell."""
    return f"cell/{target}/{source}"


def operation_name(motif: int, target: int, source: int) -> str:
    """The choice of the operation on an edge of a motif."""
    return f"motif/{motif}/{target}/{source}"


def hierarchical_motifs(settings: HierarchicalMotifs) -> Space:
    """The space; with the default settings it has 1.2 x 10^38 cells. Nothing is mixed: mixtures would hold mixtures."""
    graphs = partial(graph, settings)
    return Space("hierarchicalMotifs", tuple(_choices(settings)), settings, graphs, mixable=False)


def graph(settings: HierarchicalMotifs, architecture: Architecture) -> Graph:
    """The cell, and each motif that it uses, without the edges that no way from the input to the output leads over."""
    cell = {(target, source): architecture[motif_name(target, source)] for target, source in edges(settings.cell_nodes)}
    graphs = {"cell": _graph(settings.cell_nodes, {at: f"motif {m}" for at, m in cell.items() if m})}
    for motif in sorted({int(str(m)) for m in cell.values() if m}):
        inside = {at: str(architecture[operation_name(motif, *at)]) for at in edges(settings.motif_nodes)}
        graphs[f"motif {motif}"] = _graph(settings.motif_nodes, {at: o for at, o in inside.items() if o != NONE})
    return graphs


def _graph(nodes: int, labels: dict[tuple[int, int], str]) -> list[Edge]:
    names = ["input", *(str(node) for node in range(1, nodes))]
    reached, leading = {0}, {nodes - 1}
    for target, source in labels:
        if source in reached:
            reached.add(target)
    for target, source in reversed(labels):
        if target in leading:
            leading.add(source)
    used = reached & leading
    labels = {(target, source): label for (target, source), label in labels.items() if {target, source} <= used}
    if not labels:
        return []
    found = [Edge(names[source], names[target], label) for (target, source), label in labels.items()]
    return [*found, Edge(names[-1], OUTPUT, "")]


def _choices(settings: HierarchicalMotifs) -> Iterator[Choice]:
    cell = [motif_name(*edge) for edge in edges(settings.cell_nodes)]
    for name in cell:
        yield Choice(name, tuple(range(settings.motifs + 1)))
    for motif in range(1, settings.motifs + 1):
        used = tuple((name, motif) for name in cell)
        for edge in edges(settings.motif_nodes):
            yield Choice(operation_name(motif, *edge), OPERATIONS, when=used)
