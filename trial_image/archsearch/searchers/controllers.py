"""Policies over the architectures of a space, and their gradients by hand: a softmax for each choice, and an LSTM.

A policy is a pytree of arrays and pure functions of them; `policy` moves the arrays. Choices are decided in the order
in which the space declares them, those that are not active not at all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from archsearch.api.base import ChoiceValue
from archsearch.spaces import Architecture, Choice, Space

Matrix = NDArray[np.float64]
Parameters = dict[str, Matrix]

INITIAL: Final = 0.1
"""The LSTM's weights start uniformly between minus this and this, as NASNet's (Zoph et al. 2018, appendix)."""


@dataclass(frozen=True)
class Decision:
    """One choice as it was made. index: of its option; log_probabilities: (options,); memory: the controller's own."""

    choice: int
    index: int
    log_probabilities: Matrix
    memory: Any


@dataclass(frozen=True)
class Walk:
    """An architecture and the decisions that led to it."""

    architecture: Architecture
    decisions: tuple[Decision, ...]

    @property
    def taken(self) -> Matrix:
        """The logarithm of the probability of each decision, (decisions,)."""
        return np.array([decision.log_probabilities[decision.index] for decision in self.decisions])


class Controller(ABC):
    """A policy's form. It holds no parameters: these are passed in, and belong to whoever moves them."""

    def __init__(self, space: Space) -> None:
        self.space = space
        self._first = [0, *accumulate(len(choice.options) for choice in space.choices)]

    @property
    def options(self) -> int:
        """Options of all choices together."""
        return self._first[-1]

    @abstractmethod
    def initial(self, rng: np.random.Generator) -> Parameters:
        """Parameters to start with; every option is about as likely as any other of its choice."""

    @abstractmethod
    def gradient(self, parameters: Parameters, walk: Walk, to_logits: Sequence[Matrix]) -> Parameters:
        """The gradient with respect to the parameters, from that with respect to each decision's logits, (options,).

        walk: what `of` or `draw` has said with these parameters.
        """

    def draw(self, parameters: Parameters, rng: np.random.Generator) -> Walk:
        """An architecture, at random."""
        return self._walk(parameters, lambda _, log_p: _drawn(log_p, rng))

    def of(self, parameters: Parameters, architecture: Architecture) -> Walk:
        """The decisions that lead to an architecture, and how probable they are."""
        return self._walk(parameters, lambda choice, _: choice.options.index(architecture[choice.name]))

    @abstractmethod
    def _logits(self, parameters: Parameters, choice: int, before: Decision | None) -> tuple[Matrix, Any]:
        """The logits of a choice's options, and what is remembered."""

    def _walk(self, parameters: Parameters, pick: Callable[[Choice, Matrix], int]) -> Walk:
        values: dict[str, ChoiceValue] = {}
        decisions: list[Decision] = []
        for number, choice in enumerate(self.space.choices):
            if not choice.active(values):
                continue
            logits, memory = self._logits(parameters, number, decisions[-1] if decisions else None)
            log_p = logits - logits.max()
            log_p = log_p - np.log(np.exp(log_p).sum())
            index = pick(choice, log_p)
            values[choice.name] = choice.options[index]
            decisions.append(Decision(number, index, log_p, memory))
        return Walk(Architecture(values), tuple(decisions))

    def _columns(self, choice: int) -> slice:
        return slice(self._first[choice], self._first[choice + 1])


class Softmaxes(Controller):
    """Each choice on its own: one logit for each option, as in the REINFORCE of NAS-Bench-201 (Dong and Yang 2020)."""

    def initial(self, rng: np.random.Generator) -> Parameters:  # noqa: ARG002 - all options are equal at first
        """All zeros: every option is as likely as any other of its choice."""
        return {"logits": np.zeros(self.options)}

    def gradient(self, parameters: Parameters, walk: Walk, to_logits: Sequence[Matrix]) -> Parameters:
        """Each decision has logits of its own."""
        found = np.zeros_like(parameters["logits"])
        for decision, gradient in zip(walk.decisions, to_logits, strict=True):
            found[self._columns(decision.choice)] = gradient
        return {"logits": found}

    def _logits(self, parameters: Parameters, choice: int, before: Decision | None) -> tuple[Matrix, Any]:  # noqa: ARG002
        return parameters["logits"][self._columns(choice)], None


@dataclass(frozen=True)
class _Step:
    """A step of the LSTM. read: the row of what was taken before; gates: input, forget, candidate and output."""

    read: int
    hidden_before: Matrix
    inner_before: Matrix
    gates: tuple[Matrix, Matrix, Matrix, Matrix]
    inner: Matrix
    hidden: Matrix


class Recurrent(Controller):
    """An LSTM of one layer that reads the option taken last and answers the logits of the next choice.

    As NASNet's controller (Zoph et al. 2018, section 3); 100 units there. The embedding of an option and the weights
    that read it are one table, of which a row is what an option adds to the gates.
    """

    def __init__(self, space: Space, units: int = 100) -> None:
        super().__init__(space)
        self.units = units

    def initial(self, rng: np.random.Generator) -> Parameters:
        """Small random weights. Row 0 of `read` is for the first decision."""
        shapes = {
            "read": (1 + self.options, 4 * self.units),
            "recurrent": (self.units, 4 * self.units),
            "answer": (self.units, self.options),
        }
        return {name: rng.uniform(-INITIAL, INITIAL, shape) for name, shape in shapes.items()}

    def gradient(self, parameters: Parameters, walk: Walk, to_logits: Sequence[Matrix]) -> Parameters:
        """Backwards through the decisions."""
        found = {name: np.zeros_like(value) for name, value in parameters.items()}
        steps: list[_Step] = [decision.memory for decision in walk.decisions]
        to_hidden, to_inner = np.zeros(self.units), np.zeros(self.units)
        to_gates = np.zeros((len(steps), 4 * self.units))
        for at in range(len(steps) - 1, -1, -1):
            step, columns = steps[at], self._columns(walk.decisions[at].choice)
            found["answer"][:, columns] += np.outer(step.hidden, to_logits[at])
            to_hidden = to_hidden + parameters["answer"][:, columns] @ to_logits[at]
            to_gates[at], to_inner = _backwards(step, to_hidden, to_inner)
            found["read"][step.read] += to_gates[at]
            to_hidden = parameters["recurrent"] @ to_gates[at]
        found["recurrent"] = np.array([step.hidden_before for step in steps]).T @ to_gates
        return found

    def _logits(self, parameters: Parameters, choice: int, before: Decision | None) -> tuple[Matrix, Any]:
        if before is None:
            read, hidden, inner = 0, np.zeros(self.units), np.zeros(self.units)
        else:
            read = 1 + self._first[before.choice] + before.index
            hidden, inner = before.memory.hidden, before.memory.inner
        raw = (parameters["read"][read] + hidden @ parameters["recurrent"]).reshape(4, self.units)
        gates = (_logistic(raw[0]), _logistic(raw[1]), np.tanh(raw[2]), _logistic(raw[3]))
        now = gates[1] * inner + gates[0] * gates[2]
        step = _Step(read, hidden, inner, gates, now, gates[3] * np.tanh(now))
        return step.hidden @ parameters["answer"][:, self._columns(choice)], step


def _backwards(step: _Step, to_hidden: Matrix, to_inner: Matrix) -> tuple[Matrix, Matrix]:
    """The gradients with respect to what comes into the gates, (4 units,), and to the inner state before."""
    into, forget, candidate, out = step.gates
    squashed = np.tanh(step.inner)
    to_inner = to_inner + to_hidden * out * (1 - squashed**2)
    to_gates = np.concatenate(
        [
            to_inner * candidate * into * (1 - into),
            to_inner * step.inner_before * forget * (1 - forget),
            to_inner * into * (1 - candidate**2),
            to_hidden * squashed * out * (1 - out),
        ]
    )
    return to_gates, to_inner * forget


def _logistic(value: Matrix) -> Matrix:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * value)))


def _drawn(log_probabilities: Matrix, rng: np.random.Generator) -> int:
    # By hand: Generator.choice takes longer than all the rest of a decision.
    place = int(np.searchsorted(np.cumsum(np.exp(log_probabilities)), rng.random(), side="right"))
    return min(place, len(log_probabilities) - 1)
