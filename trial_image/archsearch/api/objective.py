"""What makes an architecture good, and the limits that it must keep."""

from __future__ import annotations

from typing import Any

from archsearch.api.base import Model, Quantity, Rule, ShortName, at_most, cel_list, quantity
from archsearch.api.metrics import MEASURED, Goal, Metric

_NEEDS_PROFILE = Rule(
    expression=f"(self.metric in {cel_list(sorted(MEASURED))}) == has(self.profile)",
    message=f"profile must be set for {', '.join(sorted(MEASURED))}, and only for these",
    field_path=".profile",
)


def _check_profile(self: Any) -> str | None:
    if (self.metric in MEASURED) == (self.profile is not None):
        return None
    got = f"profile {self.profile}" if self.profile else "none"
    return f"{_NEEDS_PROFILE.message}, but got {got} for {self.metric}"


class Objective(Model):
    """A metric that is made as large or as small as can be."""

    metric: Metric
    """The metric's name."""
    goal: Goal | None = None
    """`Maximize` or `Minimize`; the natural one for the metric where it is left out."""
    profile: ShortName | None = None
    """The hardware profile on which the metric is measured, for latencyMs, throughput and peakMemoryMiB only: one of
    `profiles`, or `default`, the trials' own hardware, where no profile is defined."""

    rules = (_NEEDS_PROFILE,)
    checks = (_check_profile,)


class Constraint(Model):
    """A limit. An architecture beyond it is never reported as the best."""

    metric: Metric
    """The metric's name."""
    profile: ShortName | None = None
    """The hardware profile on which the metric is measured, for latencyMs, throughput and peakMemoryMiB only: one of
    `profiles`, or `default`, the trials' own hardware, where no profile is defined."""
    min: Quantity | None = None
    """Smallest value allowed, such as "0.9"."""
    max: Quantity | None = None
    """Largest value allowed, such as "12.5" or "5M" (decimal suffixes k, M, G, T)."""

    rules = (
        _NEEDS_PROFILE,
        Rule(expression="has(self.min) || has(self.max)", message="min or max must be set"),
        Rule(
            expression=f"!has(self.min) || !has(self.max) || {at_most('self.min', 'self.max')}",
            message="min must not be greater than max",
            field_path=".min",
        ),
    )
    checks = (
        _check_profile,
        lambda self: None if self.min or self.max else "min or max must be set",
        lambda self: None if not self.min or not self.max or quantity(self.min) <= quantity(self.max) else
        f"min must not be greater than max ({self.max}), but got {self.min}",
    )  # fmt: skip
