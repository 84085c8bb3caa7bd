"""Architectures with the weights that they inherit from a supernet, one after the other, without copying them."""

from __future__ import annotations

from archsearch.evaluation.measure import evaluate, recalibrate
from archsearch.evaluation.resumable import ShouldStop
from archsearch.networks import SpaceNetwork
from archsearch.spaces import Architecture
from archsearch.tasks import Split, TaskData


def evaluate_shared(
    network: SpaceNetwork,
    architecture: Architecture,
    data: TaskData,
    *,
    calibration: Split,
    selection: Split,
    should_stop: ShouldStop = lambda: False,
) -> dict[str, float]:
    """The task's metrics and `loss` of one path of the supernet on the selection examples.

    Its BatchNorm statistics are taken anew over the calibration examples first: those of the supernet are of all paths
    together. The weights stay as they are; the statistics are left as they were taken. Raises Stopped.
    """
    recalibrate(network, data, calibration, mix=architecture.values)
    return evaluate(network, data, selection, should_stop, mix=architecture.values)
