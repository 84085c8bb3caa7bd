"""Score: architectures at initialisation, one after the other; nothing is trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from archsearch.api.evaluation import ScoreName
from archsearch.api.metrics import ZERO_COST
from archsearch.api.work import Message
from archsearch.evaluation import generator
from archsearch.evaluation.zero_cost import score
from archsearch.networks.inputs import Inputs
from archsearch.spaces import Architecture
from archsearch.work.context import Context
from archsearch.work.errors import Infeasible, UserError
from archsearch.work.interruption import Interrupted
from archsearch.work.latency import latencies, search_cost

Batches = list[tuple[Inputs, Tensor]]

ORDER: Final = 7
"""What the random numbers of the batches' place are for."""
DIGITS: Final = 6
"""Significant digits of a result: 64 results must fit in a container's last message."""


def run(context: Context) -> Message:
    """Score each architecture that was given. Results: `zeroCost`, parameters, flops and what is known of latency; one
    that is beyond a limit is only counted."""
    settings = context.work.evaluation.zero_cost if context.work.evaluation else None
    if settings is None:
        raise UserError("evaluation.zeroCost must be set for Score")
    batches, known = sample_batches(context, settings.batches, settings.batch_size), latencies(context)
    results = []
    for values in context.work.spec.architectures:
        if context.interruption.requested():
            raise Interrupted
        architecture = context.space.architecture(values)
        try:
            found = search_cost(context, architecture, known)
        except Infeasible as beyond:
            found = beyond.metrics
        else:
            found[ZERO_COST] = score_of(context, settings.score, architecture, batches)
        results.append({name: rounded(value) for name, value in found.items()})
    return Message(results=tuple(results))


def best_of_pool(context: Context) -> tuple[Architecture, dict[str, float]]:
    """The architecture that is trained, and what it costs: the one given, or of several the one with the best score at
    initialisation.

    Those beyond a limit are left out. Raises Infeasible where none is left.
    """
    train = context.work.evaluation.train if context.work.evaluation else None
    filtered, known = train.prefilter if train else None, latencies(context)
    if filtered is None or not context.work.spec.architectures:
        return context.architecture, search_cost(context, context.architecture, known)
    batches = sample_batches(context, 2, 64)
    best: tuple[float, Architecture, dict[str, float]] | None = None
    refused: Infeasible | None = None
    for values in context.work.spec.architectures:
        if context.interruption.requested():
            raise Interrupted
        architecture = context.space.architecture(values)
        try:
            cost = search_cost(context, architecture, known)
        except Infeasible as beyond:
            refused = beyond
            continue
        value = score_of(context, filtered.score, architecture, batches)
        context.log(f"{filtered.score} of {architecture.id}: {value:.6g}")
        if best is None or value > best[0]:
            best = value, architecture, cost
    if best is None:
        raise refused or UserError("spec.architectures must hold an architecture")
    context.log(f"trains {best[1].id}, the best of {len(context.work.spec.architectures)}")
    return best[1:]


def score_of(
    context: Context, name: ScoreName, architecture: Architecture, batches: Sequence[tuple[Inputs, Tensor]]
) -> float:
    """The score of the architecture's search network with new weights."""
    return score(name, context.network(architecture, "search"), batches, context.data.loss)


def sample_batches(context: Context, count: int, size: int) -> Batches:
    """Batches of examples that train weights, prepared, with their targets; the same for every trial of a search."""
    data = context.data
    examples = min(size, len(data.weights))
    found: Batches = []
    for number in range(count):
        index = torch.randperm(len(data.weights), generator=generator(0, number, ORDER))[:examples]
        batch = data.prepare(data.weights.at(index).to(context.device))
        found.append((batch.inputs, batch.targets))
    return found


def rounded(value: float) -> float:
    """With as many digits as are told."""
    return float(f"{value:.{DIGITS}g}")
