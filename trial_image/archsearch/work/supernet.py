"""Supernet: one whole differentiable search. Its result is an architecture."""

from __future__ import annotations

import torch
from torch import Tensor

from archsearch.api.work import Message
from archsearch.evaluation import ShouldStop, derive, evaluate, recalibrate
from archsearch.networks import supernet
from archsearch.spaces import Architecture
from archsearch.supernets import Bilevel
from archsearch.supernets import derive as derive_architecture
from archsearch.tasks import augment
from archsearch.work.context import Context, cost_text
from archsearch.work.errors import UserError
from archsearch.work.loop import train


def run(context: Context) -> Message:
    """Train the supernet on the weights and architecture images, then read the architecture off its mixing weights.

    Metrics: accuracy and loss of the derived architecture, one-shot: with the weights that it inherits from the
    supernet, its BatchNorm statistics taken anew over training images, on the selection images. They say which restart
    did better; they are not what the architecture reaches when it is trained. parameters and flops: of its final
    network. Whether these keep the spec's limits is left to who reads the result: the architecture is known only now.
    """
    settings = context.work.algorithm.differentiable
    if settings is None:
        raise UserError(f"algorithm must be differentiable for Supernet, but got {context.work.algorithm.member[0]}")
    data, seed, recipe = context.data, context.work.spec.seed, context.work.task.member[1].training
    selection, weights = data.selection.to(context.device), data.weights.to(context.device)

    def prepare(images: Tensor, generator: torch.Generator) -> Tensor:
        return data.normalise(augment(images, recipe.augmentation, generator))

    def make() -> Bilevel:
        torch.manual_seed(derive(seed))
        network = supernet(context.space, shape=data.shape, classes=data.classes).to(context.device)
        return Bilevel(
            context.space, network, data.weights, data.architecture, settings, seed=seed, prepare=prepare
        )  # fmt: skip

    def one_shot(training: Bilevel, should_stop: ShouldStop) -> dict[str, float]:
        inherited = context.network(_derived(context, training), "search", affine=False)
        shared = training.network.state_dict()
        inherited.load_state_dict({name: shared[name] for name in inherited.state_dict()})
        recalibrate(inherited, data, weights)
        return evaluate(inherited, data, selection, should_stop)

    training, curve = train(context, make, one_shot)
    architecture = _derived(context, training)
    context.log(f"architecture {architecture.id}: {architecture.json()}")
    cost = context.cost(architecture)
    context.log(f"final network: {cost_text(cost)}")
    return Message(metrics=dict(curve[-1]) | cost, architecture=dict(architecture.values), curve=context.curve(curve))


def _derived(context: Context, training: Bilevel) -> Architecture:
    with torch.no_grad():
        return derive_architecture(context.space, training.mix())
