"""Which of several numbers at once are better: domination, fronts and crowding (Deb et al. 2002). Larger is better."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


def dominates(first: Sequence[float], second: Sequence[float]) -> bool:
    """Whether `first` is at least as good everywhere and better somewhere."""
    return all(a >= b for a, b in zip(first, second, strict=True)) and tuple(first) != tuple(second)


def fronts(points: Matrix) -> NDArray[np.int64]:
    """For each row of (n, objectives) the number of its front: 0 where nothing dominates it, 1 where only those of
    front 0 do, and so on."""
    front = np.full(len(points), -1, dtype=np.int64)
    one, other = points[:, None, :], points[None, :, :]
    better = np.asarray((one >= other).all(2) & (one > other).any(2))
    # Counted once and then down: with one objective there are nearly as many fronts as points.
    above = better.sum(0)
    number = 0
    while len(first := np.flatnonzero((above == 0) & (front < 0))):
        front[first] = number
        above -= better[first].sum(0)
        number += 1
    return front


def crowding(points: Matrix) -> Matrix:
    """For each row of (n, objectives) how far its neighbours in each objective are apart; infinite at the ends."""
    distance = np.zeros(len(points))
    for axis in range(points.shape[1]):
        order = np.argsort(points[:, axis], kind="stable")
        values = points[order, axis]
        distance[order[0]] = distance[order[-1]] = math.inf
        # An objective that was not measured is minus infinity everywhere: it spreads nothing.
        if len(points) > 2 and np.isfinite(values).all() and values[-1] > values[0]:
            distance[order[1:-1]] += (values[2:] - values[:-2]) / (values[-1] - values[0])
    return distance


def hypervolume(points: Sequence[Sequence[float]], reference: Sequence[float]) -> float:
    """The volume that the points dominate above the reference (Zitzler and Thiele 1998), for one to four objectives."""
    kept = [tuple(p) for p in points if all(value > low for value, low in zip(p, reference, strict=True))]
    if not kept:
        return 0.0
    if len(reference) == 1:
        return max(value for (value,) in kept) - reference[0]
    # Slices along the last objective, from the best down: each is as deep as the step to the next, and as large as what
    # the points above it dominate in the others.
    kept.sort(key=lambda point: -point[-1])
    total = 0.0
    for number, point in enumerate(kept):
        below = kept[number + 1][-1] if number + 1 < len(kept) else reference[-1]
        if point[-1] > below:
            total += (point[-1] - below) * hypervolume([p[:-1] for p in kept[: number + 1]], reference[:-1])
    return total
