"""Training of one network from scratch: SGD, cosine learning rate, gradient clipping."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from archsearch.api.task import Training
from archsearch.evaluation.resumable import JSON, EpochReport, ShouldStop, State
from archsearch.evaluation.seeds import derive, generator
from archsearch.tasks import ImageData, augment

ORDER, CHANGES, NETWORK = 0, 1, 2
"""What the random numbers of a place are for."""


Place = tuple[int, int]
"""Epoch and step."""
Passes = Callable[[Tensor, Tensor, Place], tuple[Tensor, Tensor]]
"""What a step computes from images (B, C, H, W), labels (B,) and its place: it adds to the weights' gradients, and
returns the loss and the logits (B, classes), both detached."""


class Diverged(RuntimeError):
    """The loss is no longer a number. str() says when, and what can be done."""


class Trainer:
    """Trains a network on the data's weights and architecture parts, and can be interrupted between any two steps.

    The learning rate falls from `training.learning_rate` to zero by a cosine over all steps. Batches that would be
    incomplete are left out; which images these are changes from epoch to epoch. All that is random follows from the
    seed and the place (epoch and step), so that a resumed training is bit-equal to an undisturbed one on the same
    machine with the same number of threads. The network must be on its device already; the data follow it.
    passes: what a step computes; one pass of the network where it is left out.
    """

    def __init__(
        self,
        network: nn.Module,
        data: ImageData,
        training: Training,
        *,
        epochs: int,
        seed: int,
        passes: Passes | None = None,
    ) -> None:
        self._passes = passes or self._one_pass
        self.network = network.to(memory_format=torch.channels_last)
        self.epochs = epochs
        self.epoch = 0
        self.step = 0  # of the epoch
        self._seed, self._recipe = seed, training
        self._device = next(network.parameters()).device
        self._data, self._split = data, data.training.to(self._device)
        self._batch = min(training.batch_size, len(self._split))
        self.steps = len(self._split) // self._batch  # of an epoch
        self._parameters = {name: value for name, value in network.named_parameters() if value.requires_grad}
        self._optimiser = torch.optim.SGD(
            self._parameters.values(),
            lr=float(training.learning_rate),
            momentum=float(training.momentum),
            weight_decay=float(training.weight_decay),
        )
        self._start_epoch()

    def learning_rate(self, step: int) -> float:
        """The learning rate of a step, counted from the start of training."""
        return float(self._recipe.learning_rate) * (1 + math.cos(math.pi * step / (self.epochs * self.steps))) / 2

    def run_epoch(self, should_stop: ShouldStop) -> EpochReport | None:
        """Train to the end of the epoch; None where should_stop said yes before a step. Raises Diverged."""
        self.network.train()
        order = torch.randperm(len(self._split), generator=generator(self._seed, self.epoch, ORDER)).to(self._device)
        while self.step < self.steps:
            if should_stop():
                return None
            self._train(order[self.step * self._batch : (self.step + 1) * self._batch])
            self.step += 1
        self.epoch += 1
        report = EpochReport(
            epoch=self.epoch,
            loss=float(self._loss) / (self.steps * self._batch),
            accuracy=int(self._right) / (self.steps * self._batch),
        )
        self._start_epoch()
        if not math.isfinite(report.loss):
            raise Diverged(
                f"training diverged: the loss of epoch {self.epoch} is {report.loss}; lower "
                f"task.imageClassification.training.learningRate ({self._recipe.learning_rate})"
            )
        return report

    def state(self) -> State:
        """The place, the weights and buffers, and the momentum."""
        tensors = {f"network/{name}": value for name, value in self.network.state_dict().items()}
        for name, parameter in self._parameters.items():
            if (buffer := self._optimiser.state[parameter].get("momentum_buffer")) is not None:
                tensors[f"momentum/{name}"] = buffer
        tensors["loss"], tensors["right"] = self._loss, self._right
        place: dict[str, JSON] = {"epoch": self.epoch, "step": self.step, "epochs": self.epochs, "seed": self._seed}
        return tensors, place

    def load(self, state: State) -> None:
        """Go on from a state of the same training. ValueError names what does not fit."""
        tensors, place = state
        for name, expected in (("epochs", self.epochs), ("seed", self._seed)):
            if place.get(name) != expected:
                raise ValueError(f"{name} must be {expected} as in this training, but got {place.get(name)}")
        epoch, step = place.get("epoch"), place.get("step")
        if not isinstance(epoch, int) or not isinstance(step, int) or not 0 <= epoch <= self.epochs:
            raise ValueError(f"epoch and step must be a place in {self.epochs} epochs, but got {epoch} and {step}")
        if not 0 <= step < self.steps:
            raise ValueError(f"step must be below the {self.steps} of an epoch, but got {step} of epoch {epoch}")
        load_network(self.network, {k.removeprefix("network/"): v for k, v in tensors.items() if k[:8] == "network/"})
        self._optimiser.state.clear()
        for name, parameter in self._parameters.items():
            if (buffer := tensors.get(f"momentum/{name}")) is not None:
                # Laid out as the parameter, because the order of summation follows the layout.
                copy = torch.empty_like(parameter, memory_format=torch.preserve_format).detach()
                self._optimiser.state[parameter]["momentum_buffer"] = copy.copy_(buffer)
        self._loss, self._right = tensors["loss"].to(self._device), tensors["right"].to(self._device)
        self.epoch, self.step = epoch, step

    def _start_epoch(self) -> None:
        self.step = 0
        self._loss = torch.zeros((), dtype=torch.float64, device=self._device)
        self._right = torch.zeros((), dtype=torch.int64, device=self._device)

    def _train(self, index: Tensor) -> None:
        """One step on the images at `index`."""
        torch.manual_seed(derive(self._seed, self.epoch, self.step, NETWORK))  # for whatever is random in the network
        for group in self._optimiser.param_groups:
            group["lr"] = self.learning_rate(self.epoch * self.steps + self.step)
        changes = generator(self._seed, self.epoch, self.step, CHANGES)
        images = self._data.normalise(augment(self._split.images[index], self._recipe.augmentation, changes))
        labels = self._split.labels[index]
        self._optimiser.zero_grad()
        images = images.contiguous(memory_format=torch.channels_last)
        loss, logits = self._passes(images, labels, (self.epoch, self.step))
        nn.utils.clip_grad_norm_(self._parameters.values(), float(self._recipe.gradient_clip))
        self._optimiser.step()
        self._loss += loss * len(index)
        self._right += (logits.argmax(1) == labels).sum()

    def _one_pass(self, images: Tensor, labels: Tensor, _place: Place) -> tuple[Tensor, Tensor]:
        logits = self.network(images)
        loss = functional.cross_entropy(logits, labels)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach(), logits.detach()


def load_network(network: nn.Module, weights: dict[str, Tensor]) -> None:
    """Copy weights into a network. ValueError names the first one that is missing, unknown or of another shape."""
    own = network.state_dict()
    for name, value in own.items():
        if name not in weights:
            raise ValueError(f"the weights must hold {name}, but do not")
        if weights[name].shape != value.shape or weights[name].dtype != value.dtype:
            raise ValueError(
                f"{name} must be {value.dtype} of shape {tuple(value.shape)}, but got {weights[name].dtype} of "
                f"{tuple(weights[name].shape)}"
            )
    if unknown := sorted(weights.keys() - own.keys()):
        raise ValueError(f"the network has no {unknown[0]}: the weights are of another architecture")
    network.load_state_dict(weights)
