"""What every kind of work needs: the space, the data, the device, the networks, and the limits that they must keep."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final

import torch

from archsearch.api.metrics import LEARNED, STATIC
from archsearch.api.signature import Signature
from archsearch.api.trial import CurvePoint, thinned
from archsearch.api.work import Work
from archsearch.evaluation import Trainer, derive
from archsearch.evaluation.adversarial import passes_of
from archsearch.hardware import MEBIBYTE, activation_mib, count, device_name, found_device
from archsearch.networks import SpaceNetwork, network
from archsearch.networks.build import Stack
from archsearch.networks.inputs import Inputs, normalised, random_inputs
from archsearch.planning.objectives import violation
from archsearch.spaces import Architecture, Space, space_of
from archsearch.tasks import TaskData, load
from archsearch.work.device import check_device
from archsearch.work.errors import Infeasible, UserError
from archsearch.work.interruption import Interruption
from archsearch.work.metrics import Metrics, series

EXAMPLES: Final = 8
"""Random examples to measure networks with; larger batches repeat them."""


@dataclass(eq=False)
class Context:
    """One piece of work, equal to itself alone, and what it is done with.

    cleanup: what is called once the result is out.
    """

    work: Work
    metrics: Metrics
    interruption: Interruption
    log: Callable[[str], None]
    cleanup: list[Callable[[], None]] = field(default_factory=list)

    @cached_property
    def space(self) -> Space:
        """The space that is searched."""
        try:
            return space_of(self.work.space)
        except ValueError as error:
            raise UserError(f"space: {error}") from None

    @cached_property
    def data(self) -> TaskData:
        """The examples, split. Raises DataError."""
        folder = Path(self.work.paths.data) if self.work.paths.data else None
        found = load(self.work.task, folder)
        self.log(
            f"data: {found.classes} classes, {found.signature}; "
            f"{len(found.weights)} weights, {len(found.architecture)} architecture, {len(found.selection)} selection, "
            f"{len(found.test)} test"
        )
        return found

    @cached_property
    def device(self) -> torch.device:
        """Where networks are trained and measured."""
        found = found_device()
        check_device(found)
        self.log(f"device: {device_name(found)}")
        return found

    @cached_property
    def architecture(self) -> Architecture:
        """The architecture that the work is about. Raises InvalidArchitecture."""
        if self.work.spec.architecture is None:
            raise UserError(f"spec.architecture must be set for {self.work.spec.work}")
        return self.space.architecture(self.work.spec.architecture)

    @property
    def epochs(self) -> int:
        """Epochs to train."""
        if self.work.spec.epochs is None:
            raise UserError(f"spec.epochs must be set for {self.work.spec.work}")
        return self.work.spec.epochs

    @property
    def folder(self) -> Path:
        """The trial's own folder: on the artifact volume, or one that vanishes with the container."""
        return Path(self.work.paths.artifacts or self.work.paths.scratch) / self.work.trial

    @cached_property
    def objective(self) -> str:
        """The first objective that training improves: what curves show."""
        return next((item.metric for item in self.work.objectives if item.metric in LEARNED), self.data.metric)

    def network(self, architecture: Architecture, stack: Stack, *, affine: bool = True) -> SpaceNetwork:
        """The architecture's network on the device, with weights that follow from the trial's seed."""
        torch.manual_seed(derive(self.work.spec.seed))
        built = network(self.space, architecture, stack=stack, signature=self.data.signature, affine=affine)
        return built.to(self.device)

    def training(self, architecture: Architecture, stack: Stack) -> Trainer:
        """A new training of the architecture's network from scratch, as the task's recipe says."""
        built, recipe = self.network(architecture, stack), self.work.task.training
        passes = passes_of(built, self.data, recipe)
        return Trainer(built, self.data, recipe, epochs=self.epochs, seed=self.work.spec.seed, passes=passes)

    @cached_property
    def inputs(self) -> Inputs:
        """Random examples that networks can be measured with: their cost does not depend on values."""
        return normalised(self.data.signature, random_inputs(self.data.signature, EXAMPLES))

    def cost(self, architecture: Architecture) -> dict[str, float]:
        """`parameters`, `flops` and `activationMiB` of the final network, without building its weights."""
        return static_cost(self.space, architecture, "final", self.data.signature)

    def checked_cost(self, architecture: Architecture) -> dict[str, float]:
        """The same, shown as metrics. Raises Infeasible where it is beyond a limit of the spec."""
        found = self.cost(architecture)
        self.metrics.set(
            {
                series("archsearch_trial_parameters"): found["parameters"],
                series("archsearch_trial_flops"): found["flops"],
                series("archsearch_trial_activation_bytes"): found["activationMiB"] * MEBIBYTE,
            }
        )
        self.log(f"final network: {cost_text(found)}")
        limits = [limit for limit in self.work.constraints if limit.metric in STATIC]
        if broken := violation(limits, found):
            raise Infeasible(f"the architecture is beyond a limit: {broken}", found)
        return found

    def curve(self, epochs: list[Mapping[str, float]]) -> tuple[CurvePoint, ...]:
        """The objective after each epoch, thinned to what a message may hold; the last one stays."""
        return thinned([CurvePoint(epoch=n, value=values[self.objective]) for n, values in enumerate(epochs, 1)])


def cost_text(cost: Mapping[str, float]) -> str:
    """The counted costs for a person."""
    counted = f"{cost['parameters']:,.0f} parameters, {cost['flops']:,.0f} FLOPs"
    return f"{counted}, {cost['activationMiB']:.3g} MiB an example in training"


def static_cost(space: Space, architecture: Architecture, stack: Stack, signature: Signature) -> dict[str, float]:
    """`parameters`, `flops` and `activationMiB` of a network. UserError where the data do not pass through it."""
    with torch.device("meta"):
        built = network(space, architecture, stack=stack, signature=signature)
    try:
        inputs = random_inputs(signature, 1)
        parameters, flops = count(built, inputs)
        activations = activation_mib(built, inputs)
    except RuntimeError as error:
        raise UserError(
            f"space: {signature} do not pass through the {stack} network of "
            f"architecture {architecture.id} ({str(error).splitlines()[0]}); use larger inputs or fewer cells"
        ) from None
    return {"parameters": float(parameters), "flops": float(flops), "activationMiB": activations}
