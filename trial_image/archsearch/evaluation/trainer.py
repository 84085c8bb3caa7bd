"""Training of one network from scratch: SGD or AdamW, cosine learning rate, gradient clipping."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor, nn

from archsearch.api.task import Training
from archsearch.evaluation.resumable import JSON, EpochReport, ShouldStop, State
from archsearch.evaluation.seeds import derive, generator
from archsearch.tasks import Split, TaskData

ORDER, CHANGES, NETWORK = 0, 1, 2
"""What the random numbers of a place are for."""
BUFFERS: Final = {"SGD": ("momentum_buffer",), "AdamW": ("step", "exp_avg", "exp_avg_sq")}
"""What an optimiser remembers of each parameter."""
ADAM_SECOND: Final = 0.98
"""The decay of AdamW's second moment, as for Transformers (Vaswani et al. 2017, section 5.3)."""


Place = tuple[int, int]
"""Epoch and step."""
Passes = Callable[[Split, Place], tuple[Tensor, Tensor]]
"""What a step computes from a prepared batch and its place: it adds to the weights' gradients, and returns the loss and
the outputs, both detached."""


class Diverged(RuntimeError):
    """The loss is no longer a number. str() says when, and what can be done."""


class Trainer:
    """Trains a network on the data's weights and architecture parts, and can be interrupted between any two steps.

    The learning rate falls from `training.learning_rate` to zero by a cosine over all steps. Batches that would be
    incomplete are left out; which examples these are changes from epoch to epoch. All that is random follows from the
    seed and the place (epoch and step), so that a resumed training is bit-equal to an undisturbed one on the same
    machine with the same number of threads. The network must be on its device already; the data follow it.
    passes: what a step computes; one pass of the network where it is left out.
    """

    def __init__(
        self,
        network: nn.Module,
        data: TaskData,
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
        self._loss, self._tally = torch.zeros(()), torch.zeros(())  # of the epoch; `_start_epoch` sets them
        self._seed, self._recipe = seed, training
        self._device = next(network.parameters()).device
        self._data, self._split = data, data.training.to(self._device)
        self._batch = min(training.batch_size, len(self._split))
        self.steps = len(self._split) // self._batch  # of an epoch
        self._parameters = {name: value for name, value in network.named_parameters() if value.requires_grad}
        self._optimiser = _optimiser(list(self._parameters.values()), training)
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
            values=self._data.values(self._tally),
        )
        self._start_epoch()
        if not math.isfinite(report.loss):
            raise Diverged(
                f"training diverged: the loss of epoch {self.epoch} is {report.loss}; lower "
                f"task.{self._data.name}.training.learningRate ({self._recipe.learning_rate})"
            )
        return report

    def state(self) -> State:
        """The place, the weights and buffers, and what the optimiser remembers."""
        tensors = {f"network/{name}": value for name, value in self.network.state_dict().items()}
        for name, parameter in self._parameters.items():
            tensors |= {f"{kind}/{name}": buffer for kind, buffer in self._optimiser.state[parameter].items()}
        tensors["loss"], tensors["tally"] = self._loss, self._tally
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
            for kind in BUFFERS[self._recipe.optimizer]:
                if (buffer := tensors.get(f"{kind}/{name}")) is None:
                    continue
                # Laid out as the parameter, because the order of summation follows the layout.
                own = parameter.new_empty(()) if kind == "step" else torch.empty_like(parameter).detach()
                self._optimiser.state[parameter][kind] = own.detach().copy_(buffer)
        if (tally := tensors["tally"]).shape != self._tally.shape:
            raise ValueError(f"tally must have {len(self._tally)} counts, but has the shape {tuple(tally.shape)}")
        self._loss, self._tally = tensors["loss"].to(self._device), tally.to(self._device)
        self.epoch, self.step = epoch, step

    def _start_epoch(self) -> None:
        self.step = 0
        self._loss = torch.zeros((), dtype=torch.float64, device=self._device)
        self._tally = torch.zeros(self._data.counts, dtype=torch.int64, device=self._device)

    def _train(self, index: Tensor) -> None:
        """One step on the examples at `index`."""
        torch.manual_seed(derive(self._seed, self.epoch, self.step, NETWORK))  # for whatever is random in the network
        for group in self._optimiser.param_groups:
            group["lr"] = self.learning_rate(self.epoch * self.steps + self.step)
        changes = generator(self._seed, self.epoch, self.step, CHANGES)
        batch = self._data.prepare(self._split.at(index), changes)
        self._optimiser.zero_grad()
        loss, outputs = self._passes(batch, (self.epoch, self.step))
        nn.utils.clip_grad_norm_(self._parameters.values(), float(self._recipe.gradient_clip))
        self._optimiser.step()
        self._loss += loss * len(index)
        self._tally = self._tally + self._data.tally(outputs, batch.targets)

    def _one_pass(self, batch: Split, _place: Place) -> tuple[Tensor, Tensor]:
        outputs = self.network(batch.inputs)
        loss = self._data.loss(outputs, batch.targets)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach(), outputs.detach()


def _optimiser(parameters: list[nn.Parameter], training: Training) -> torch.optim.Optimizer:
    rate, decay, momentum = (float(x) for x in (training.learning_rate, training.weight_decay, training.momentum))
    if training.optimizer == "AdamW":
        return torch.optim.AdamW(parameters, lr=rate, betas=(momentum, ADAM_SECOND), weight_decay=decay)
    return torch.optim.SGD(parameters, lr=rate, momentum=momentum, weight_decay=decay)


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
