"""A cell of mixtures as one function with a gradient of its own."""

from __future__ import annotations

from typing import Any, Final, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call

from archsearch.networks.chooser import Mix
from archsearch.networks.darts import Cell
from archsearch.networks.fused.maps import channels_last, edgewise, inner, outer
from archsearch.networks.fused.mixing import Gradient, Wanted
from archsearch.networks.fused.norms import Statistics
from archsearch.networks.fused.plan import Plan, plan_of
from archsearch.networks.fused.source import Departure, back, depart
from archsearch.networks.fused.state import Total
from archsearch.networks.fused.weights import lay_together
from archsearch.networks.mixture import SKIP_DROPOUT
from archsearch.spaces.darts import edge_name, inputs_name

PRECISIONS: Final = (torch.float32, torch.float64)


class FusedCell(Cell):
    """A cell whose mixtures are computed at once, where that is possible; the weights are those of the plain cell."""

    def __init__(self, *arguments: Any, reduces: bool, channels: int, **settings: Any) -> None:
        super().__init__(*arguments, reduces=reduces, channels=channels, **settings)
        self._kind = "reduction" if reduces else "normal"
        self._plan = plan_of(dict(self.edges.items()), len(self.sources), channels, reduces)
        self._lay_out()

    def nodes(self, states: list[Tensor], mix: Mix | None) -> Tensor:
        """As the plain cell."""
        plan = self._plan
        weights = self._mixing_weights(plan, states[0], mix) if plan is not None and mix is not None else None
        if plan is None or weights is None:
            return super().nodes(states, mix)
        output: Tensor = _Nodes.apply(self, plan, *states, weights, *(c.weight for c in plan.convolutions))
        return output

    def _apply(self, *arguments: Any, **settings: Any) -> FusedCell:  # what .to() and its like call
        super()._apply(*arguments, **settings)  # type: ignore[no-untyped-call]
        self._lay_out()
        return self

    def _lay_out(self) -> None:
        for layer in self._plan.layers if self._plan is not None else ():
            lay_together([convolution.weight for convolution in layer])

    def plainly(self, plan: Plan, states: list[Tensor], weights: Tensor) -> Tensor:
        """The nodes as the plain cell computes them, from the mixing weights of all edges."""
        counts = [len(cast("nn.ModuleDict", self.edges["{}/{}".format(*place)])) for place in plan.edges]
        parts = zip(plan.edges, torch.split(weights, counts), strict=True)
        return super().nodes(states, {edge_name(self._kind, *place): part for place, part in parts})

    def _mixing_weights(self, plan: Plan, like: Tensor, mix: Mix) -> Tensor | None:
        """The mixing weights of all edges after each other; None where this pass is one for the plain cell."""
        elsewhere = like.device.type != "cpu" or torch.is_autocast_enabled("cpu") or like.dtype not in PRECISIONS
        if not self.training or elsewhere or SKIP_DROPOUT in mix:
            return None
        norms = {(norm.training, norm.track_running_stats, norm.momentum, norm.eps) for norm in plan.norms}
        if len(norms) != 1 or any(not norm[0] or norm[2] is None for norm in norms):
            return None
        if any(type(pool[0]) is not kind for pool, kind in plan.pools):
            return None
        found = []
        for node, source in plan.edges:
            weights, share = mix[edge_name(self._kind, node, source)], mix.get(inputs_name(self._kind, node))
            alternatives = len(cast("nn.ModuleDict", self.edges[f"{node}/{source}"]))
            if not isinstance(weights, Tensor) or weights.shape != (alternatives,):
                return None
            if share is not None and not isinstance(share, Tensor):
                return None
            found.append(weights if share is None else weights * share[source])
        return torch.cat(found).to(like)


class _Plain(nn.Module):
    """The plain computation of a cell as a module, so that it can be run with other tensors as its weights."""

    def __init__(self, cell: FusedCell) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, plan: Plan, states: list[Tensor], weights: Tensor) -> Tensor:
        """As `FusedCell.plainly`."""
        return self.cell.plainly(plan, states, weights)


class _Nodes(torch.autograd.Function):
    """The nodes of a cell, concatenated, from its two inputs, the mixing weights and the convolutions' weights."""

    @staticmethod
    def forward(
        ctx: Any, cell: FusedCell, plan: Plan, before_previous: Tensor, previous: Tensor, mix: Tensor, *weights: Tensor
    ) -> Tensor:
        """(N, C, H, W) twice -> (N, nodes x C, H, W), or half as high and wide."""
        statistics = Statistics(plan.norms)
        states = [channels_last(before_previous), channels_last(previous)]
        totals = [Total() for _ in range(plan.nodes)]
        remaining = iter(weights)
        keeps = any(ctx.needs_input_grad[5:])
        ctx.departures = []
        for at, source in enumerate(plan.sources):
            ctx.departures.append(depart(source, states[at], mix, remaining, totals, statistics, keeps=keeps))
            if at > 0:  # the node whose last input this was
                states.append(totals[at - 1].close())
        statistics.remember()
        ctx.cell, ctx.plan, ctx.mix = cell, plan, mix.detach()
        ctx.save_for_backward(before_previous, previous, mix, *weights)
        return outer(torch.cat([inner(state) for state in states[2:]], dim=-1))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Only what is asked for."""
        if torch.is_grad_enabled() or not ctx.departures:  # to be differentiated again, or for the second time
            return None, None, *_replayed(ctx, gradient)
        plan: Plan = ctx.plan
        mix: Tensor = ctx.mix
        needed = ctx.needs_input_grad[2:]
        by_mix = torch.zeros_like(mix)
        parts = edgewise(channels_last(gradient), plan.nodes).unbind(-2)
        nodes = [Gradient(outer(part.contiguous())) for part in parts]
        by_states: list[Tensor | None] = [None, None]
        by_weights: list[list[Tensor]] = []
        while ctx.departures:
            departure: Departure = ctx.departures.pop()
            at = len(ctx.departures)
            wanted = Wanted(state=at >= 2 or needed[at], weights=any(needed[3:]), mix=needed[2])
            by_state, found = back(departure, mix, by_mix, nodes, wanted)
            by_weights.append(found)
            if at < 2:
                by_states[at] = by_state
            elif by_state is not None:
                nodes[at - 2].map += by_state
        flat: list[Tensor | None] = [part for found in reversed(by_weights) for part in found]
        flat = flat or [None] * len(needed[3:])
        return None, None, *by_states, by_mix if needed[2] else None, *flat


def _replayed(ctx: Any, gradient: Tensor) -> list[Tensor | None]:
    """The gradients by way of the plain cell, which can be differentiated again."""
    inputs = ctx.saved_tensors
    before_previous, previous, mix, *weights = inputs
    needed = ctx.needs_input_grad[2:]
    plain = _Plain(ctx.cell)
    names = {parameter: name for name, parameter in plain.named_parameters()}
    convolutions = ctx.plan.convolutions
    tensors = {names[c.weight]: weight for c, weight in zip(convolutions, weights, strict=True)}
    # The running statistics have moved already.
    tensors |= {name: buffer.clone() for name, buffer in plain.named_buffers()}
    again = torch.is_grad_enabled()
    with torch.enable_grad():
        output = functional_call(plain, tensors, (ctx.plan, [before_previous, previous], mix))
        wanted = [tensor for tensor, is_needed in zip(inputs, needed, strict=True) if is_needed]
        found = iter(torch.autograd.grad(output, wanted, gradient, create_graph=again, allow_unused=True))
    return [next(found) if is_needed else None for is_needed in needed]
