"""Train: one architecture of a search, trained for a few epochs and compared on the selection examples."""

from __future__ import annotations

from archsearch.api.work import Message
from archsearch.evaluation import Trainer, evaluate
from archsearch.work.context import Context
from archsearch.work.loop import train
from archsearch.work.score import best_of_pool


def run(context: Context) -> Message:
    """Train the architecture's search network on the weights and architecture examples.

    Metrics: the task's and loss on the selection examples after the last epoch; parameters and flops of the final
    network.
    """
    (architecture, cost), data = best_of_pool(context), context.data

    def make() -> Trainer:
        return context.training(architecture, "search")

    selection = data.selection.to(context.device)
    _, curve = train(context, make, lambda training, stop: evaluate(training.network, data, selection, stop))
    return Message(metrics=dict(curve[-1]) | cost, architecture=dict(architecture.values), curve=context.curve(curve))
