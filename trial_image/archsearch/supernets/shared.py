"""What a mix is worth with a supernet's shared weights. One architecture is judged by `evaluation.evaluate_shared`."""

from __future__ import annotations

from archsearch.evaluation.measure import as_it_is
from archsearch.networks import Mix, SpaceNetwork
from archsearch.tasks import Split, TaskData


def worth(supernet: SpaceNetwork, mix: Mix, data: TaskData, split: Split) -> tuple[float, float]:
    """The task's metric and minus the loss of a mix on all examples of a split, in the network's own mode; larger is
    better."""
    found = as_it_is(supernet, data, split, mix=mix)
    return found[data.metric], -found["loss"]
