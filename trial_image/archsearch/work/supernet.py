"""Supernet: one whole differentiable search. Its result is an architecture."""

from __future__ import annotations

import copy

import torch

from archsearch.api.work import Message
from archsearch.evaluation import ShouldStop, derive
from archsearch.evaluation.shared import evaluate_shared
from archsearch.networks import Mix, SpaceNetwork, supernet
from archsearch.spaces import Architecture, Space
from archsearch.supernets.search import Search, differentiable_search, network_options
from archsearch.supernets.shared import worth
from archsearch.work.context import Context
from archsearch.work.errors import UserError
from archsearch.work.hardware_loss import penalty_of
from archsearch.work.latency import found_message, within_limits
from archsearch.work.loop import train


def run(context: Context) -> Message:
    """Train the supernet on the weights and architecture examples, then read the architecture off it.

    Metrics: the task's and loss of the derived architecture, one-shot: with the weights that it shares in the supernet,
    its BatchNorm statistics taken anew over training examples, on the selection examples. They say which restart did
    better; they are not what the architecture reaches when it is trained. parameters and flops: of its final network.
    The architecture keeps the spec's limits as far as they are known here, where the search can find one that does.
    """
    settings = context.work.algorithm.differentiable
    if settings is None:
        raise UserError(f"algorithm must be differentiable for Supernet, but got {context.work.algorithm.member[0]}")
    data, seed = context.data, context.work.spec.seed
    selection, weights = data.selection.to(context.device), data.weights.to(context.device)
    options, penalise = network_options(settings), penalty_of(context, settings.hardware_loss)

    def build(space: Space, own: int) -> SpaceNetwork:
        torch.manual_seed(derive(own))
        return supernet(space, signature=data.signature, **options).to(context.device)

    def judge(network: SpaceNetwork, mix: Mix) -> tuple[float, ...]:
        return worth(network, mix, data, selection)

    def make() -> Search:
        return differentiable_search(
            context.space, data, settings, build=build, judge=judge, seed=seed, penalise=penalise
        )

    def one_shot(network: SpaceNetwork, architecture: Architecture, should_stop: ShouldStop) -> dict[str, float]:
        # A copy: the search goes on with the statistics that it has.
        return evaluate_shared(
            copy.deepcopy(network), architecture, data, calibration=weights, selection=selection,
            should_stop=should_stop,
        )  # fmt: skip

    training, curve = train(context, make, lambda search, stop: one_shot(search.network, search.architecture(), stop))
    offered = training.candidates(within_limits(context))
    known = {training.architecture(): dict(curve[-1])}
    found = {c: known.get(c) or one_shot(training.network, c, lambda: False) for c in offered}
    architecture = max(found, key=lambda candidate: found[candidate][data.metric])
    return found_message(context, architecture, found[architecture], curve)
