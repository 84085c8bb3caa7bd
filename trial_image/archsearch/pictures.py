"""Pictures of architectures as SVG: cells as graphs, chains as rows of blocks, a path through resolutions as a grid.

Nothing but text is written, so that equal architectures give equal files, and no library is needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final
from xml.sax.saxutils import escape

from archsearch.layout import Box, Drawn, layered, width
from archsearch.spaces import Architecture, Space
from archsearch.spaces.graph import OUTPUT, Edge
from archsearch.spaces.trellis import following, path

MARGIN: Final = 24
TITLE: Final = 28
HEIGHT: Final = 26
"""Of a block."""
GAP: Final = 30
"""Between blocks of a row."""
ROW: Final = 1000
"""Width after which a chain goes on in the next row."""
STEP: Final = 64
"""Between places of a grid."""

INK: Final = "#1f2933"
PALE: Final = "#cbd2d9"
COLOURS: Final = {"conv": "#d6e4ff", "pool": "#ffe8cc", "skip": "#e6e6e6", "motif": "#e3d7ff", "": "#d8f3dc"}
"""Of a block, by a word in its label."""


@dataclass
class Picture:
    """Elements of an SVG, each part below the ones before."""

    parts: list[str] = field(default_factory=list)
    width: float = 0.0
    height: float = MARGIN

    def text(self, x: float, y: float, words: str, *, anchor: str = "middle", bold: bool = False) -> None:
        """Words, centred on the height of a line."""
        weight = ' font-weight="bold"' if bold else ""
        self.parts.append(f'<text x="{x:.1f}" y="{y + 4:.1f}" text-anchor="{anchor}"{weight}>{escape(words)}</text>')
        self.width = max(self.width, x + (width(words) if anchor == "start" else width(words) / 2))

    def block(self, box: Box, *, node: bool = False) -> None:
        """A rounded box with its label."""
        fill = "#ffffff" if node else next(colour for word, colour in COLOURS.items() if word in box.label)
        self.parts.append(
            f'<rect x="{box.x - box.width / 2:.1f}" y="{box.y - HEIGHT / 2:.1f}" width="{box.width:.1f}" '
            f'height="{HEIGHT}" rx="{HEIGHT / 2 if node else 5}" fill="{fill}" stroke="{INK}"/>'
        )
        self.text(box.x, box.y, box.label)
        self.width = max(self.width, box.x + box.width / 2)

    def line(self, points: Sequence[tuple[float, float]], *, arrow: bool = True, colour: str = INK) -> None:
        """A line through points that bends between them; horizontal where it begins and ends."""
        (x, y), *rest = points
        steps = [f"M{x:.1f} {y:.1f}"]
        for to_x, to_y in rest:
            middle = (x + to_x) / 2
            steps.append(f"C{middle:.1f} {y:.1f} {middle:.1f} {to_y:.1f} {to_x:.1f} {to_y:.1f}")
            x, y = to_x, to_y
        end = ' marker-end="url(#arrow)"' if arrow else ""
        self.parts.append(f'<path d="{" ".join(steps)}" fill="none" stroke="{colour}"{end}/>')

    def title(self, words: str) -> None:
        """The name of what comes below."""
        self.text(MARGIN, self.height, words, anchor="start", bold=True)
        self.height += TITLE

    def svg(self) -> str:
        """The whole file."""
        size = f"{self.width + MARGIN:.0f}", f"{self.height:.0f}"
        return "\n".join(
            [
                (
                    f'<svg xmlns="http://www.w3.org/2000/svg" width="{size[0]}" height="{size[1]}" '
                    f'viewBox="0 0 {size[0]} {size[1]}" font-family="DejaVu Sans, Verdana, sans-serif" font-size="12" '
                    f'fill="{INK}">'
                ),
                (
                    '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
                    f'orient="auto"><path d="M0 0 L8 4 L0 8 z" fill="{INK}"/></marker></defs>'
                ),
                f'<rect width="{size[0]}" height="{size[1]}" fill="#ffffff"/>',
                *self.parts,
                "</svg>\n",
            ]
        )


def draw(space: Space, architecture: Architecture) -> str:
    """The architecture as an SVG. Equal architectures give equal text.

    Each cell of `space.graph` is a graph, from left to right by its longest path; chains are rows of blocks. A space
    without graphs is a row of its choices.
    """
    picture = Picture()
    picture.title(f"{space.name} {architecture.id}")
    if space.graph is None:
        _row(picture, "choices", [f"{name}: {value}" for name, value in architecture.values.items()], joined=False)
        return picture.svg()
    cells = space.graph(architecture)
    stages = []
    for name, edges in cells.items():
        if not edges:
            picture.title(f"{name}: nothing leads from the input to the output")
        elif space.name == "resolutionTrellis" and name == "path":
            _grid(picture, space, architecture)
        elif (chain := _chain(edges)) is not None:
            stages.append((name, chain))
        else:
            _graph(picture, name, edges)
    for name, chain in stages:
        _row(picture, f"stage {name}" if name.isdecimal() else name, chain)
    return picture.svg()


def _chain(edges: Sequence[Edge]) -> list[str] | None:
    """The operations of a cell without branches; None where there are any."""
    following_edges = list(pairwise(edges))
    if edges[-1].target != OUTPUT or any(before.target != after.source for before, after in following_edges):
        return None
    return [edge.operation or "skipped" for edge in edges[:-1]]


def _row(picture: Picture, name: str, labels: Iterable[str], *, joined: bool = True) -> None:
    picture.title(name)
    x, y = float(MARGIN), picture.height + HEIGHT / 2
    before: Box | None = None
    for label in labels:
        wide = width(label) + 16
        if before is not None and x + wide > ROW:
            x, y, before = float(MARGIN), y + HEIGHT + 14, None
        box = Box(label, x + wide / 2, y, wide)
        if before is not None and joined:
            picture.line([(before.x + before.width / 2, y), (x, y)])
        picture.block(box)
        before, x = box, x + wide + GAP
    picture.height = y + HEIGHT / 2 + MARGIN


def _graph(picture: Picture, name: str, edges: Sequence[Edge]) -> None:
    picture.title(name)
    drawn: Drawn = layered(edges)
    for line in drawn.lines:
        picture.line([(x + MARGIN, y + picture.height) for x, y in line])
    for box in drawn.boxes:
        moved = Box(box.label, box.x + MARGIN, box.y + picture.height, box.width)
        picture.block(moved, node=box.node)
    picture.height += drawn.height + MARGIN


def _grid(picture: Picture, space: Space, architecture: Architecture) -> None:
    settings: Mapping[str, int] = space.settings.wire()
    layers, levels = settings["layers"], settings["levels"]
    walked = path(layers, architecture)
    picture.title("path: the resolution of each layer")
    left, top = float(MARGIN + 60), picture.height + 16
    place = {
        (layer, level): (left + layer * STEP, top + level * STEP * 0.7)
        for layer in range(layers + 1)
        for level in range(min(layer + 1, levels))
    }
    for (layer, level), start in place.items():
        for target in following(level, levels) if layer < layers else ():
            picture.line([start, place[layer + 1, target]], arrow=False, colour=PALE)
    for level in range(levels):
        picture.text(MARGIN, top + level * STEP * 0.7, f"1/{2 ** (level + settings['stemReductions'])}", anchor="start")
    points = [place[layer, level] for layer, level in enumerate(walked)]
    for start, end in pairwise(points):
        picture.parts.append(
            f'<path d="M{start[0]:.1f} {start[1]:.1f} L{end[0]:.1f} {end[1]:.1f}" stroke="{INK}" stroke-width="3"/>'
        )
    for (layer, level), (x, y) in place.items():
        on = walked[layer] == level
        picture.parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{9 if on else 5}" fill="{"#d6e4ff" if on else "#ffffff"}" '
            f'stroke="{INK if on else PALE}"/>'
        )
    below = top + levels * STEP * 0.7
    for layer in range(layers + 1):
        picture.text(left + layer * STEP, below, str(layer) if layer else "stem")
    picture.height = below + MARGIN
