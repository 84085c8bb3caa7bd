"""Bilevel training of a supernet (Liu et al. 2019, algorithm 1).

In every step first the architecture weights move, on a batch of one half of the training images, then the network
weights, on a batch of the other half.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from archsearch.api.differentiable import Differentiable
from archsearch.evaluation.resumable import JSON, EpochReport, ShouldStop, State
from archsearch.evaluation.seeds import generator
from archsearch.evaluation.trainer import Diverged, load_network
from archsearch.networks import SpaceNetwork
from archsearch.spaces import Space
from archsearch.supernets.gradients import batch_statistics, first_order, second_order
from archsearch.supernets.mixing import Mixing, Moment, Regulariser, entropy, softmax
from archsearch.supernets.state import load_optimiser, optimiser_tensors, take
from archsearch.tasks import Split

Prepare = Callable[[Tensor, torch.Generator], Tensor]
"""The network's input from a batch of a split's images: normalised, and changed at random with the generator."""

ALPHA, WEIGHTS, ARCHITECTURE, MIXING = 0, 1, 2, 3
"""What the random numbers of a place are for."""
ALPHA_DEVIATION: Final = 1e-3
"""Deviation of the architecture weights at the start (published code)."""
BETAS: Final = (0.5, 0.999)
"""Of Adam on the architecture weights (Liu et al. 2019, appendix A.1.1)."""


@dataclass(frozen=True)
class Batch:
    """Inputs (B, C, H, W) and labels (B,)."""

    images: Tensor
    labels: Tensor


@dataclass(frozen=True)
class SupernetReport(EpochReport):
    """loss: of the network weights' batches. accuracy: of the mixture on the architecture half, as its batches passed
    by; it says nothing about a derived architecture. entropy: of the mixing weights, in nats."""

    entropy: float


class Bilevel:
    """Trains a supernet on two halves of the training images, and can be interrupted between any two steps.

    network: called with images and mixing weights, on its device already. It is laid out channels-last.
    weights, architecture: the halves that train the network weights and the architecture weights. An epoch is one
    pass over `weights` in full batches; what a batch would leave over changes from epoch to epoch.
    Running statistics of batch normalisations follow only the step of the network weights, in both orders.
    All that is random follows from the seed and the place (epoch and step), so that a resumed search is bit-equal to
    an undisturbed one on the same machine with the same number of threads.
    """

    def __init__(
        self,
        space: Space,
        network: SpaceNetwork,
        weights: Split,
        architecture: Split,
        settings: Differentiable,
        *,
        seed: int,
        prepare: Prepare,
        mixing: Mixing = softmax,
        regularisers: Sequence[Regulariser] = (),
    ) -> None:
        self.network = network.to(memory_format=torch.channels_last)
        self.epochs = settings.epochs
        self.epoch = 0
        self.step = 0  # of the epoch
        self._space, self._settings, self._seed = space, settings, seed
        self._prepare, self._mixing, self._regularisers = prepare, mixing, tuple(regularisers)
        self._named = dict(network.named_parameters())
        like = next(network.parameters())
        self._device = like.device
        self._weights, self._architecture = weights.to(self._device), architecture.to(self._device)
        self._batch = min(settings.batch_size, len(weights), len(architecture))
        self.steps = len(weights) // self._batch  # of an epoch
        noise = generator(seed, ALPHA)
        self.alphas = {
            choice.name: (ALPHA_DEVIATION * torch.randn(len(choice.alternatives), generator=noise))
            .to(like)
            .requires_grad_()
            for choice in space.choices
            if not choice.is_subset
        }
        self._weight_optimiser = torch.optim.SGD(
            self._named.values(),
            lr=float(settings.learning_rate),
            momentum=float(settings.momentum),
            weight_decay=float(settings.weight_decay),
        )
        self._architecture_optimiser = torch.optim.Adam(
            self.alphas.values(),
            lr=float(settings.architecture_learning_rate),
            betas=BETAS,
            weight_decay=float(settings.architecture_weight_decay),
        )
        self._start_epoch()

    def learning_rate(self, epoch: int) -> float:
        """The learning rate of the network weights in an epoch: a cosine from the first to the last value."""
        first, last = float(self._settings.learning_rate), float(self._settings.learning_rate_min)
        return last + (first - last) * (1 + math.cos(math.pi * epoch / self.epochs)) / 2

    def mix(self) -> dict[str, Tensor]:
        """The mixing weights of every choice, as the next pass would use them; differentiable."""
        moment = self._moment()
        return {name: self._mixing(alpha, moment) for name, alpha in self.alphas.items()}

    def run_epoch(self, should_stop: ShouldStop) -> SupernetReport | None:
        """Train to the end of the epoch; None where should_stop said yes before a step. Raises Diverged."""
        halves = {WEIGHTS: self._weights, ARCHITECTURE: self._architecture}
        orders = {
            half: torch.randperm(len(split), generator=generator(self._seed, self.epoch, half))
            for half, split in halves.items()
        }
        while self.step < self.steps:
            if should_stop():
                return None
            training, architecture = (self._take(split, orders[half], half) for half, split in halves.items())
            self.step_architecture(training, architecture)
            self.step_weights(training)
            self.step += 1
        self.epoch += 1
        report = SupernetReport(
            epoch=self.epoch,
            loss=float(self._loss) / self.steps,
            accuracy=int(self._right) / (self.steps * self._batch),
            entropy=entropy(self.mix()),
        )
        self._start_epoch()
        if not math.isfinite(report.loss):
            raise Diverged(
                f"the search diverged: the loss of epoch {self.epoch} is {report.loss}; lower "
                f"algorithm.differentiable.learningRate ({self._settings.learning_rate})"
            )
        return report

    def step_architecture(self, training: Batch, architecture: Batch) -> None:
        """Move the architecture weights. The network weights and all its buffers stay as they are."""

        def architecture_loss() -> Tensor:
            logits = self.network(architecture.images, self.mix())
            self._right += (logits.detach().argmax(1) == architecture.labels).sum()
            loss = functional.cross_entropy(logits, architecture.labels)
            for regularise in self._regularisers:
                loss = loss + regularise(self.alphas, self._moment())
            return loss

        alphas = list(self.alphas.values())
        self._set_learning_rate()
        self.network.train()
        with batch_statistics(self.network):
            if self._settings.order == "First":
                gradients = first_order(architecture_loss, alphas, list(self._named.values()))
            else:
                gradients = second_order(
                    lambda: self._training_loss(training), architecture_loss, alphas, self._weight_optimiser
                )
        for alpha, gradient in zip(alphas, gradients, strict=True):
            alpha.grad = gradient
        self._architecture_optimiser.step()
        self._architecture_optimiser.zero_grad()

    def step_weights(self, training: Batch) -> None:
        """Move the network weights and its running statistics. The architecture weights stay as they are."""
        self._set_learning_rate()
        self.network.train()
        with torch.no_grad():
            mix = self.mix()
        loss = functional.cross_entropy(self.network(training.images, mix), training.labels)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._named.values(), float(self._settings.gradient_clip))
        self._weight_optimiser.step()
        self._weight_optimiser.zero_grad()
        self._loss += loss.detach()

    def state(self) -> State:
        """The place, the weights and buffers, the architecture weights, and what both optimisers remember."""
        tensors = {f"network/{name}": value for name, value in self.network.state_dict().items()}
        tensors |= {f"alpha/{name}": alpha.detach() for name, alpha in self.alphas.items()}
        tensors |= optimiser_tensors("sgd", self._weight_optimiser, self._named)
        tensors |= optimiser_tensors("adam", self._architecture_optimiser, self.alphas)
        return tensors | {"loss": self._loss, "right": self._right}, self._place() | {
            "epoch": self.epoch,
            "step": self.step,
        }

    def load(self, state: State) -> None:
        """Go on from a state of the same search. ValueError names what does not fit."""
        tensors, place = state
        for name, expected in self._place().items():
            if place.get(name) != expected:
                raise ValueError(f"{name} must be {expected} as in this search, but got {place.get(name)}")
        epoch, step = place.get("epoch"), place.get("step")
        if not isinstance(epoch, int) or not isinstance(step, int) or not 0 <= step < self.steps:
            raise ValueError(f"step must be below the {self.steps} of an epoch, but got {step} of epoch {epoch}")
        network = {name.removeprefix("network/"): v for name, v in tensors.items() if name.startswith("network/")}
        load_network(self.network, network)
        with torch.no_grad():
            for name, alpha in self.alphas.items():
                alpha.copy_(take(tensors, f"alpha/{name}", alpha.shape))
        self._weight_optimiser.state.clear()
        self._architecture_optimiser.state.clear()
        if epoch or step:
            momentum = ("momentum_buffer",) if float(self._settings.momentum) else ()
            load_optimiser("sgd", self._weight_optimiser, self._named, momentum, tensors)
            averages = ("step", "exp_avg", "exp_avg_sq")
            load_optimiser("adam", self._architecture_optimiser, self.alphas, averages, tensors)
        self.epoch, self.step = epoch, step
        self._loss = take(tensors, "loss", ()).to(self._device, copy=True)
        self._right = take(tensors, "right", ()).to(self._device, copy=True)

    def _place(self) -> dict[str, JSON]:
        """What a state must agree in."""
        order = self._settings.order
        return {"space": self._space.hash(), "order": order, "epochs": self.epochs, "seed": self._seed}

    def _moment(self) -> Moment:
        return Moment(self.epoch, self.epochs, generator(self._seed, self.epoch, self.step, MIXING))

    def _start_epoch(self) -> None:
        self.step = 0
        self._loss = torch.zeros((), dtype=torch.float64, device=self._device)
        self._right = torch.zeros((), dtype=torch.int64, device=self._device)

    def _set_learning_rate(self) -> None:
        for group in self._weight_optimiser.param_groups:
            group["lr"] = self.learning_rate(self.epoch)

    def _take(self, split: Split, order: Tensor, half: int) -> Batch:
        """This step's batch of a half; a half that is too small for the epoch's steps starts again."""
        index = order[(self.step * self._batch + torch.arange(self._batch)) % len(split)].to(self._device)
        images = self._prepare(split.images[index], generator(self._seed, self.epoch, self.step, half))
        return Batch(images.contiguous(memory_format=torch.channels_last), split.labels[index])

    def _training_loss(self, training: Batch) -> Tensor:
        return functional.cross_entropy(self.network(training.images, self.mix()), training.labels)
