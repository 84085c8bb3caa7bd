"""Evaluate: architectures with the weights that they inherit from a supernet that was trained before."""

from __future__ import annotations

from typing import Any, Final

import torch

from archsearch.api.work import Message
from archsearch.evaluation import Stopped
from archsearch.evaluation.shared import evaluate_shared
from archsearch.evaluation.trainer import load_network
from archsearch.networks import SpaceNetwork
from archsearch.work.artifacts import read_weights
from archsearch.work.checkpoint import Checkpoints, identity_of
from archsearch.work.context import Context
from archsearch.work.errors import Infeasible, UserError
from archsearch.work.interruption import Interrupted
from archsearch.work.latency import latencies, search_cost
from archsearch.work.score import rounded
from archsearch.work.shared_weights import shared_network

DONE: Final = "done"


def run(context: Context) -> Message:
    """Evaluate each architecture that was given, in order.

    Results: the task's metrics and loss on the selection examples with BatchNorm statistics of its own, parameters,
    flops and what is known of latency; one beyond a limit is only counted. Numbers have six digits, so that all fit in
    a message.
    An interruption loses the architecture that it comes in.
    """
    settings = context.work.evaluation.shared_weights if context.work.evaluation else None
    if settings is None:
        raise UserError("evaluation.sharedWeights must be set for Evaluate")
    architectures = [context.space.architecture(values) for values in context.work.spec.architectures]
    checkpoints = Checkpoints(context.folder / "checkpoint", identity_of(context.work), context.log)
    results = _resume(checkpoints, len(architectures))
    context.cleanup.append(checkpoints.remove)
    network, data, known = _network(context), context.data, latencies(context)
    calibration, selection = data.training.first(settings.recalibration_images), data.selection.to(context.device)
    with context.interruption.deferred():
        for architecture in architectures[len(results) :]:
            try:
                found = search_cost(context, architecture, known)
                found |= evaluate_shared(
                    network, architecture, data, calibration=calibration, selection=selection,
                    should_stop=context.interruption.requested,
                )  # fmt: skip
                context.log(f"{architecture.id}: {data.metric} {found[data.metric]:.4f}, loss {found['loss']:.4f}")
            except Infeasible as beyond:
                found = beyond.metrics
            except Stopped:
                _save(checkpoints, results)
                context.log(f"told to stop after {len(results)} of {len(architectures)} architectures")
                raise Interrupted from None
            results.append({name: rounded(value) for name, value in found.items()})
    return Message(results=tuple(results))


def _network(context: Context) -> SpaceNetwork:
    weights, description = read_weights(context.work)
    if description.space != context.space.hash() or description.signature != context.data.signature:
        raise UserError(
            f"spec.weights must be of the space {context.space.hash()} and {context.data.signature} as the data "
            f"have them, but are of {description.space} and {description.signature}"
        )
    network = shared_network(context)
    try:
        load_network(network, weights)
    except ValueError as error:
        raise UserError(f"spec.weights: {error}") from None
    return network


def _save(checkpoints: Checkpoints, results: list[dict[str, float]]) -> None:
    checkpoints.save(({"count": torch.tensor(len(results))}, {DONE: list(results)}))


def _resume(checkpoints: Checkpoints, most: int) -> list[dict[str, float]]:
    """The results of the architectures that were evaluated before an interruption."""
    if (saved := checkpoints.load()) is None:
        return []
    done: Any = saved[1].get(DONE)
    try:
        found = [{str(name): float(value) for name, value in metrics.items()} for metrics in done]
        if len(found) > most:
            raise ValueError(f"it has {len(found)} results for {most} architectures")
    except (TypeError, ValueError, AttributeError) as error:
        checkpoints.refuse(str(error))
        return []
    return found
