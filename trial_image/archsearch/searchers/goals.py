"""What a searcher is told of: the objectives that every search trial reports."""

from __future__ import annotations

from typing import cast

from archsearch.api.metrics import LEARNED, STATIC, ZERO_COST, Metric
from archsearch.api.search import ArchitectureSearchSpec, Objective


def searched_objectives(spec: ArchitectureSearchSpec) -> tuple[Objective, ...]:
    """The objectives that every search trial reports.

    The task's metric where there is none, so that there is one to learn. Where nothing is trained the score at
    initialisation stands for all that training would tell.
    """
    known = {profile.name for profile in spec.profiles if profile.search_latency is not None}
    wanted = [item for item in spec.objectives or () if item.metric in LEARNED | STATIC
              or (item.metric == "latencyMs" and item.profile in known)]  # fmt: skip
    found = tuple(wanted) or (spec.task.objective,)
    if spec.evaluation is None or spec.evaluation.zero_cost is None:
        return found
    score = Objective.model_construct(metric=cast("Metric", ZERO_COST), goal="Maximize", profile=None)
    return tuple(dict.fromkeys(score if item.metric in LEARNED else item for item in found))
