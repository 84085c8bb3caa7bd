"""What a cell of mixtures computes, ordered by the state that an edge leaves: where its weights and norms are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Final, TypeVar, cast

from torch import nn

from archsearch.networks.fused.mixing import NARROW
from archsearch.networks.fused.operations import BRANCHES
from archsearch.networks.fused.unweighted import SHARED
from archsearch.networks.mixture import Mixture
from archsearch.spaces.darts import NONE

TOGETHER: Final = 4
"""So many edges at once are fastest where cells are not narrow: what they compute should stay in the cache."""

Kind = TypeVar("Kind", bound=nn.Module)


@dataclass(frozen=True)
class Weighted:
    """An operation with weights on the edges of a group. at: its place among the alternatives.

    convolutions, norms: of each layer those of all edges.
    """

    name: str
    at: int
    convolutions: tuple[tuple[nn.Conv2d, ...], ...]
    norms: tuple[tuple[nn.BatchNorm2d, ...], ...]


@dataclass(frozen=True)
class Group:
    """Edges with equal operations that are computed at once: to which nodes, and where their mixing weights are."""

    nodes: range
    first: int
    alternatives: int
    operations: tuple[Weighted, ...]


@dataclass(frozen=True)
class Unweighted:
    """An operation without weights: to which nodes, where their mixing weights are, and the norms of each."""

    name: str
    nodes: tuple[int, ...]
    places: tuple[int, ...]
    norms: tuple[nn.BatchNorm2d, ...]


@dataclass(frozen=True)
class Source:
    """All that leaves a state."""

    stride: int
    groups: tuple[Group, ...]
    shared: tuple[Unweighted, ...]


@dataclass(frozen=True)
class Plan:
    """A cell. edges: the node and source of each, in the order in which their mixing weights lie after each other."""

    nodes: int
    edges: tuple[tuple[int, int], ...]
    sources: tuple[Source, ...]
    pools: tuple[tuple[nn.Sequential, type[nn.Module]], ...]
    """The pools, and what they were when the plan was made."""

    @cached_property
    def layers(self) -> list[tuple[nn.Conv2d, ...]]:
        """The convolutions that are computed at once."""
        return [
            layer
            for source in self.sources
            for group in source.groups
            for operation in group.operations
            for layer in operation.convolutions
        ]

    @cached_property
    def convolutions(self) -> list[nn.Conv2d]:
        """In the order in which their weights are given."""
        return [convolution for layer in self.layers for convolution in layer]

    @cached_property
    def norms(self) -> list[nn.BatchNorm2d]:
        """All of them."""
        found = [norm for source in self.sources for shared in source.shared for norm in shared.norms]
        for source in self.sources:
            found += [
                norm for group in source.groups for each in group.operations for layer in each.norms for norm in layer
            ]
        return found


def plan_of(edges: Mapping[str, nn.Module], nodes: int, channels: int, reduces: bool) -> Plan | None:
    """The plan of a cell, by its edges (`NODE/SOURCE`); None where they are not what can be planned.

    That is an edge that is no plain mixture, or one where nothing but `none` is mixed.
    """
    if not all(isinstance(edge, Mixture) and set(edge) - {NONE} for edge in edges.values()):
        return None
    order = tuple((node, source) for source in range(nodes + 1) for node in range(max(0, source - 1), nodes))
    mixtures = {place: cast("Mixture", edges["{}/{}".format(*place)]) for place in order}
    first, starts = 0, {}
    for place in order:
        starts[place], first = first, first + len(mixtures[place])
    sources = tuple(
        _source(
            {node: (mixtures[node, at], starts[node, at]) for node, leaves in order if leaves == at},
            2 if reduces and at < 2 else 1,
            1 if channels <= NARROW else TOGETHER,
        )
        for at in range(nodes + 1)
    )
    pools = [
        cast("nn.Sequential", edge[name]) for edge in mixtures.values() for name in edge if name.endswith("pool_3x3")
    ]
    return Plan(nodes, order, sources, tuple((pool, type(pool[0])) for pool in pools))


def _source(leaving: dict[int, tuple[Mixture, int]], stride: int, together: int) -> Source:
    groups = []
    for _, alike in groupby(leaving, key=lambda node: tuple(leaving[node][0])):
        nodes = list(alike)
        for start in range(0, len(nodes), together):
            part = range(nodes[start], nodes[min(start + together, len(nodes)) - 1] + 1)
            mixtures = [leaving[node][0] for node in part]
            groups.append(Group(part, leaving[part[0]][1], len(mixtures[0]), tuple(_weighted(mixtures, stride))))
    return Source(stride, tuple(groups), tuple(_shared(leaving, stride)))


def _weighted(mixtures: list[Mixture], stride: int) -> list[Weighted]:
    names = list(mixtures[0])
    return [
        Weighted(
            name,
            names.index(name),
            tuple(zip(*(_modules(mixture[name], nn.Conv2d) for mixture in mixtures), strict=True)),
            tuple(zip(*(_modules(mixture[name], nn.BatchNorm2d) for mixture in mixtures), strict=True)),
        )
        for name in names
        if name in BRANCHES and not _is_shared(name, stride)
    ]


def _shared(leaving: dict[int, tuple[Mixture, int]], stride: int) -> list[Unweighted]:
    found = []
    for name in SHARED:
        having = {node: edge for node, (edge, _) in leaving.items() if name in edge}
        if having and _is_shared(name, stride):
            places = tuple(leaving[node][1] + list(edge).index(name) for node, edge in having.items())
            norms = [norm for edge in having.values() for norm in _modules(edge[name], nn.BatchNorm2d)]
            found.append(Unweighted(name, tuple(having), places, tuple(norms)))
    return found


def _is_shared(name: str, stride: int) -> bool:
    return name in SHARED and not (name in BRANCHES and stride > 1)


def _modules(operation: nn.Module, kind: type[Kind]) -> list[Kind]:
    return [module for module in operation.modules() if isinstance(module, kind)]
