"""Where the parts of a labelled graph are drawn: in layers by the longest path (Sugiyama et al. 1981), without overlap.

Operations are boxes of their own between the nodes. A line that passes a layer has a place in it as a box has, so that
it crosses none.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from archsearch.spaces.graph import Edge

BETWEEN: Final = 36
"""Between layers."""
ROW: Final = 36
"""Between the middles of two boxes of a layer."""
SWEEPS: Final = 8

Point = tuple[float, float]


def width(words: str) -> float:
    """About how wide words are in a font of 12 pixels, rather more than less."""
    return 7.6 * len(words)


@dataclass(frozen=True)
class Box:
    """A label around a middle. node: whether it is a node of the graph, or else an operation."""

    label: str
    x: float
    y: float
    width: float
    node: bool = False


@dataclass(frozen=True)
class Drawn:
    """Boxes, lines from box to box through points, and the height of all."""

    boxes: tuple[Box, ...]
    lines: tuple[tuple[Point, ...], ...]
    height: float


@dataclass
class _Vertex:
    """Something with a place in a layer; without a label it is where a line passes."""

    label: str
    node: bool
    layer: int
    before: list[_Vertex] = field(default_factory=list)
    after: list[_Vertex] = field(default_factory=list)
    y: float = 0.0


def layered(edges: Sequence[Edge]) -> Drawn:
    """The layout of a graph without cycles."""
    layers, ways = _vertices(edges)
    for vertices in layers:
        for row, vertex in enumerate(vertices):
            vertex.y = row * ROW
    for sweep in range(SWEEPS):
        for vertices in layers if sweep % 2 == 0 else reversed(layers):
            _align(vertices, forwards=sweep % 2 == 0)
    top = min(vertex.y for vertices in layers for vertex in vertices)
    middles, x = [], 0.0
    for vertices in layers:
        wide = max(_width(vertex) for vertex in vertices)
        middles.append(x + wide / 2)
        x += wide + BETWEEN
    place = {
        id(vertex): Box(vertex.label, middles[vertex.layer], vertex.y - top + ROW / 2, _width(vertex), vertex.node)
        for vertices in layers
        for vertex in vertices
    }
    height = max(box.y for box in place.values()) + ROW / 2
    lines = tuple(tuple(_points([place[id(vertex)] for vertex in way], layers, middles)) for way in ways)
    return Drawn(tuple(box for box in place.values() if box.label), lines, height)


def _points(way: Sequence[Box], layers: Sequence[Sequence[_Vertex]], middles: Sequence[float]) -> list[Point]:
    """From the right side of the first box to the left side of the last, straight through the layers between."""
    first, last = way[0], way[-1]
    points = [(first.x + first.width / 2, first.y)]
    for box in (way[0], *way[1:-1], way[-1]):
        half = max(_width(vertex) for vertex in layers[middles.index(box.x)]) / 2
        if box is not first:
            points.append((box.x - half, box.y))
        if box is not last:
            points.append((box.x + half, box.y))
    points.append((last.x - last.width / 2, last.y))
    return [point for at, point in enumerate(points) if at == 0 or point != points[at - 1]]


def _width(vertex: _Vertex) -> float:
    return width(vertex.label) + 16 if vertex.label else 0.0


def _vertices(edges: Sequence[Edge]) -> tuple[list[list[_Vertex]], list[list[_Vertex]]]:
    """The vertices of each layer, and the ways that lines take through them."""
    depth = _depths(edges)
    nodes = {name: _Vertex(name, True, layer) for name, layer in depth.items()}
    made, ways = list(nodes.values()), []

    def way(source: _Vertex, target: _Vertex) -> None:
        passed = [_Vertex("", False, layer) for layer in range(source.layer + 1, target.layer)]
        made.extend(passed)
        whole = [source, *passed, target]
        for left, right in pairwise(whole):
            left.after.append(right)
            right.before.append(left)
        ways.append(whole)

    for edge in edges:
        source, target = nodes[edge.source], nodes[edge.target]
        if edge.operation:
            box = _Vertex(edge.operation, False, target.layer - 1)
            made.append(box)
            way(source, box)
            way(box, target)
        else:
            way(source, target)
    layers: defaultdict[int, list[_Vertex]] = defaultdict(list)
    for vertex in made:
        layers[vertex.layer].append(vertex)
    return [layers[layer] for layer in sorted(layers)], ways


def _depths(edges: Sequence[Edge]) -> dict[str, int]:
    """The layer of each node: the longest path that leads to it, an operation being a layer of its own."""
    depth = dict.fromkeys(name for edge in edges for name in (edge.source, edge.target))
    found = dict.fromkeys(depth, 0)
    for _ in found:
        for edge in edges:
            found[edge.target] = max(found[edge.target], found[edge.source] + (2 if edge.operation else 1))
    return found


def _align(vertices: list[_Vertex], *, forwards: bool) -> None:
    """Sort a layer by the mean height of what its vertices are joined to, and put each as near to that as it goes."""

    def wanted(vertex: _Vertex) -> float:
        joined = vertex.before if forwards else vertex.after
        return sum(other.y for other in joined) / len(joined) if joined else vertex.y

    heights = {id(vertex): wanted(vertex) for vertex in vertices}
    vertices.sort(key=lambda vertex: heights[id(vertex)])
    lowest = -float("inf")
    for vertex in vertices:
        vertex.y = lowest = max(heights[id(vertex)], lowest + ROW)
    shift = sum(vertex.y - heights[id(vertex)] for vertex in vertices) / len(vertices)
    for vertex in vertices:
        vertex.y -= shift
