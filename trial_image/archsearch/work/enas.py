"""Supernet, where the algorithm is ENAS: one whole search with a policy. Its result is an architecture."""

from __future__ import annotations

from typing import Final

from archsearch.api.work import Message
from archsearch.evaluation import ShouldStop
from archsearch.evaluation.shared import evaluate_shared
from archsearch.spaces import Architecture
from archsearch.supernets.enas import Enas
from archsearch.work.context import Context
from archsearch.work.errors import UserError
from archsearch.work.latency import found_message, within_limits
from archsearch.work.loop import train
from archsearch.work.shared_weights import shared_network

CALIBRATION: Final = 2048
"""Training examples that an architecture's BatchNorm statistics are taken over."""


def run(context: Context) -> Message:
    """Train the shared weights and the policy in turn, then take the best of some architectures that it draws.

    The architecture half of the training examples chooses between these. Metrics: the task's and loss of that one with
    the shared weights on the selection examples, which only say which restart did better; they are not what the
    architecture reaches when it is trained. parameters and flops: of its final network, and what is known of latency.
    The curve is that of the policy's most probable architecture.
    """
    settings = context.work.algorithm.enas
    if settings is None:
        raise UserError(f"algorithm must be enas, but got {context.work.algorithm.member[0]}")
    data, seed, recipe = context.data, context.work.spec.seed, context.work.task.training
    calibration, selection = data.weights.first(CALIBRATION), data.selection.to(context.device)

    def make() -> Enas:
        return Enas(context.space, shared_network(context), data, recipe, settings, seed=seed)

    def one_shot(search: Enas, architecture: Architecture, should_stop: ShouldStop) -> dict[str, float]:
        return evaluate_shared(
            search.network, architecture, data, calibration=calibration, selection=selection, should_stop=should_stop
        )

    search, curve = train(context, make, lambda search, stop: one_shot(search, search.architecture(), stop))
    architecture = search.derive(within_limits(context))
    return found_message(context, architecture, one_shot(search, architecture, lambda: False), curve)
