"""The median rule (Golovin et al. 2017, Google Vizier, section 3.2): stop what is worse than half of the others."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, median

from archsearch.api.search import MedianStop
from archsearch.api.trial import CurvePoint


def median_stop(
    rule: MedianStop, curve: Sequence[CurvePoint], finished: Sequence[Sequence[CurvePoint]], maximize: bool
) -> str | None:
    """Why a running trial should be stopped, or None.

    It is stopped when its best value so far is worse than the median of the finished trials' running averages up to
    the same epoch. Curves are of the first objective, in order of epochs.
    """
    if not curve or curve[-1].epoch < rule.grace_epochs or len(finished) < rule.min_trials:
        return None
    epoch = curve[-1].epoch
    averages = [
        fmean(values) for other in finished if (values := [point.value for point in other if point.epoch <= epoch])
    ]
    if len(averages) < rule.min_trials:
        return None
    middle = median(averages)
    best = max(point.value for point in curve) if maximize else min(point.value for point in curve)
    if (best >= middle) if maximize else (best <= middle):
        return None
    return f"best value {best:.4g} at epoch {epoch} is worse than the median {middle:.4g} of {len(averages)} trials"
