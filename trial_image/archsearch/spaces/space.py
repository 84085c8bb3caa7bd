"""A space: the choices that make an architecture, and everything that can be done with them without building a network.

All randomness comes from the generator that is passed in; equal generators give equal architectures.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from archsearch.api.base import ChoiceValue, Model
from archsearch.spaces.architecture import Architecture, InvalidArchitecture
from archsearch.spaces.choice import Choice, members
from archsearch.spaces.graph import Graph, chains, paths
from archsearch.spaces.ways import Ways


@dataclass(frozen=True)
class Space:
    """Named choices, each declared after the choice that it depends on.

    settings: what the networks of the space are built from.
    graph: the cells of an architecture as labelled graphs; None where the space has no such form.
    mixable: whether a supernet can run all alternatives at once, weighted, as differentiable search does; otherwise
    only one architecture at a time.
    Raises ValueError for a choice that is declared twice, or that depends on what is not declared before it.
    """

    name: str
    choices: tuple[Choice, ...]
    settings: Model
    graph: Callable[[Architecture], Graph] | None = field(default=None, compare=False)
    mixable: bool = True

    def __post_init__(self) -> None:
        before: dict[str, set[str | int]] = {}
        for choice in self.choices:
            if choice.name in before:
                raise ValueError(f"space {self.name} must declare every choice once, but got {choice.name} twice")
            for name, wanted in choice.when:
                if wanted not in before.get(name, ()):
                    raise ValueError(
                        f"choice {choice.name} must depend on a value of a choice that is declared before it, "
                        f"but got {wanted!r} of {name}"
                    )
            before[choice.name] = {member for option in choice.options for member in members(option)}

    def size(self) -> int:
        """How many architectures there are."""
        return self._ways.of()

    def hash(self) -> str:
        """12 hexadecimal digits: equal where the choices and the networks built from them are."""
        settings = self.settings.wire()
        choices = [[choice.name, choice.options, choice.when, choice.extra] for choice in self.choices]
        text = json.dumps([self.name, choices, settings], sort_keys=True, separators=(",", ":"))
        return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()[:12]

    def architecture(self, values: Mapping[str, Any]) -> Architecture:
        """The architecture that a mapping stands for. Values of choices that are not active are dropped.

        Lists stand for tuples, as JSON has none. Raises InvalidArchitecture for a name that is not declared, an
        active choice without a value, or a value that is not one of the options.
        """
        for name in values:
            if name not in self._by_name:
                raise InvalidArchitecture(f"{name!s:.80} is no choice of {self.name}, but got {_show(values[name])}")
        kept: dict[str, ChoiceValue] = {}
        for choice in self.choices:
            if not choice.active(kept):
                continue
            if choice.name not in values:
                raise InvalidArchitecture(f"{choice.name} must be one of {_show(choice.options)}, but is missing")
            kept[choice.name] = _option(choice, values[choice.name])
        return Architecture(kept)

    def at(self, index: int) -> Architecture:
        """The architecture of this number, from 0 to size() - 1: every architecture has exactly one.

        Raises IndexError outside that range.
        """
        if not 0 <= index < self.size():
            raise IndexError(f"index must be between 0 and {self.size() - 1}, but got {index}")
        return Architecture(self._ways.at(index))

    def rank(self, architecture: Architecture) -> int:
        """The architecture's number: at(rank(architecture)) is the same architecture."""
        return self._ways.rank(architecture.values)

    def sample(self, rng: np.random.Generator) -> Architecture:
        """An architecture drawn uniformly over architectures.

        Its number is drawn, not its choices one by one: where the options of a choice open parts of different size,
        drawing choices uniformly would prefer the architectures of the small part.
        """
        return self.at(_below(self.size(), rng))

    def mutate(self, architecture: Architecture, rng: np.random.Generator) -> Architecture:
        """A copy in which exactly one choice is different; what the parent has not chosen is drawn, uniformly.

        The choice is drawn uniformly from the active ones that can change, then the option from `Choice.changes`. All
        others that the copy has as well keep their value, even one that is closed by the change and opened again by
        what is drawn: so being a neighbour is symmetric.
        Unlike in Real et al. (2019, section 3), the operation on a new input is drawn anew, because it is a choice of
        its own. Raises ValueError where no choice can change.
        """
        candidates = [
            (choice, options)
            for choice in self.choices
            if choice.name in architecture.values and (options := choice.changes(architecture[choice.name]))
        ]
        if not candidates:
            raise ValueError(f"space {self.name} must have a choice with two options to mutate, but has none")
        choice, options = candidates[rng.integers(len(candidates))]
        option = options[rng.integers(len(options))]
        values = {**architecture.values, choice.name: option}
        if choice.name not in self._deciding:
            _below(1, rng)  # the number that the only way would be drawn with: what is drawn after it stays the same
            return Architecture(values)
        ways = Ways(self.choices, values)
        return Architecture(ways.at(_below(ways.of(), rng)))

    def neighbours(self, architecture: Architecture) -> Iterator[Architecture]:
        """Every architecture that a mutation can give, once, in a fixed order. Being a neighbour is symmetric."""
        for choice in self.choices:
            if choice.name not in architecture.values:
                continue
            for option in choice.changes(architecture[choice.name]):
                ways = Ways(self.choices, {**architecture.values, choice.name: option})
                yield from (Architecture(ways.at(index)) for index in range(ways.of()))

    def crossover(self, first: Architecture, second: Architecture, rng: np.random.Generator) -> Architecture:
        """A child that has every choice from one of its parents, with equal chance where both have made it.

        Nothing has to be drawn: a choice is active in the child only if it is in the parent that activated it.
        """
        values: dict[str, ChoiceValue] = {}
        for choice in self.choices:
            if choice.active(values):
                parents = [parent for parent in (first, second) if choice.name in parent.values]
                values[choice.name] = parents[rng.integers(len(parents))][choice.name]
        return Architecture(values)

    def one_hot(self, architecture: Architecture) -> NDArray[np.float64]:
        """A column for each option of each choice, 1 where the architecture holds it; choices not active are all 0."""
        return np.array(
            [
                float(architecture.values.get(choice.name) == option)
                for choice in self.choices
                for option in choice.options
            ]
        )

    def paths(self, architecture: Architecture) -> frozenset[str]:
        """The ways through its cells, or its choices where it has no cells: the path encoding."""
        if self.graph is not None:
            return paths(self.graph(architecture))
        return frozenset(_choices(architecture))

    def chains(self, architecture: Architecture) -> Counter[str]:
        """What its cells compute, or its choices where it has no cells: what a structural kernel compares."""
        return Counter(_choices(architecture)) if self.graph is None else chains(self.graph(architecture))

    def choice(self, name: str) -> Choice:
        """The choice of this name. Raises KeyError where there is none."""
        return self._by_name[name]

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """The ids of all architectures by their number. Made once, and only for a space that can be listed."""
        return tuple(self.at(number).id for number in range(self.size()))

    @cached_property
    def _deciding(self) -> frozenset[str]:
        """The names of the choices that others depend on."""
        return frozenset(name for choice in self.choices for name, _ in choice.when)

    @cached_property
    def _by_name(self) -> dict[str, Choice]:
        return {choice.name: choice for choice in self.choices}

    @cached_property
    def _ways(self) -> Ways:
        return Ways(self.choices)


def _below(limit: int, rng: np.random.Generator) -> int:
    """A whole number from 0 to limit - 1, uniformly. numpy's own stops at 2^64, and spaces are larger."""
    bits = (limit - 1).bit_length()
    length = (bits + 7) // 8
    while True:
        number = int.from_bytes(rng.bytes(length), "big") >> (8 * length - bits)
        if number < limit:
            return number


def _choices(architecture: Architecture) -> list[str]:
    return [f"{name}:{value}" for name, value in architecture.values.items()]


def _option(choice: Choice, value: Any) -> ChoiceValue:
    given = tuple(value) if isinstance(value, list) else value
    for option in choice.options:
        # The type counts: True is not the number 1.
        if type(given) is type(option) and given == option:
            return option
    raise InvalidArchitecture(f"{choice.name} must be one of {_show(choice.options)}, but got {_show(value)}")


def _show(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}..."
