"""Choosers: what a network asks while it is built, so that one piece of code gives a fixed network and the supernet."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from itertools import combinations
from typing import Protocol

import torch
from torch import Tensor, nn

from archsearch.api.base import ChoiceValue
from archsearch.networks.operations import Zero
from archsearch.spaces import Architecture

Alternatives = Mapping[str, Callable[[], nn.Module]]
"""How to build each operation that could stand in a place, by name, in the order of the choice's alternatives."""
Mix = Mapping[str, Tensor]
"""Mixing weights by the name of the choice: one number for each of its alternatives."""


class Chooser(Protocol):
    """Decides each choice of a network under construction. Equal names must be asked in equal words.

    The modules that it gives are called with an input and the mixing weights, which only a supernet looks at.
    """

    def operation(self, name: str, alternatives: Alternatives) -> nn.Module:
        """The module that stands where one of the alternatives is to be."""
        ...

    def inputs(self, name: str, count: int, keep: int) -> tuple[int, ...]:
        """Which of `count` predecessors to connect, where an architecture keeps `keep` of them."""
        ...


class Chosen(nn.ModuleDict):
    """A single operation. It is called by its name, so that its parameters are named as they are in the supernet."""

    def forward(self, x: Tensor, _mix: Mix | None = None) -> Tensor:
        """The operation's output; the mixing weights are not looked at."""
        (operation,) = self.values()
        output: Tensor = operation(x)
        return output


class Mixture(nn.ModuleDict):
    """All alternatives of a choice, added up with the weights of that choice (Liu et al. 2019, equation 2)."""

    def __init__(self, name: str, alternatives: Mapping[str, nn.Module]) -> None:
        super().__init__(alternatives)
        self.name = name

    def forward(self, x: Tensor, mix: Mix) -> Tensor:
        """The weighted sum. `none` is not computed: it adds zero, whatever its weight, and 0 x NaN would be NaN."""
        terms: list[Tensor] = [
            weight * operation(x)
            for weight, operation in zip(mix[self.name].unbind(), self.values(), strict=True)
            if not isinstance(operation, Zero)
        ]
        return reduce(torch.add, terms)


class Fixed:
    """Builds one architecture. `asked` are the names of the choices that the network has asked for."""

    def __init__(self, architecture: Architecture) -> None:
        self.architecture = architecture
        self.asked: set[str] = set()

    def operation(self, name: str, alternatives: Alternatives) -> nn.Module:
        """The chosen operation alone."""
        self.asked.add(name)
        value = str(self.architecture[name])
        return Chosen({value: alternatives[value]()})

    def inputs(self, name: str, count: int, keep: int) -> tuple[int, ...]:
        """The chosen predecessors."""
        self.asked.add(name)
        value = self.architecture[name]
        if not isinstance(value, tuple) or len(value) != keep or not set(value) <= set(range(count)):
            raise ValueError(f"{name} must be {keep} of {count} predecessors, but got {value!r}")
        return value


class Super:
    """Builds the supernet: every operation on every edge."""

    def operation(self, name: str, alternatives: Alternatives) -> nn.Module:
        """A mixture of all alternatives."""
        return Mixture(name, {key: build() for key, build in alternatives.items()})

    def inputs(self, name: str, count: int, keep: int) -> tuple[int, ...]:  # noqa: ARG002 - the same for every choice
        """All predecessors."""
        return tuple(range(count))


class Trace:
    """Records what a network asks for: the alternatives of each choice by name. The network cannot be run.

    Raises ValueError where the same name is asked with other alternatives.
    """

    def __init__(self) -> None:
        self.asked: dict[str, tuple[ChoiceValue, ...]] = {}

    def operation(self, name: str, alternatives: Alternatives) -> nn.Module:
        """Nothing that could be run."""
        self._record(name, tuple(alternatives))
        return nn.Module()

    def inputs(self, name: str, count: int, keep: int) -> tuple[int, ...]:
        """All predecessors, so that what each of them leads to is asked as well."""
        self._record(name, tuple(combinations(range(count), keep)))
        return tuple(range(count))

    def _record(self, name: str, options: tuple[ChoiceValue, ...]) -> None:
        if self.asked.setdefault(name, options) != options:
            raise ValueError(f"{name} must always be asked alike, but got {options!r} after {self.asked[name]!r}")
