"""An adversarial step on embeddings: training on examples that were moved to where the loss is larger.

VILLA (Gan et al. 2020, section 3) for vision-and-language models: words' embeddings and image features are moved, one
of the two at a time, within a ball around them, and the network learns from both what it was given and what was moved.
Three things differ. The move starts at nothing instead of a random place, so that nothing random is added; lengths are
shares of the norm of what is moved, so that they mean the same for words and features of any size; and there is no
term that compares the answers for both (equation 5).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor, nn

from archsearch.api.questions import Adversarial, QuestionTraining
from archsearch.api.task import Training
from archsearch.evaluation.trainer import Passes, Place
from archsearch.networks.fusion import Embedded, FusedNetwork
from archsearch.tasks import Split, TaskData

MOVED: Final = ("words", "features")
"""What is moved, by its name in `Embedded`."""
TINY: Final = 1e-12
"""Norm of a gradient that says nothing."""


def passes_of(network: nn.Module, data: TaskData, training: Training) -> Passes | None:
    """What a step of training from scratch computes; None where it is one pass of the network."""
    if not isinstance(training, QuestionTraining) or training.adversarial is None:
        return None
    if not isinstance(network, FusedNetwork):
        found = type(network).__name__
        raise TypeError(f"a network must have embeddings for training.adversarial, but {found} has not")
    return AdversarialPasses(network, data, training.adversarial)


@dataclass(frozen=True)
class AdversarialPasses:
    """The passes of one step of a `Trainer`: on the batch as it is, and on the batch with each embedding moved.

    Their losses count one half together each. Running statistics are those of the batch as it is.
    """

    network: FusedNetwork
    data: TaskData
    settings: Adversarial

    def __call__(self, batch: Split, _place: Place) -> tuple[Tensor, Tensor]:
        """Adds the gradients of all passes; returns the loss and the outputs of the batch as it is."""
        embedded = self.network.embed(batch.inputs)
        outputs = self.network.answer(embedded)
        loss = self.data.loss(outputs, batch.targets)
        with kept_statistics(self.network):
            moved = [
                self._loss(replace(embedded, **{name: getattr(embedded, name) + move}), batch.targets)
                for name in MOVED
                for move in [self.move(embedded, name, batch.targets)]
            ]
            (0.5 * loss + 0.5 * torch.stack(moved).mean()).backward()  # type: ignore[no-untyped-call]
        return loss.detach(), outputs.detach()

    def move(self, embedded: Embedded, name: str, targets: Tensor) -> Tensor:
        """How an embedding is to be moved to raise the loss, by the network's weights as they are."""
        here = Embedded(embedded.features.detach(), embedded.words.detach(), embedded.mask)
        start: Tensor = getattr(here, name)
        norm = _norm(start)
        length, radius = float(self.settings.step_size) * norm, float(self.settings.radius) * norm
        moved = torch.zeros_like(start)
        for _ in range(self.settings.steps):
            at = (start + moved).requires_grad_()
            (gradient,) = torch.autograd.grad(self._loss(replace(here, **{name: at}), targets), at)
            moved = moved + length * gradient / _norm(gradient).clamp(min=TINY)
            moved = moved * (radius / _norm(moved).clamp(min=TINY)).clamp(max=1)
        return moved

    def _loss(self, embedded: Embedded, targets: Tensor) -> Tensor:
        return self.data.loss(self.network.answer(embedded), targets)


@contextmanager
def kept_statistics(network: nn.Module) -> Iterator[None]:
    """Batch normalisations leave their running statistics as they are inside."""
    norms = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    momenta = [module.momentum for module in norms]
    for module in norms:
        module.momentum = 0.0
    try:
        yield
    finally:
        for module, momentum in zip(norms, momenta, strict=True):
            module.momentum = momentum


def _norm(x: Tensor) -> Tensor:
    """Of each example, (N, 1, ...)."""
    norm: Tensor = torch.linalg.vector_norm(x, dim=tuple(range(1, x.dim())), keepdim=True)
    return norm
