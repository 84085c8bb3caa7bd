"""A policy over the architectures of a space, and REINFORCE, which moves it to where the rewards are.

Pham et al. (2018, section 2) use an LSTM whose weights the rewards train. The simplest policy, one softmax for each
choice, knows nothing of the choices before it, and has little to learn.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, NamedTuple

import torch
from torch import Tensor, nn

from archsearch.api.base import ChoiceValue
from archsearch.spaces import Architecture, Choice, Space

INITIAL: Final = 0.1
"""Weights start uniformly between minus this and this (Pham et al. 2018, section 3.2)."""
UNITS: Final = 64
"""Of the LSTM (published code of the search for cells)."""

Pick = Callable[[Choice, Tensor], int]
"""Which option to take, from the logarithms of their probabilities, (options,)."""


class Drawn(NamedTuple):
    """An architecture that a policy drew, and the logarithm of how probable it was; differentiable."""

    architecture: Architecture
    log_probability: Tensor


class Policy(nn.Module, ABC):
    """The choices are made one after the other, those that are not active not at all.

    temperature, limit: a logit z of the controller counts as limit x tanh(z / temperature), so that no option becomes
    certain (Bello et al. 2017, as in Pham et al. 2018, section 3.2). Weights are float64: they are few.
    """

    def __init__(self, space: Space, temperature: float, limit: float) -> None:
        super().__init__()
        self.space, self.temperature, self.limit = space, temperature, limit

    def draw(self, generator: torch.Generator) -> Drawn:
        """An architecture, at random."""

        def pick(_choice: Choice, log_probabilities: Tensor) -> int:
            return int(torch.multinomial(log_probabilities.detach().exp(), 1, generator=generator))

        return self._walk(pick)

    def of(self, architecture: Architecture) -> Drawn:
        """The architecture, and how probable it is."""
        return self._walk(lambda choice, _: choice.options.index(architecture[choice.name]))

    @torch.no_grad()
    def likely(self) -> Architecture:
        """The architecture of which every choice is the most probable one after those before it."""
        return self._walk(lambda _, log_probabilities: int(log_probabilities.argmax())).architecture

    @abstractmethod
    def _logits(self, choice: Choice, memory: Any) -> tuple[Tensor, Any]:
        """The logits of a choice's options, and what is remembered from here on. memory: None before the first."""

    @abstractmethod
    def _told(self, choice: Choice, index: int, memory: Any) -> Any:
        """What is remembered once an option is taken."""

    def _walk(self, pick: Pick) -> Drawn:
        values: dict[str, ChoiceValue] = {}
        memory: Any = None
        total = torch.zeros((), dtype=torch.float64)
        for choice in self.space.choices:
            if not choice.active(values):
                continue
            logits, memory = self._logits(choice, memory)
            log_probabilities = torch.log_softmax(self.limit * torch.tanh(logits / self.temperature), dim=0)
            index = pick(choice, log_probabilities)
            values[choice.name] = choice.options[index]
            total = total + log_probabilities[index]
            memory = self._told(choice, index, memory)
        return Drawn(Architecture(values), total)


class Softmaxes(Policy):
    """Each choice on its own: one logit for each of its options."""

    def __init__(self, space: Space, temperature: float, limit: float) -> None:
        super().__init__(space, temperature, limit)
        # By number: a user may name a choice `type`, or what else a module has.
        self._number = {choice.name: number for number, choice in enumerate(space.choices)}
        self.logits = nn.ParameterList(torch.zeros(len(c.options), dtype=torch.float64) for c in space.choices)

    def _logits(self, choice: Choice, memory: Any) -> tuple[Tensor, Any]:
        return self.logits[self._number[choice.name]], memory

    def _told(self, choice: Choice, index: int, memory: Any) -> Any:  # noqa: ARG002 - nothing is remembered
        return memory


class Recurrent(Policy):
    """An LSTM that reads the option that was taken last and answers the logits of the next choice.

    Unlike in the published code every choice has a linear layer of its own, choices between inputs too; there they
    share one, or point at the nodes by attention. So it is the same for any space.
    """

    def __init__(self, space: Space, temperature: float, limit: float) -> None:
        super().__init__(space, temperature, limit)
        sizes = [len(choice.options) for choice in space.choices]
        self._first = {choice.name: 1 + sum(sizes[:at]) for at, choice in enumerate(space.choices)}
        self.taken = nn.Embedding(1 + sum(sizes), UNITS, dtype=torch.float64)  # the first: nothing yet
        self.cell = nn.LSTMCell(UNITS, UNITS, dtype=torch.float64)
        self._number = {choice.name: number for number, choice in enumerate(space.choices)}
        self.choices = nn.ModuleList(
            nn.Linear(UNITS, len(c.options), bias=False, dtype=torch.float64) for c in space.choices
        )

    def _logits(self, choice: Choice, memory: Any) -> tuple[Tensor, Any]:
        taken, state = memory or (0, None)
        hidden, inner = self.cell(self.taken.weight[taken], state)
        logits: Tensor = self.choices[self._number[choice.name]](hidden)
        return logits, (taken, (hidden, inner))

    def _told(self, choice: Choice, index: int, memory: Any) -> Any:
        return self._first[choice.name] + index, memory[1]


def policy_of(
    space: Space,
    controller: Literal["LSTM", "Softmax"],
    *,
    temperature: float,
    limit: float,
    generator: torch.Generator,
) -> Policy:
    """A new policy; its weights are drawn with the generator."""
    kinds: dict[str, type[Policy]] = {"LSTM": Recurrent, "Softmax": Softmaxes}
    policy = kinds[controller](space, temperature, limit)
    with torch.no_grad():
        for weight in policy.parameters():
            weight.uniform_(-INITIAL, INITIAL, generator=generator)
    return policy


class Reinforce:
    """REINFORCE (Williams 1992) with a baseline and a bonus for entropy; Adam moves the policy.

    entropy_weight: of the bonus, minus the logarithm of what was drawn, which is added to its reward as in the
    published code of ENAS; its mean is the policy's entropy. decay: of the baseline, a moving mean of the rewards.
    It starts as the mean of the first ones, and not at zero, where at first every draw would look good.
    """

    def __init__(self, policy: Policy, *, learning_rate: float, entropy_weight: float, decay: float) -> None:
        self.policy, self.entropy_weight, self.decay = policy, entropy_weight, decay
        self.baseline: float | None = None
        self.optimiser = torch.optim.Adam(policy.parameters(), lr=learning_rate)

    def loss(self, drawn: Sequence[Drawn], rewards: Sequence[float]) -> Tensor:
        """What has the negative policy gradient, the mean over the draws."""
        returns = self._returns(drawn, rewards)
        baseline = sum(returns) / len(returns) if self.baseline is None else self.baseline
        terms = [(baseline - gained) * one.log_probability for one, gained in zip(drawn, returns, strict=True)]
        return torch.stack(terms).mean()

    def step(self, drawn: Sequence[Drawn], rewards: Sequence[float]) -> None:
        """Move the policy, then the baseline: it must not know the draws that it is compared with."""
        self.optimiser.zero_grad()
        self.loss(drawn, rewards).backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        returns = self._returns(drawn, rewards)
        if self.baseline is None:
            self.baseline = sum(returns) / len(returns)
        for gained in returns:
            self.baseline += (1 - self.decay) * (gained - self.baseline)

    def _returns(self, drawn: Sequence[Drawn], rewards: Sequence[float]) -> list[float]:
        return [
            reward - self.entropy_weight * float(one.log_probability.detach())
            for one, reward in zip(drawn, rewards, strict=True)
        ]
