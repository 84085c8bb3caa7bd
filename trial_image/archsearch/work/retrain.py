"""Retrain: the final network from scratch, from a seed of its own: the number that may be trusted."""

from __future__ import annotations

from archsearch.api.status import Artifact
from archsearch.api.work import Message
from archsearch.evaluation import Trainer, evaluate
from archsearch.work.artifacts import write_weights
from archsearch.work.context import Context
from archsearch.work.loop import train


def run(context: Context) -> Message:
    """Train the architecture's final network on the weights and architecture images.

    Metrics: accuracy and loss on the selection images, which choose; testAccuracy and testLoss on the test images,
    which only report; parameters and flops. Artifact: the weights, where there is a volume for them.
    """
    architecture, data = context.architecture, context.data
    cost = context.checked_cost(architecture)
    recipe = context.work.task.member[1].training

    def make() -> Trainer:
        network = context.network(architecture, "final")
        return Trainer(network, data, recipe, epochs=context.epochs, seed=context.work.spec.seed)

    selection = data.selection.to(context.device)
    training, curve = train(context, make, lambda training, stop: evaluate(training.network, data, selection, stop))
    test = evaluate(training.network, data, data.test)
    context.log(f"test: accuracy {test['accuracy']:.4f}, loss {test['loss']:.4f}")
    return Message(
        metrics=dict(curve[-1]) | {"testAccuracy": test["accuracy"], "testLoss": test["loss"]} | cost,
        architecture=dict(architecture.values),
        artifacts=_weights(context, training),
        curve=context.curve(curve),
    )


def _weights(context: Context, training: Trainer) -> tuple[Artifact, ...]:
    if context.work.paths.artifacts is None:
        context.log("the weights are not kept: the search has no artifacts volume")
        return ()
    return (write_weights(context, training.network, dict(context.architecture.values)),)
