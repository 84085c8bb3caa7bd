"""Retrain: the final network from scratch, from a seed of its own: the number that may be trusted."""

from __future__ import annotations

from archsearch.api.metrics import test_key
from archsearch.api.status import Artifact
from archsearch.api.work import Message
from archsearch.evaluation import Trainer, evaluate
from archsearch.work.artifacts import write_weights
from archsearch.work.context import Context
from archsearch.work.loop import train


def run(context: Context) -> Message:
    """Train the architecture's final network on the weights and architecture examples.

    Metrics: the task's and loss on the selection examples, which choose; the same on the test examples, such as
    testAccuracy, which only report; parameters and flops. Artifact: the weights, where there is a volume for them.
    """
    architecture, data = context.architecture, context.data
    cost = context.checked_cost(architecture)

    def make() -> Trainer:
        return context.training(architecture, "final")

    selection = data.selection.to(context.device)
    training, curve = train(context, make, lambda training, stop: evaluate(training.network, data, selection, stop))
    test = evaluate(training.network, data, data.test)
    context.log(f"test: {', '.join(f'{name} {value:.4f}' for name, value in test.items())}")
    return Message(
        metrics=dict(curve[-1]) | {test_key(name): value for name, value in test.items()} | cost,
        architecture=dict(architecture.values),
        artifacts=_weights(context, training),
        curve=context.curve(curve),
    )


def _weights(context: Context, training: Trainer) -> tuple[Artifact, ...]:
    if context.work.paths.artifacts is None:
        context.log("the weights are not kept: the search has no artifacts volume")
        return ()
    return (write_weights(context, training.network, dict(context.architecture.values)),)
