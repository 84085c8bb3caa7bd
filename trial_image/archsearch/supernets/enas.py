"""ENAS (Pham et al. 2018, section 2.2): shared weights and a policy that draws architectures are trained in turn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, cast

import torch
from torch import Tensor

from archsearch.api.enas import Enas as Settings
from archsearch.api.task import Training
from archsearch.evaluation.resumable import JSON, EpochReport, ShouldStop, State
from archsearch.evaluation.seeds import derive, generator
from archsearch.evaluation.trainer import Place, Trainer
from archsearch.networks import Mix, SpaceNetwork
from archsearch.spaces import Architecture, Space
from archsearch.supernets.derivation import Allowed, anything
from archsearch.supernets.gradients import batch_norms, batch_statistics
from archsearch.supernets.policy import Drawn, Reinforce, policy_of
from archsearch.supernets.state import fill_optimiser, load_optimiser, optimiser_tensors, take
from archsearch.tasks import Split, TaskData

POLICY, PATH, REWARD, DERIVED = 6, 7, 8, 9
"""What the random numbers of a place are for, beside those of the trainer."""
ADAM: Final = ("step", "exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class EnasReport(EpochReport):
    """loss and values: of the architectures that were drawn, on the batches that train the weights, as they passed
    by. reward: the mean that the policy got for its draws, on batches of the architecture half."""

    reward: float


class Enas:
    """Each epoch is one pass over the weights' half, one drawn architecture a step, then so many steps of the policy.

    A draw's reward is how well it answers one batch of the architecture half, which is its accuracy where there are
    classes, with the shared weights, which stay as they are, and with the batch's own statistics, as in the published
    code. Unlike there the learning rate falls by one cosine, without restarts, and momentum is not Nesterov's. Running
    statistics are those of all paths together and are never used. It can be interrupted between any two steps of either
    kind; all that is random follows from the seed and the place, so that a resumed search is bit-equal to an
    undisturbed one.
    network: on its device already; called with inputs and an architecture's values. training: what `settings` do not
    say.
    """

    def __init__(
        self, space: Space, network: SpaceNetwork, data: TaskData, training: Training, settings: Settings, *, seed: int
    ) -> None:
        self.network, self.epochs, self.epoch = network, settings.epochs, 0
        self.step = 0  # of the policy, in this epoch
        self._settings, self._seed, self._space = settings, seed, space
        self.policy = policy_of(
            space, settings.controller, temperature=float(settings.temperature), limit=float(settings.tanh_constant),
            generator=generator(seed, POLICY),
        )  # fmt: skip
        self.reinforce = Reinforce(
            self.policy, learning_rate=float(settings.controller_learning_rate),
            entropy_weight=float(settings.entropy_weight), decay=float(settings.baseline_decay),
        )  # fmt: skip
        self._named = dict(self.policy.named_parameters())
        fill_optimiser(self.reinforce.optimiser, ADAM)
        recipe = training.model_copy(
            update={name: getattr(settings, name) for name in Training.model_fields if hasattr(settings, name)}
        )
        # The trainer is given the one half alone.
        halved = replace(data, architecture=data.architecture.first(0))
        self.shared = Trainer(network, halved, recipe, epochs=self.epochs, seed=seed, passes=self._one_draw)
        self._device = next(network.parameters()).device
        self._data, self._half = data, data.architecture.to(self._device)
        self._batch = min(settings.batch_size, len(self._half))
        self._rewards, self._report = 0.0, EpochReport(0, 0.0, {})

    def architecture(self) -> Architecture:
        """What the policy thinks best, choice by choice."""
        return self.policy.likely()

    @torch.no_grad()
    def derive(self, allowed: Allowed = anything) -> Architecture:
        """The best of some draws by the reward on the whole architecture half, which so chooses, and nothing else.

        The published code compares ten on a single batch. Draws beyond the limits are left out, unless all are.
        """
        random = generator(self._seed, self.epoch, DERIVED)
        drawn = dict.fromkeys(self.policy.draw(random).architecture for _ in range(self._settings.derived_samples))
        kept = [one for one in drawn if allowed(one)] or list(drawn)
        batches = len(self._half) // self._batch
        worth = {one: sum(self.reward(one, batch) for batch in range(batches)) for one in kept}
        return max(worth, key=lambda one: worth[one])

    def run_epoch(self, should_stop: ShouldStop) -> EnasReport | None:
        """Train the weights, then the policy; None where should_stop said yes before a step. Raises Diverged."""
        if self.shared.epoch == self.epoch:
            report = self.shared.run_epoch(should_stop)
            if report is None:
                return None
            self._report = report
        while self.step < self._settings.controller_steps:
            if should_stop():
                return None
            self._train_policy()
            self.step += 1
        self.epoch += 1
        draws = self._settings.controller_steps * self._settings.samples
        found = EnasReport(**asdict(self._report), reward=self._rewards / draws)
        self.step, self._rewards = 0, 0.0
        return found

    @torch.no_grad()
    def reward(self, architecture: Architecture, batch: int, order: Tensor | None = None) -> float:
        """How well one batch of the architecture half is answered, which `order` may shuffle. Nothing is changed."""
        places = (batch * self._batch + torch.arange(self._batch)) % len(self._half)
        index = (places if order is None else order[places]).to(self._device)
        examples = self._data.prepare(self._half.at(index))
        self.network.train()
        with batch_statistics(batch_norms(self.network)):
            outputs = self.network(examples.inputs, cast("Mix", architecture.values))
        return self._data.reward(outputs, examples.targets)

    def state(self) -> State:
        """The place, the shared weights, the policy, and what both optimisers remember."""
        tensors, shared = self.shared.state()
        tensors = {f"shared/{name}": value for name, value in tensors.items()}
        tensors |= {f"policy/{name}": weight.detach() for name, weight in self._named.items()}
        tensors |= optimiser_tensors("adam", self.reinforce.optimiser, self._named)
        place: dict[str, JSON] = {
            "shared": shared, "epoch": self.epoch, "step": self.step, "rewards": self._rewards,
            "baseline": self.reinforce.baseline, "report": asdict(self._report), "space": self._space.hash(),
        }  # fmt: skip
        return tensors, place

    def load(self, state: State) -> None:
        """Go on from a state of the same search. ValueError names what does not fit."""
        tensors, place = state
        if place.get("space") != self._space.hash():
            raise ValueError(f"space must be {self._space.hash()} as in this search, but got {place.get('space')}")
        epoch, step, rewards, baseline, shared = (
            place.get(name) for name in ("epoch", "step", "rewards", "baseline", "shared")
        )
        steps = self._settings.controller_steps
        if not isinstance(epoch, int) or not isinstance(step, int) or not 0 <= step < steps:
            raise ValueError(f"step must be below the {steps} of the policy, but got {step} of epoch {epoch}")
        if not isinstance(rewards, float) or not isinstance(baseline, float | None):
            raise ValueError(f"rewards and baseline must be numbers, but got {rewards} and {baseline}")
        if not isinstance(shared, Mapping):
            raise ValueError("the state must hold shared, but does not")
        self.shared.load((dict(_under("shared/", tensors)), dict(shared)))
        with torch.no_grad():
            for name, weight in self._named.items():
                weight.copy_(take(tensors, f"policy/{name}", weight.shape))
        load_optimiser("adam", self.reinforce.optimiser, self._named, tensors)
        self.epoch, self.step, self._rewards, self.reinforce.baseline = epoch, step, rewards, baseline
        self._report = _report(place.get("report"))

    def _one_draw(self, batch: Split, place: Place) -> tuple[Tensor, Tensor]:
        """The pass of a step of the weights: what no path uses gets no gradient, momentum or weight decay."""
        with torch.no_grad():
            drawn = self.policy.draw(generator(self._seed, *place, PATH))
        outputs = self.network(batch.inputs, cast("Mix", drawn.architecture.values))
        loss = self._data.loss(outputs, batch.targets)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach(), outputs.detach()

    def _train_policy(self) -> None:
        samples = self._settings.samples
        order = torch.randperm(len(self._half), generator=generator(self._seed, self.epoch, REWARD))
        random = generator(self._seed, self.epoch, self.step, POLICY)
        torch.manual_seed(derive(self._seed, self.epoch, self.step, REWARD))  # for what is random in the network
        drawn: list[Drawn] = [self.policy.draw(random) for _ in range(samples)]
        rewards = [self.reward(one.architecture, self.step * samples + at, order) for at, one in enumerate(drawn)]
        self.reinforce.step(drawn, rewards)
        self._rewards += sum(rewards)


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    return ((name.removeprefix(prefix), value) for name, value in tensors.items() if name.startswith(prefix))


def _report(saved: JSON) -> EpochReport:
    """ValueError for what is none."""
    try:
        return EpochReport(**cast("dict[str, Any]", saved))
    except TypeError:
        raise ValueError(f"report must be that of an epoch, but got {str(saved)[:80]}") from None
