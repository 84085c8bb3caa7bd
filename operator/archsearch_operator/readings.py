"""What a source of metrics says of a trial, and how it is held against the trial's own result."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from archsearch.api.metrics import usable
from archsearch.api.trial import MAX_EPOCHS, MetricsReading

OBJECTIVE_METRIC: Final = "archsearch_trial_objective"
EPOCH_METRIC: Final = "archsearch_trial_epoch"
SELECTION: Final = "selection"
"""The split whose objectives count; `training` is for people who look at curves."""

TOLERANCE: Final = 1e-6
"""Relative difference up to which two readings of a number are the same number."""
MAX_MESSAGE: Final = 1024
MAX_CURVE: Final = 512

Curve = tuple[tuple[int, float], ...]
"""(epoch, value) of an objective, epochs ascending."""


@dataclass(frozen=True)
class Reading:
    """The values that a source holds of one trial."""

    values: Mapping[str, float]
    """The last value of each objective on the selection images; finite numbers by the metric's name."""
    curve: Curve = ()
    """The objective that was asked for over the epochs, for early stopping; () if none."""
    age_seconds: float | None = None
    """How long before the moment asked about the values were collected; None if that is not known."""
    source: str = ""
    """The query or the address, and the HTTP status, for messages."""


@dataclass(frozen=True)
class Unavailable:
    """Why a source says nothing of a trial: one word for programs and a sentence for people."""

    reason: str
    message: str


@dataclass(frozen=True)
class RunningPod:
    """A trial whose pod runs."""

    trial: str
    pod_ip: str | None = None
    started: datetime | None = None


class MetricsSource(Protocol):
    """Where the metrics of trials are read. It may be down, slow or hostile: no method raises or takes long."""

    async def final(
        self, namespace: str, trial: str, pod_ip: str | None, started: datetime | None, finished: datetime
    ) -> Reading | Unavailable:
        """The last values that a trial showed before its pod ended at `finished`."""

    async def current(
        self, namespace: str, trials: Sequence[RunningPod], metric: str
    ) -> Mapping[str, Reading | Unavailable]:
        """The values and the curve of `metric` of running trials, by the trial's name; every trial has an entry."""


def curve_of(points: Iterable[tuple[float, float]]) -> Curve:
    """A curve of (epoch, value) points in the order in which they were seen; of an epoch the last one counts.

    Values from before the first epoch's end, and numbers that nobody can calculate with, are left out; at most 512
    points stay, the last one always.
    """
    last = {int(epoch): value for epoch, value in points if 1 <= epoch <= MAX_EPOCHS and usable(value)}
    epochs = sorted(last)
    stride = math.ceil(len(epochs) / MAX_CURVE) or 1
    return tuple((epoch, last[epoch]) for epoch in epochs[::-1][::stride][::-1])


def cross_check(reading: Reading | Unavailable, message_metrics: Mapping[str, float]) -> MetricsReading:
    """Hold what the source says against the metrics in the trial's termination message, which stays authoritative.

    Every metric that both have must agree within a relative 1e-6, and there must be one that both have.
    """
    if isinstance(reading, Unavailable):
        return _verdict(False, reading.reason, reading.message)
    common = sorted(set(reading.values) & set(message_metrics))
    where = "; ".join(part for part in (_age(reading.age_seconds), reading.source) if part)
    if not common:
        return _verdict(
            False,
            "NothingToCompare",
            f"the source has {_names(reading.values)}, the trial reported {_names(message_metrics)}; {where}",
        )
    differing = [
        f"{name}: the source has {reading.values[name]!r}, the trial reported {message_metrics[name]!r}"
        for name in common
        if not math.isclose(reading.values[name], message_metrics[name], rel_tol=TOLERANCE)
    ]
    if differing:
        return _verdict(False, "Disagrees", f"{'; '.join(differing)}; {where}")
    return _verdict(True, "Agrees", f"{_names(common)} agree; {where}")


def _verdict(available: bool, reason: str, message: str) -> MetricsReading:
    return MetricsReading(available=available, reason=reason, message=shortened(message, MAX_MESSAGE))


def _names(metrics: Mapping[str, float] | Sequence[str]) -> str:
    return ", ".join(sorted(metrics)) or "nothing"


def _age(seconds: float | None) -> str:
    return "age of the last sample not known" if seconds is None else f"last sample {seconds:.1f} s before"


def shortened(text: str, longest: int) -> str:
    """The text on one line, cut where it is longer than it may be: what others wrote ends up in a status."""
    text = text if len(text) <= longest else text[: longest - 1] + "…"
    return "".join(letter if letter.isprintable() else "?" for letter in text)
