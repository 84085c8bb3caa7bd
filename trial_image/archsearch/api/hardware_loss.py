"""What an architecture costs, in the loss by which a differentiable search learns it."""

from __future__ import annotations

from typing import Final, Literal

from archsearch.api.base import DecimalString, Model, PositiveDecimal, Quantity, Rule, ShortName, quantity

LOG_FORMS: Final = ("MultiplyLog", "Add")


class HardwareLoss(Model):
    """The expected cost of the network under the probabilities of its operations, in the architecture's loss. It has a
    gradient by every architecture weight: the cost is a sum over choices, from a table."""

    metric: Literal["latencyMs", "parameters", "flops", "activationMiB"] = "latencyMs"
    """What is expected. `latencyMs` is of the profile's `searchLatency` table; the others are counted."""
    profile: ShortName | None = None
    """The hardware profile, for latencyMs only."""
    form: Literal["MultiplyLog", "Multiply", "Add"] = "MultiplyLog"
    """`MultiplyLog`: CE x scale x (log E / log target)^power (ProxylessNAS). `Multiply`: CE x scale x log(E)^power
    (FBNet). `Add`: CE + scale x (E / target - 1). Latency is in microseconds there."""
    target: Quantity | None = None
    """The cost to aim at, such as "12.5" or "5M"; for `MultiplyLog` and `Add`."""
    scale: PositiveDecimal = "0.2"
    """How much the cost weighs."""
    power: DecimalString = "0.6"
    """How steeply it rises; not for `Add`. The default is FBNet's; the published code of ProxylessNAS has 0.3."""

    rules = (
        Rule(
            expression="(self.metric == 'latencyMs') == has(self.profile)",
            message="profile must be set for latencyMs, and only for it",
            field_path=".profile",
        ),
        Rule(
            expression="(self.form == 'Multiply') != has(self.target)",
            message="target must be set for MultiplyLog and Add, and only for them",
            field_path=".target",
        ),
        Rule(
            expression="!has(self.target) || self.target.matches('[1-9]')",
            message="target must be greater than 0",
            field_path=".target",
        ),
    )
    checks = (
        lambda self: None if (self.metric == "latencyMs") == (self.profile is not None) else
        f"profile must be set for latencyMs, and only for it, but got {self.profile or 'none'} for {self.metric}",
        lambda self: None if (self.form in LOG_FORMS) == (self.target is not None) else
        f"target must be set for MultiplyLog and Add, and only for them, but got {self.target or 'none'} for "
        f"{self.form}",
        lambda self: None if self.target is None or quantity(self.target) > 0 else
        f"target must be greater than 0, but got {self.target}",
    )  # fmt: skip
