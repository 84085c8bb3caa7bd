"""The expected cost of a supernet's architectures, as a part of the loss by which they are learnt."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from torch import Tensor

from archsearch.api.base import quantity
from archsearch.api.hardware_loss import HardwareLoss
from archsearch.hardware.costs import CostTable, accuracy_text, fit
from archsearch.spaces import Architecture, Space
from archsearch.supernets.regularisers import Penalty, add_cost, multiply_cost, multiply_log_cost
from archsearch.work.context import Context
from archsearch.work.errors import UserError
from archsearch.work.latency import table_of

MICROSECONDS: Final = 1000.0
"""In a millisecond: a logarithm needs a cost above 1."""
COUNTED: Final = 2
"""Random networks for each option of the space that a table of parameters or FLOPs is fitted to; none of them gets
weights."""


def penalty_of(context: Context, settings: HardwareLoss | None) -> Callable[[Space], Penalty] | None:
    """The penalty on a space, or on a part of it, that the settings describe; None where there is none. UserError."""
    if settings is None:
        return None
    table = _table(context, settings)
    unit = MICROSECONDS if settings.metric == "latencyMs" else 1.0
    scale, power = float(settings.scale), float(settings.power)
    target = quantity(settings.target) * unit if settings.target else 1.0
    if settings.form == "MultiplyLog" and target <= 1:
        raise UserError(f"algorithm.differentiable.hardwareLoss.target must be larger, but got {settings.target}")

    def penalise(space: Space) -> Penalty:
        def expected(mix: Mapping[str, Tensor]) -> Tensor:
            return table.expected(space, mix) * unit

        if settings.form == "Multiply":
            return multiply_cost(expected, scale, power)
        if settings.form == "Add":
            return add_cost(expected, target, scale)
        return multiply_log_cost(expected, target, scale, power)

    return penalise


def _table(context: Context, settings: HardwareLoss) -> CostTable:
    if settings.metric == "latencyMs":
        profile = next((item for item in context.work.profiles if item.name == settings.profile), None)
        table = table_of(context, profile) if profile else None
        if table is None:
            raise UserError(
                "algorithm.differentiable.hardwareLoss.profile must be one of profiles with a table in searchLatency, "
                f"but got {settings.profile}"
            )
    else:

        def cost(architecture: Architecture) -> float:
            return context.cost(architecture)[settings.metric]

        networks = max(40, COUNTED * sum(len(choice.options) for choice in context.space.choices))
        table = fit(context.space, cost, networks, metric=settings.metric, shape=context.data.signature.shape)
    context.log(f"expected {settings.metric}: {accuracy_text(table)}")
    return table
