"""All that leaves one state of a cell, forward and backward by hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from torch import Tensor

from archsearch.networks.fused.maps import beside, product
from archsearch.networks.fused.mixing import Gradient, Wanted
from archsearch.networks.fused.norms import Statistics
from archsearch.networks.fused.operations import BRANCHES, Branch, Call
from archsearch.networks.fused.plan import Group, Source
from archsearch.networks.fused.state import Collected, Rectified, Total
from archsearch.networks.fused.unweighted import SHARED, Shared
from archsearch.networks.fused.weights import joined


@dataclass
class Departure:
    """What the gradient of the edges that leave a state needs. state: before ReLU."""

    plan: Source
    state: Tensor
    rectified: Rectified
    branches: list[list[Branch]]
    shared: list[Shared]


def depart(
    plan: Source,
    state: Tensor,
    mix: Tensor,
    weights: Iterator[Tensor],
    totals: Sequence[Total],
    statistics: Statistics,
    *,
    keeps: bool,
) -> Departure:
    """Add to each node's total what the state's edges give it.

    mix: the mixing weights of all edges of the cell. weights: those of the convolutions, from here on. keeps: whether
    the gradient of the weights is going to be asked for.
    """
    rectified, of_choice = Rectified(state), mix.tolist()
    branches = []
    for group in plan.groups:
        scales = _of_group(mix, group).t().repeat_interleave(state.shape[1], dim=1)  # (alternatives, edges x C)
        edges, found = len(group.nodes), []
        total = totals[group.nodes[0]] if edges == 1 else Total()
        for operation in group.operations:
            layers = [joined(tuple(islice(weights, len(layer)))) for layer in operation.convolutions]
            call = Call(edges, plan.stride, layers, operation.norms, scales[operation.at], statistics, total, keeps)
            found.append(BRANCHES[operation.name](rectified, call))
        branches.append(found)
        if edges > 1 and found:
            for node, part in zip(group.nodes, total.close().chunk(edges, dim=1), strict=True):
                totals[node].add(part)
    shared: list[Shared] = []
    for unweighted in plan.shared:
        operation_pass = SHARED[unweighted.name](state, plan.stride, unweighted.norms, statistics)
        shared.append(operation_pass)
        for node, place in zip(unweighted.nodes, unweighted.places, strict=True):
            totals[node].add(operation_pass.output, of_choice[place])
    rectified.forget()
    return Departure(plan, state, rectified, branches, shared)


def back(
    departure: Departure, mix: Tensor, by_mix: Tensor, nodes: Sequence[Gradient], wanted: Wanted
) -> tuple[Tensor | None, list[Tensor]]:
    """The gradients by the state, where it is wanted, and by the weights, each of one convolution of one edge.

    by_mix: is filled, where it is wanted. nodes: the gradient of each node. The departure is used up.
    """
    collected = Collected()
    by_weights: list[Tensor] = []
    for group, branches in zip(departure.plan.groups, departure.branches, strict=True):
        edges = len(group.nodes)
        gradient = nodes[group.nodes[0]]
        if edges > 1:
            gradient = Gradient(beside([nodes[node].map for node in group.nodes]))
        for operation, at in zip(group.operations, range(len(branches)), strict=True):
            found, by_scale = branches[at].backward(gradient, departure.rectified, collected, wanted)
            by_weights += found if edges == 1 else [part for each in found for part in each.chunk(edges)]
            if wanted.mix and by_scale is not None:
                _of_group(by_mix, group)[:, operation.at] = by_scale.view(edges, -1).sum(1)
        branches.clear()
        collected.fold(edges)
    departure.rectified.forget()
    by_state = collected.total(departure.rectified) if wanted.state else None
    of_choice = mix.tolist()
    for unweighted, shared in zip(departure.plan.shared, departure.shared, strict=True):
        if wanted.mix:
            for node, place in zip(unweighted.nodes, unweighted.places, strict=True):
                by_mix[place] = product(nodes[node].map, shared.output)
        if by_state is not None:
            weighted = Total()
            for node, place in zip(unweighted.nodes, unweighted.places, strict=True):
                weighted.add(nodes[node].map, of_choice[place])
            by_state += shared.backward(weighted.close(), departure.state)
    return by_state, by_weights


def _of_group(values: Tensor, group: Group) -> Tensor:
    """(edges, alternatives), a view."""
    return values.narrow(0, group.first, len(group.nodes) * group.alternatives).view(-1, group.alternatives)
