"""Features: architectures at initialisation, before the search begins, as a searcher is told of them."""

from __future__ import annotations

from archsearch.api.metrics import STATIC, usable
from archsearch.api.work import Message
from archsearch.evaluation.zero_cost import WORST
from archsearch.planning.objectives import violation
from archsearch.work.context import Context
from archsearch.work.errors import UserError
from archsearch.work.interruption import Interrupted
from archsearch.work.score import rounded, sample_batches, score_of


def run(context: Context) -> Message:
    """Score each architecture that was given. Results: the scores by name, without those that are no finite number;
    nothing of an architecture that is beyond a limit on what is counted."""
    process = context.work.algorithm.gaussian_process
    settings = process.zero_cost if process else None
    if settings is None:
        raise UserError("algorithm.gaussianProcess.zeroCost must be set for Features")
    # Two, as zico needs them, of the size that a prefilter takes.
    batches = sample_batches(context, 2, 64)
    limits = [limit for limit in context.work.constraints if limit.metric in STATIC]
    results: list[dict[str, float]] = []
    for values in context.work.spec.architectures:
        if context.interruption.requested():
            raise Interrupted
        architecture = context.space.architecture(values)
        if limits and (broken := violation(limits, context.cost(architecture))):
            context.log(f"{architecture.id} is not scored: {broken}")
            results.append({})
            continue
        found = {name: score_of(context, name, architecture, batches) for name in settings.scores}
        context.log(f"{architecture.id}: {', '.join(f'{name} {value:.6g}' for name, value in found.items())}")
        results.append({name: rounded(value) for name, value in found.items() if usable(value) and value != WORST})
    return Message(results=tuple(results))
