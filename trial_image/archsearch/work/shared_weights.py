"""SharedWeights: train a supernet one path at a time, and keep its weights for the trials that evaluate with them."""

from __future__ import annotations

from typing import Final

import numpy as np
import torch

from archsearch.api.task import Training
from archsearch.api.work import Message
from archsearch.evaluation import ShouldStop, Trainer, derive
from archsearch.evaluation.shared import evaluate_shared
from archsearch.networks import SpaceNetwork, supernet
from archsearch.supernets.one_path import OnePath
from archsearch.work.artifacts import write_weights
from archsearch.work.context import Context
from archsearch.work.errors import UserError
from archsearch.work.loop import train

WATCHED: Final = 4
"""Random architectures that are evaluated after each epoch to see how the weights come on."""
CALIBRATION: Final = 512
"""Training examples that their statistics are taken over."""


def run(context: Context) -> Message:
    """Train the supernet on the weights and architecture examples.

    Metrics: the task's, and loss, as means over some random architectures with these weights, on the selection
    examples. Artifact: the weights.
    """
    settings = context.work.evaluation.shared_weights if context.work.evaluation else None
    if settings is None:
        raise UserError("evaluation.sharedWeights must be set for SharedWeights")
    data, seed = context.data, context.work.spec.seed
    recipe = context.work.task.training.model_copy(
        update={name: getattr(settings, name) for name in Training.model_fields if hasattr(settings, name)}
    )
    rng = np.random.default_rng(seed)
    watched = [context.space.sample(rng) for _ in range(WATCHED)]
    calibration, selection = data.training.first(CALIBRATION), data.selection.to(context.device)

    def make() -> Trainer:
        network = shared_network(context)
        passes = OnePath(
            context.space, network, data, settings.sampling, random_paths=settings.random_paths,
            distillation=settings.distillation, seed=seed,
        )  # fmt: skip
        return Trainer(network, data, recipe, epochs=context.epochs, seed=seed, passes=passes)

    def watch(training: Trainer, should_stop: ShouldStop) -> dict[str, float]:
        network = training.network
        assert isinstance(network, SpaceNetwork)  # noqa: S101 - `make` has built it
        # Recalibration changes the statistics that the supernet has: they are not used, and are put back all the same,
        # so that a resumed training is equal to one that was never interrupted.
        kept = {name: value.clone() for name, value in network.named_buffers()}
        try:
            found = [
                evaluate_shared(network, a, data, calibration=calibration, selection=selection, should_stop=should_stop)
                for a in watched
            ]
        finally:
            for name, value in network.named_buffers():
                value.copy_(kept[name])
        return {name: sum(each[name] for each in found) / len(found) for name in found[0]}

    training, curve = train(context, make, watch)
    return Message(
        metrics=dict(curve[-1]),
        artifacts=(write_weights(context, training.network, {}),),
        curve=context.curve(curve),
    )


def shared_network(context: Context) -> SpaceNetwork:
    """The supernet on the device, with weights that follow from the trial's seed."""
    torch.manual_seed(derive(context.work.spec.seed))
    try:
        built = supernet(context.space, signature=context.data.signature)
    except ValueError as error:
        raise UserError(f"space: {error}") from None
    return built.to(context.device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]
