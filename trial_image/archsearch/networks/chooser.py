"""Choosers: what a network asks while it is built, so that one piece of code gives a fixed network and the supernet."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import combinations
from typing import Protocol

import torch
from torch import Tensor, nn

from archsearch.api.base import ChoiceValue
from archsearch.networks.operations import Zero
from archsearch.spaces import Architecture


@dataclass(frozen=True)
class Alternatives:
    """The operations that could stand in a place, by name, in the order of the choice's alternatives.

    build: makes each of them for so many channels. channels, stride: of the place; an operation that changes the number
    of channels has None, and cannot run on a part of them.
    """

    build: Mapping[str, Callable[[int], nn.Module]]
    channels: int | None
    stride: int = 1

    def make(self, name: str) -> nn.Module:
        """One of them, for the whole place."""
        return self.build[name](self.channels or 0)


@dataclass(frozen=True)
class Sparse:
    """Mixing weights of which only some are computed. weights: all of them, (alternatives,); active: positions."""

    weights: Tensor
    active: tuple[int, ...]


Mix = Mapping[str, "Tensor | Sparse | ChoiceValue"]
"""What a supernet is called with, by the name of the choice.

A tensor mixes all alternatives of an operation, one number for each; of a choice of inputs it weighs each predecessor,
and where there is no entry all count alike. A plain value stands for that option alone: an architecture's values are
the mix that runs this architecture with the shared weights.
"""


class Chooser(Protocol):
    """Decides each choice of a network under construction. Equal names must be asked in equal words.

    The modules that it gives are called with an input and the mix, which only a supernet looks at.
    """

    def operation(self, name: str, alternatives: Alternatives) -> nn.Module:
        """The module that stands where one of the alternatives is to be."""
        ...

    def inputs(self, name: str, count: int, keep: int) -> tuple[int, ...]:
        """Which of `count` predecessors to connect, where an architecture keeps `keep` of them."""
        ...

    def number(self, name: str, values: Sequence[int]) -> Number:
        """A number such as a kernel's size, a width, a depth or a position."""
        ...


@dataclass(frozen=True)
class Number:
    """A number that was chosen, or in a supernet one that is chosen anew in every pass.

    values: what it can be, ascending where they are sizes. Modules are built for the largest.
    """

    name: str
    values: tuple[int, ...]

    def now(self, mix: Mix | None) -> int:
        """Its value in this pass."""
        if len(self.values) == 1 or mix is None:
            (value,) = self.values
            return value
        chosen = mix[self.name]
        if not isinstance(chosen, int):
            raise TypeError(f"{self.name} must be a number in a mix, but got {chosen!r}")
        return chosen


class Chosen(nn.ModuleDict):
    """A single operation. It is called by its name, so that its parameters are named as they are in the supernet."""

    def forward(self, x: Tensor, _mix: Mix | None = None) -> Tensor:
        """The operation's output; the mix is not looked at."""
        (operation,) = self.values()
        output: Tensor = operation(x)
        return output


class Mixture(nn.ModuleDict):
    """All alternatives of a choice, added up with the weights of that choice (Liu et al. 2019, equation 2)."""

    def __init__(self, name: str, alternatives: Mapping[str, nn.Module]) -> None:
        super().__init__(alternatives)
        self.name = name
        self._keys = tuple(alternatives)

    def forward(self, x: Tensor, mix: Mix) -> Tensor:
        """The weighted sum, or one of them. `none` adds nothing, whatever its weight, and 0 x NaN would be NaN."""
        chosen = mix[self.name]
        if isinstance(chosen, str):
            output: Tensor = self[chosen](x)
            return output
        if isinstance(chosen, Sparse):
            weights, active = chosen.weights, chosen.active
        elif isinstance(chosen, Tensor):
            weights, active = chosen, tuple(range(len(self._keys)))
        else:
            raise TypeError(f"{self.name} must be the name of an operation or weights, but got {chosen!r}")
        if weights.shape != (len(self._keys),):
            raise ValueError(f"{self.name} must have {len(self._keys)} weights, but got {tuple(weights.shape)}")
        each = weights.unbind()
        computed = [at for at in active if not isinstance(self[self._keys[at]], Zero)]
        # Where `none` alone is active its zeros have the right shape.
        terms: list[Tensor] = [each[at] * self[self._keys[at]](x) for at in computed or active]
        return reduce(torch.add, terms)


def connected(mix: Mix | None, name: str, sources: tuple[int, ...]) -> tuple[int, ...]:
    """The predecessors that count in this pass: all that the network was built with, or those that the mix names."""
    chosen = mix.get(name) if mix else None
    return chosen if isinstance(chosen, tuple) else sources


class Fixed:
    """Builds one architecture. `asked` are the names of the choices that the network has asked for."""

    def __init__(self, architecture: Architecture) -> None:
        self.architecture = architecture
        self.asked: set[str] = set()

    def operation(self, name: str, alternatives: Alternatives) -> nn.Module:
        """The chosen operation alone."""
        self.asked.add(name)
        value = str(self.architecture[name])
        return Chosen({value: alternatives.make(value)})

    def inputs(self, name: str, count: int, keep: int) -> tuple[int, ...]:
        """The chosen predecessors."""
        self.asked.add(name)
        value = self.architecture[name]
        if not isinstance(value, tuple) or len(value) != keep or not set(value) <= set(range(count)):
            raise ValueError(f"{name} must be {keep} of {count} predecessors, but got {value!r}")
        return value

    def number(self, name: str, values: Sequence[int]) -> Number:
        """The chosen number alone."""
        self.asked.add(name)
        value = self.architecture[name]
        if not isinstance(value, int) or value not in values:
            raise ValueError(f"{name} must be one of {list(values)}, but got {value!r}")
        return Number(name, (value,))


class Super:
    """Builds the supernet: every operation on every edge."""

    def operation(self, name: str, alternatives: Alternatives) -> nn.Module:
        """A mixture of all alternatives."""
        return Mixture(name, {key: alternatives.make(key) for key in alternatives.build})

    def inputs(self, name: str, count: int, keep: int) -> tuple[int, ...]:  # noqa: ARG002 - the same for every choice
        """All predecessors."""
        return tuple(range(count))

    def number(self, name: str, values: Sequence[int]) -> Number:
        """All numbers."""
        return Number(name, tuple(values))


class Trace:
    """Records what a network asks for: the alternatives of each choice by name. The network cannot be run.

    Raises ValueError where the same name is asked with other alternatives.
    """

    def __init__(self) -> None:
        self.asked: dict[str, tuple[ChoiceValue, ...]] = {}

    def operation(self, name: str, alternatives: Alternatives) -> nn.Module:
        """Nothing that could be run."""
        self._record(name, tuple(alternatives.build))
        return nn.Module()

    def inputs(self, name: str, count: int, keep: int) -> tuple[int, ...]:
        """All predecessors, so that what each of them leads to is asked as well."""
        self._record(name, tuple(combinations(range(count), keep)))
        return tuple(range(count))

    def number(self, name: str, values: Sequence[int]) -> Number:
        """All numbers, so that what each of them leads to is asked as well."""
        self._record(name, tuple(values))
        return Number(name, tuple(values))

    def _record(self, name: str, options: tuple[ChoiceValue, ...]) -> None:
        if self.asked.setdefault(name, options) != options:
            raise ValueError(f"{name} must always be asked alike, but got {options!r} after {self.asked[name]!r}")
