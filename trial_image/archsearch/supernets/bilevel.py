"""Bilevel training of a supernet (Liu et al. 2019, algorithm 1), for every differentiable method.

In every step first the architecture weights move, on a batch of one half of the training images, then the network
weights, on a batch of the other half. What distinguishes methods is in the parts that it is given.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from archsearch.api.base import ChoiceValue
from archsearch.evaluation.resumable import JSON, EpochReport, ShouldStop, State
from archsearch.evaluation.seeds import generator
from archsearch.evaluation.trainer import Diverged, load_network
from archsearch.networks import Mix, SpaceNetwork, Sparse
from archsearch.spaces import Architecture, Space
from archsearch.supernets.curvature import Monitor, largest_eigenvalue
from archsearch.supernets.derivation import Allowed, anything
from archsearch.supernets.gradients import batch_norms, batch_statistics, first_order, second_order
from archsearch.supernets.halves import Halves
from archsearch.supernets.mixing import Half, entropy
from archsearch.supernets.parts import Parts, parts_of
from archsearch.supernets.recipe import Recipe
from archsearch.supernets.relaxed import Relaxed
from archsearch.supernets.state import as_values, fill_optimiser, load_optimiser, optimiser_tensors, take
from archsearch.tasks import Split, TaskData

CURVATURE: Final = 7
"""What the random numbers of a place are for, beside those of the images and of the mix."""
BETA: Final = 0.999
"""The second beta of Adam on the architecture weights (Liu et al. 2019, appendix A.1.1)."""

FUSED: Final = ("cpu", "cuda")
"""Devices on which torch moves all weights in one call."""


@dataclass(frozen=True)
class SupernetReport(EpochReport):
    """loss and values: of the mixture on the network weights' batches, as they passed by; they say nothing about a
    derived architecture. entropy: of the mixing weights, in nats. eigenvalue: of the Hessian, where it is watched."""

    entropy: float
    eigenvalue: float | None = None


class Bilevel:
    """Trains a supernet on two halves of the training examples, and can be interrupted between any two steps.

    network: called with inputs and a mix, on its device already. It is laid out channels-last.
    epochs: of the search; fewer, once a search that watches its curvature has ended.
    decided: choices that are made, whatever their mixing weights.
    Running statistics of batch normalisations follow only the step of the network weights, in both orders.
    All that is random follows from the seed and the place (epoch and step), so that a resumed search is bit-equal to
    an undisturbed one on the same machine with the same number of threads.
    """

    def __init__(
        self,
        space: Space,
        network: SpaceNetwork,
        data: TaskData,
        recipe: Recipe,
        *,
        seed: int,
        parts: Parts | None = None,
    ) -> None:
        self.network = network.to(memory_format=torch.channels_last)
        self.recipe = recipe
        self.epochs = recipe.epochs
        self.epoch = 0
        self.step = 0  # of the epoch
        self._loss, self._tally = torch.zeros(()), torch.zeros(())  # of the epoch; `_start_epoch` sets them
        self._space, self._data, self._seed = space, data, seed
        self._relaxed = Relaxed(space, network, data, recipe, parts or parts_of(recipe), seed)
        self.alphas = self._relaxed.alphas
        self._named = self._relaxed.named
        self._norms = batch_norms(network)
        self._device = next(network.parameters()).device
        self._halves = Halves(data, recipe.batch_size, seed=seed, device=self._device)
        self.steps = self._halves.steps  # of an epoch
        self._weight_optimiser = torch.optim.SGD(
            self._named.values(),
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
            fused=self._device.type in FUSED,  # thousands of small tensors in one call
        )
        self._architecture_optimiser = torch.optim.Adam(
            self.alphas.values(),
            lr=recipe.architecture_learning_rate,
            betas=(recipe.architecture_momentum, BETA),
            weight_decay=recipe.architecture_weight_decay,
        )
        # A method may not have touched some weights yet when it is interrupted: every state has the same tensors.
        fill_optimiser(self._weight_optimiser, ("momentum_buffer",) if recipe.momentum else ())
        fill_optimiser(self._architecture_optimiser, ("step", "exp_avg", "exp_avg_sq"))
        self._monitor = Monitor(recipe.eigenvalue_stop) if recipe.eigenvalue_stop else None
        self._start_epoch()

    @property
    def decided(self) -> dict[str, ChoiceValue]:
        """Choices that are made, whatever their mixing weights."""
        return self._relaxed.decided

    def learning_rate(self, epoch: int) -> float:
        """The learning rate of the network weights in an epoch: a cosine from the first to the last value."""
        first, last = self.recipe.learning_rate, self.recipe.learning_rate_min
        return last + (first - last) * (1 + math.cos(math.pi * epoch / self.recipe.epochs)) / 2

    def mix(self, half: Half = "Architecture") -> Mix:
        """What the next pass for a half runs the network with; differentiable."""
        return self._relaxed.mix((self.epoch, self.step), half)

    def probabilities(self) -> dict[str, Tensor]:
        """How strong each alternative of every choice is, without noise; differentiable."""
        return self._relaxed.probabilities()

    def architecture(self) -> Architecture:
        """The architecture that the search stands for now."""
        chosen = self._monitor.chosen() if self._monitor else None
        return chosen or self._relaxed.architecture()

    def candidates(self, allowed: Allowed = anything) -> tuple[Architecture, ...]:
        """The architectures that the search offers at its end: one, or those that it draws."""
        chosen = self._monitor.chosen() if self._monitor else None
        return (chosen,) if chosen and allowed(chosen) else self._relaxed.candidates(allowed)

    def run_epoch(self, should_stop: ShouldStop) -> SupernetReport | None:
        """Train to the end of the epoch; None where should_stop said yes before a step. Raises Diverged."""
        while self.step < self.steps:
            if should_stop():
                return None
            training = self._halves.take("Weights", self.epoch, self.step)
            due = (self.epoch * self.steps + self.step) % self.recipe.architecture_every == 0
            if due and self.epoch >= self.recipe.warmup:
                self.step_architecture(training, self._halves.take("Architecture", self.epoch, self.step))
            self.step_weights(training)
            self.step += 1
        loss = float(self._loss) / self.steps
        if not math.isfinite(loss):
            raise Diverged(
                f"the search diverged: the loss of epoch {self.epoch + 1} is {loss}; lower "
                f"algorithm.differentiable.learningRate ({self.recipe.learning_rate:g})"
            )
        eigenvalue = self._watch()
        self.epoch += 1
        if self._monitor and self._monitor.chosen():
            self.epochs = self.epoch
        probabilities = self.probabilities()
        report = SupernetReport(
            epoch=self.epoch,
            loss=loss,
            values=self._data.values(self._tally),
            entropy=entropy({name: probabilities[name] for name in self._relaxed.operations}),
            eigenvalue=eigenvalue,
        )
        self._start_epoch()
        return report

    def step_architecture(self, training: Split, architecture: Split) -> None:
        """Move the architecture weights. The network weights and all its buffers stay as they are."""
        alphas, place = list(self.alphas.values()), (self.epoch, self.step)

        def architecture_loss() -> Tensor:
            return self._relaxed.architecture_loss(architecture, place)

        def training_loss() -> Tensor:
            return self._relaxed.task_loss(training, self.mix(), place)

        self._set_learning_rate()
        self._train()
        with batch_statistics(self._norms):
            if self.recipe.order == "First":
                gradients = first_order(architecture_loss, alphas, list(self._named.values()))
            else:
                gradients = second_order(training_loss, architecture_loss, alphas, self._weight_optimiser)
        for alpha, gradient in zip(alphas, gradients, strict=True):
            alpha.grad = gradient
        with self._settled():
            self._architecture_optimiser.step()
        self._architecture_optimiser.zero_grad()

    def step_weights(self, training: Split) -> None:
        """Move the network weights and its running statistics. The architecture weights stay as they are."""
        place = (self.epoch, self.step)
        self._set_learning_rate()
        with torch.no_grad():
            mix = self.mix("Weights")
        mix = self._relaxed.perturbed(training, mix, place)
        self._train()
        outputs = self._relaxed.outputs(training, mix, place)
        loss = self._data.loss(outputs, training.targets)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._named.values(), self.recipe.gradient_clip)
        self._weight_optimiser.step()
        self._weight_optimiser.zero_grad()
        self._loss += loss.detach()
        self._tally = self._tally + self._data.tally(outputs.detach(), training.targets)

    def state(self) -> State:
        """The place, the weights and buffers, the architecture weights, and what both optimisers remember."""
        tensors = {f"network/{name}": value for name, value in self.network.state_dict().items()}
        tensors |= {f"alpha/{name}": alpha.detach() for name, alpha in self.alphas.items()}
        tensors |= optimiser_tensors("sgd", self._weight_optimiser, self._named)
        tensors |= optimiser_tensors("adam", self._architecture_optimiser, self.alphas)
        tensors |= {"loss": self._loss, "tally": self._tally, "baseline": self._relaxed.baseline}
        place = self._place() | {"epoch": self.epoch, "step": self.step, "decided": dict(self.decided)}
        return tensors, place | ({"eigenvalues": self._monitor.state()} if self._monitor else {})

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
        load_optimiser("sgd", self._weight_optimiser, self._named, tensors)
        load_optimiser("adam", self._architecture_optimiser, self.alphas, tensors)
        self.epoch, self.step, self._relaxed.decided = epoch, step, as_values(place.get("decided"))
        self._loss, self._tally, self._relaxed.baseline = (
            take(tensors, name, shape).to(self._device, copy=True)
            for name, shape in (("loss", ()), ("tally", self._tally.shape), ("baseline", ()))
        )
        if self._monitor:
            self._monitor.load(self._space, place.get("eigenvalues"))
            self.epochs = self.epoch if self._monitor.chosen() else self.recipe.epochs

    def _place(self) -> dict[str, JSON]:
        """What a state must agree in."""
        order, epochs = self.recipe.order, self.recipe.epochs
        return {"space": self._space.hash(), "order": order, "epochs": epochs, "seed": self._seed}

    def _start_epoch(self) -> None:
        self.step = 0
        self._loss = torch.zeros((), dtype=torch.float64, device=self._device)
        self._tally = torch.zeros(self._data.counts, dtype=torch.int64, device=self._device)

    def _train(self) -> None:
        if not self.network.training:  # to set it in all of many modules takes its time
            self.network.train()

    def _set_learning_rate(self) -> None:
        for group in self._weight_optimiser.param_groups:
            group["lr"] = self.learning_rate(self.epoch)

    @contextmanager
    def _settled(self) -> Iterator[None]:
        """What a method does to the architecture weights after a step of them."""
        if (settle := self._relaxed.parts.relaxation.settle) is None:
            yield
            return
        with torch.no_grad():
            before, mix = {name: alpha.clone() for name, alpha in self.alphas.items()}, self.mix()
        yield
        with torch.no_grad():
            for name, alpha in self._relaxed.operations.items():
                if isinstance(drawn := mix[name], Sparse):
                    alpha.copy_(settle(before[name], alpha, drawn))

    def _watch(self) -> float | None:
        """The Hessian's largest eigenvalue on a batch of the architecture's half, recorded. Raises Diverged."""
        if self._monitor is None:
            return None
        batch, place = self._halves.take("Architecture", self.epoch, 0), (self.epoch, 0)
        self.network.train()
        with batch_statistics(self._norms):
            eigenvalue = largest_eigenvalue(
                lambda: self._relaxed.task_loss(batch, self._relaxed.mix(place, "Architecture"), place),
                list(self.alphas.values()),
                list(self._named.values()),
                generator(self._seed, self.epoch, CURVATURE),
            )
        if not math.isfinite(eigenvalue):
            raise Diverged(f"the search diverged: the Hessian's eigenvalue of epoch {self.epoch + 1} is {eigenvalue}")
        self._monitor.record(eigenvalue, self._relaxed.architecture())
        return eigenvalue
