"""The space of Auto-DeepLab (Liu et al. 2019, section 3): a path through resolutions, and the cell on all of it.

Layer 0 is the stem, at level 0; each level is half as high and wide as the one before. `path/3/1` is the level of layer
4 where layer 3 is at level 1. `cell/2/inputs` and `cell/2/0` are as in the cells of DARTS: the pair of predecessors
that node 2 keeps, and the operation on the edge from predecessor 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final, cast

from archsearch.api.space import ResolutionTrellis
from archsearch.spaces.architecture import Architecture
from archsearch.spaces.choice import Choice
from archsearch.spaces.darts import cell_choices, cell_edges
from archsearch.spaces.graph import OUTPUT, Edge, Graph
from archsearch.spaces.space import Space

CELL: Final = "cell"


def path_name(layer: int, level: int) -> str:
    """The choice of the level that follows where a layer is at this one."""
    return f"path/{layer}/{level}"


def following(level: int, levels: int) -> tuple[int, ...]:
    """The levels that can follow one: the one above, the same, the one below, as far as there are any."""
    return tuple(range(max(level - 1, 0), min(level + 2, levels)))


def path(layers: int, architecture: Architecture) -> list[int]:
    """The level of each layer, the stem's first: layers + 1 of them."""
    levels = [0]
    for layer in range(layers):
        levels.append(cast("int", architecture[path_name(layer, levels[-1])]))
    return levels


def resolution_trellis(settings: ResolutionTrellis) -> Space:
    """The space; with 12 layers, 4 levels and 5 nodes it has 75,025 paths and 7.6 x 10^11 cells."""
    return Space("resolutionTrellis", tuple(_choices(settings)), settings, partial(graph, settings))


def graph(settings: ResolutionTrellis, architecture: Architecture) -> Graph:
    """The path, its operations being the levels, and the cell; its inputs are those of DARTS."""
    levels = path(settings.layers, architecture)
    places = [f"{layer}" for layer in range(settings.layers + 1)]
    way = [Edge(places[at], places[at + 1], f"level {levels[at + 1]}") for at in range(settings.layers)]
    return {"path": [*way, Edge(places[-1], OUTPUT, "")], CELL: cell_edges(CELL, settings.nodes, architecture)}


def _choices(settings: ResolutionTrellis) -> Iterator[Choice]:
    reached = {0: [path_name(0, 0)]}  # by level, the choices of the layer before that lead there
    for layer in range(settings.layers):
        leading: dict[int, list[str]] = {}
        for level, names in reached.items():
            name, options = path_name(layer, level), following(level, settings.levels)
            yield Choice(name, options, when=tuple((before, level) for before in names) if layer else ())
            for option in options:
                leading.setdefault(option, []).append(name)
        reached = dict(sorted(leading.items()))
    yield from cell_choices(CELL, settings.nodes, settings.operations)
