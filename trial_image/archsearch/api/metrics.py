"""The numbers that a trial can report, and where each comes from."""

from __future__ import annotations

from typing import Final, Literal, get_args

LearnedMetric = Literal[
    "accuracy", "f1", "errorRate", "mIoU", "mAP", "mAP50", "bleu", "exactMatch", "tokenAccuracy", "score", "loss"
]
Metric = Literal[
    LearnedMetric, "parameters", "flops", "activationMiB", "latencyMs", "throughput", "peakMemoryMiB"
]  # fmt: skip
Goal = Literal["Maximize", "Minimize"]

LEARNED: Final[frozenset[Metric]] = frozenset(get_args(LearnedMetric))
"""Measured on the selection examples by every trial that trains; which of them depends on the task."""
STATIC: Final = frozenset({"parameters", "flops", "activationMiB"})
"""Counted on the final network without running it, before training starts."""
MEASURED: Final = frozenset({"latencyMs", "throughput", "peakMemoryMiB"})
"""Measured on a profile's nodes; meaningless without the profile's name."""

ZERO_COST: Final = "zeroCost"
"""The score of a network at initialisation, by which a search without training goes."""

LARGEST: Final = 1e100
"""Largest size of a number that is taken from outside: sums and squares of such numbers are numbers too."""

DEFAULT_GOALS: Final[dict[Metric, Goal]] = {
    "accuracy": "Maximize",
    "f1": "Maximize",
    "errorRate": "Minimize",
    "mIoU": "Maximize",
    "mAP": "Maximize",
    "mAP50": "Maximize",
    "bleu": "Maximize",
    "exactMatch": "Maximize",
    "tokenAccuracy": "Maximize",
    "score": "Maximize",
    "loss": "Minimize",
    "parameters": "Minimize",
    "flops": "Minimize",
    "activationMiB": "Minimize",
    "latencyMs": "Minimize",
    "throughput": "Maximize",
    "peakMemoryMiB": "Minimize",
}


def usable(value: float) -> bool:
    """Whether a number from outside can be calculated with; NaN and the infinities cannot."""
    return abs(value) <= LARGEST


def test_key(metric: str) -> str:
    """The key of a metric on the test examples, which only report: `testAccuracy`."""
    return f"test{metric[0].upper()}{metric[1:]}"


def metric_key(metric: str, profile: str | None) -> str:
    """The key of a metric among a trial's metrics: `accuracy`, or `latencyMs@t4` for a profile's measurement."""
    return f"{metric}@{profile}" if profile else metric
