"""Choosers: what a network asks while it is built, so that one piece of code gives a fixed network and the supernet."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Protocol

from torch import Tensor, nn

from archsearch.api.base import ChoiceValue
from archsearch.networks.mixture import AuxiliarySkip, Mix, Mixture, PartialChannels, Sparse
from archsearch.networks.operations import SKIP
from archsearch.spaces import Architecture, Space

__all__ = [
    "Alternatives", "Chooser", "Chosen", "Fixed", "Mix", "Mixture", "Number", "Sparse", "Super", "Trace", "connected",
]  # fmt: skip


@dataclass(frozen=True)
class Alternatives:
    """The operations that could stand in a place, by name, in the order of the choice's alternatives.

    build: makes each of them for so many channels. channels, stride: of the place; an operation that changes the number
    of channels has None, and cannot run on a part of them.
    """

    build: Mapping[str, Callable[[int], nn.Module]]
    channels: int | None
    stride: int = 1

    def make(self, name: str, share: int = 1) -> nn.Module:
        """One of them, for one in `share` of the place's channels."""
        return self.build[name]((self.channels or 0) // share)


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
        """Its value in this pass. Raises TypeError where the mix has several."""
        shares = self.shares(mix)
        if len(shares) > 1:
            raise TypeError(f"{self.name} must be one number in a mix, but got weights of {list(shares)}")
        (value,) = shares
        return value

    def shares(self, mix: Mix | None) -> dict[int, Tensor | float]:
        """The values that count in this pass, and the mixing weight of each: 1.0 where there is no other."""
        if len(self.values) == 1:
            return {self.values[0]: 1.0}
        chosen = mix[self.name] if mix else None
        if isinstance(chosen, int):
            return {chosen: 1.0}
        weights = chosen.weights if isinstance(chosen, Sparse) else chosen
        if not isinstance(weights, Tensor):
            raise TypeError(f"{self.name} must be a number or weights in a mix, but got {chosen!r}")
        if weights.shape != (len(self.values),):
            raise ValueError(f"{self.name} must have {len(self.values)} weights, but got {tuple(weights.shape)}")
        active = chosen.active if isinstance(chosen, Sparse) else range(len(self.values))
        each: Sequence[Tensor] = weights.unbind()
        return {self.values[at]: each[at] for at in active}


class Chosen(nn.ModuleDict):
    """A single operation. It is called by its name, so that its parameters are named as they are in the supernet."""

    def forward(self, x: Tensor, _mix: Mix | None = None) -> Tensor:
        """The operation's output; the mix is not looked at."""
        (operation,) = self.values()
        output: Tensor = operation(x)
        return output


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
    """Builds the supernet: every operation on every edge.

    space: of the choices' alternatives, which may be fewer than the network has. partial_channels: mix one in so many
    of an edge's channels. auxiliary_skip: a skip connection beside every mixture, where the network has skips.
    Raises ValueError where an edge's channels cannot be divided.
    """

    def __init__(self, space: Space, *, partial_channels: int = 1, auxiliary_skip: bool = False) -> None:
        self._alternatives = {choice.name: choice.alternatives for choice in space.choices}
        self._share, self._auxiliary_skip = partial_channels, auxiliary_skip

    def operation(self, name: str, alternatives: Alternatives) -> nn.Module:
        """A mixture of all alternatives."""
        share = self._share if alternatives.channels else 1
        # What strides halves its channels on the way.
        if share > 1 and (alternatives.channels or 0) % (share * alternatives.stride):
            raise ValueError(
                f"partialChannels must divide an edge's channels ({alternatives.channels}) into even parts, "
                f"but got {share}"
            )
        mixture = Mixture(name, {str(key): alternatives.make(str(key), share) for key in self._alternatives[name]})
        mixed = PartialChannels(mixture, share, alternatives.stride) if share > 1 else mixture
        skips = self._auxiliary_skip and SKIP in alternatives.build
        return AuxiliarySkip(mixed, alternatives.make(SKIP)) if skips else mixed

    def inputs(self, name: str, count: int, keep: int) -> tuple[int, ...]:  # noqa: ARG002 - the same for every choice
        """All predecessors."""
        return tuple(range(count))

    def number(self, name: str, values: Sequence[int]) -> Number:
        """All numbers of the space."""
        return Number(name, tuple(value for value in values if value in self._alternatives[name]))


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
