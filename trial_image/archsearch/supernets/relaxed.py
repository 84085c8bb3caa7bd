"""A supernet whose choices are continuous: its mix, its losses, and the architecture that it stands for.

Nothing is trained here. All that is random follows from the seed and the place, an epoch and a step.
"""

from __future__ import annotations

import math
from itertools import islice
from typing import Final, cast

import torch
from torch import Tensor

from archsearch.api.base import ChoiceValue
from archsearch.evaluation.seeds import derive, generator
from archsearch.networks import Mix, SpaceNetwork, Sparse
from archsearch.spaces import Architecture, Space
from archsearch.supernets.alphas import initial, log_probability, one_hot
from archsearch.supernets.derivation import Allowed, anything, sample
from archsearch.supernets.gradients import frozen
from archsearch.supernets.mixing import Half, Moment
from archsearch.supernets.parts import Parts
from archsearch.supernets.recipe import Recipe
from archsearch.tasks import Split, TaskData

MIXING, NETWORK, PERTURBATION, SAMPLES, OTHERS = 3, 4, 5, 6, 8
"""What the random numbers of a place are for, beside those of the images."""
BASELINE: Final = 0.1
"""How fast the loss that REINFORCE compares with follows: the supernet's own loss falls while it is trained."""
DRAWS: Final = 500
"""Draws among which those within the limits are looked for, where what a search stands for is beyond them."""
MOST_OTHERS: Final = 8

Place = tuple[int, int]
"""An epoch and a step of it."""


class Relaxed:
    """Network, task, architecture weights and parts of a method together.

    decided: choices that are made, whatever their mixing weights. baseline: the loss that a draw is compared with;
    infinite before the first.
    """

    def __init__(
        self, space: Space, network: SpaceNetwork, data: TaskData, recipe: Recipe, parts: Parts, seed: int
    ) -> None:
        self.space, self.network, self.parts = space, network, parts
        self.named = dict(network.named_parameters())
        like = next(network.parameters())
        self.alphas = initial(space, inputs=recipe.edge_normalisation, seed=seed, like=like)
        self.operations = {c.name: self.alphas[c.name] for c in space.choices if not c.is_subset}
        self.decided: dict[str, ChoiceValue] = {}
        self.baseline = torch.full((), math.inf, dtype=torch.float64, device=like.device)
        self._data, self._recipe, self._seed = data, recipe, seed

    def mix(self, place: Place, half: Half) -> Mix:
        """What a pass for a half runs the network with; differentiable. All passes of a step have the same noise."""
        moment = self._moment(place, half)
        mix: dict[str, Tensor | Sparse | ChoiceValue] = {
            name: self.parts.relaxation.mix(alpha, moment) if name in self.operations else torch.softmax(alpha, dim=-1)
            for name, alpha in self.alphas.items()
        }
        return mix | self.decided | self.parts.switches(moment)

    def probabilities(self) -> dict[str, Tensor]:
        """How strong each alternative of every choice is, without noise; differentiable."""
        relaxation = self.parts.relaxation
        found = {
            name: relaxation.probabilities(alpha) if name in self.operations else torch.softmax(alpha, dim=-1)
            for name, alpha in self.alphas.items()
        }
        return found | one_hot(self.space, self.decided, found)

    @torch.no_grad()
    def architecture(self) -> Architecture:
        """The architecture that it stands for now."""
        derived = self.parts.derive(self.space, self.probabilities())
        return self.space.architecture({**derived.values, **self.decided})

    @torch.no_grad()
    def candidates(self, allowed: Allowed = anything) -> tuple[Architecture, ...]:
        """The architectures that it offers: one, or those that are drawn, as far as they keep the limits.

        Where none does, others are drawn until some do; where none of many does, those beyond the limits.
        """
        mix = self.probabilities()
        offered: tuple[Architecture, ...] = (self.architecture(),)
        if self._recipe.derivation == "Sample":
            offered = sample(self.space, mix, self._recipe.samples, generator(self._seed, SAMPLES))
        if kept := tuple(filter(allowed, offered)):
            return kept
        drawn = sample(self.space, mix, DRAWS, generator(self._seed, OTHERS))
        return tuple(islice(filter(allowed, drawn), MOST_OTHERS)) or offered

    def outputs(self, batch: Split, mix: Mix, place: Place) -> Tensor:
        """What the network makes of a batch."""
        # For whatever is random in the network: the same in every pass of a step.
        torch.manual_seed(derive(self._seed, *place, NETWORK))
        outputs: Tensor = self.network(batch.inputs, mix)
        return outputs

    def task_loss(self, batch: Split, mix: Mix, place: Place) -> Tensor:
        """The loss that training from scratch would lower."""
        return self._data.loss(self.outputs(batch, mix, place), batch.targets)

    def architecture_loss(self, batch: Split, place: Place) -> Tensor:
        """What the architecture weights are to lower: the loss of the task, what networks cost, and regularisers."""
        mix = self.mix(place, "Architecture")
        drawn = self.parts.relaxation.sampled
        loss = self._expected_loss(batch, mix, place) if drawn else self.task_loss(batch, mix, place)
        if self.parts.penalty is not None:
            # Where a few operations are drawn, the cost is that of the distribution, whose gradient is exact.
            costs = {n: w if isinstance(w := mix[n], Tensor) else p for n, p in self.probabilities().items()}
            loss = self.parts.penalty(loss, costs)
        for regularise in self.parts.regularisers:
            loss = loss + regularise(self.operations, self._moment(place, "Architecture"))
        return loss

    def perturbed(self, batch: Split, mix: Mix, place: Place) -> Mix:
        """The mix at which the network weights are trained: perturbed, where the method does so.

        The network is left in evaluation mode, in which the worst is looked for (published code).
        """
        if self.parts.perturb is None:
            return mix
        weights = {name: cast("Tensor", mix[name]) for name in self.alphas if isinstance(mix[name], Tensor)}
        radius = self._recipe.perturbation_radius * (0.1 + 0.9 * place[0] / self._recipe.epochs)
        noise = generator(self._seed, *place, PERTURBATION)
        self.network.eval()
        with frozen(list(self.named.values())):
            moved = self.parts.perturb(weights, lambda w: self.task_loss(batch, {**mix, **w}, place), radius, noise)
        return {**mix, **moved}

    def _expected_loss(self, batch: Split, mix: Mix, place: Place) -> Tensor:
        """The loss of what was drawn, with the gradient of its expectation (REINFORCE)."""
        with torch.no_grad():
            loss = self.task_loss(batch, mix, place)
        baseline = torch.where(self.baseline.isinf(), loss.double(), self.baseline)
        self.baseline = baseline + BASELINE * (loss.double() - baseline)
        score = log_probability(self.operations, mix)
        return loss + (loss - baseline).to(loss) * (score - score.detach())

    def _moment(self, place: Place, half: Half) -> Moment:
        return Moment(place[0], self._recipe.epochs, generator(self._seed, *place, MIXING), half)
