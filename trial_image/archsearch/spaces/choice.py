"""A choice: one named decision of an architecture, its options, and when it is to be made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from archsearch.api.base import ChoiceValue


@dataclass(frozen=True)
class Choice:
    """One named decision. Equal names are one decision: all normal cells share `normal/2/0`.

    name: short, because it travels in a trial's message: `normal/2/inputs`, `normal/2/0`.
    options: what an architecture may hold; all words, all numbers, or all sets of positions (ascending tuples).
    when: (name of an earlier choice, value) pairs: to be made only where one of these choices has the value, or for a
    choice between sets has the member; empty: always.
    extra: options that only take part in a supernet's mixture and that no architecture holds, such as DARTS' `none`.

    Raises ValueError for a choice without options or with the same option twice.
    """

    name: str
    options: tuple[ChoiceValue, ...]
    when: tuple[tuple[str, str | int], ...] = ()
    extra: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.options:
            raise ValueError(f"choice {self.name} must have an option that an architecture can hold, but has none")
        if len(set(self.alternatives)) != len(self.alternatives):
            raise ValueError(f"choice {self.name} must have every option once, but got {list(self.alternatives)}")

    @property
    def alternatives(self) -> tuple[ChoiceValue, ...]:
        """What a supernet mixes: the options, then the extra ones. Mixing weights come in this order."""
        return (*self.options, *self.extra)

    @property
    def is_subset(self) -> bool:
        """Whether it is a choice between sets of positions, rather than between operations, words or numbers."""
        return isinstance(self.options[0], tuple)

    def changes(self, value: ChoiceValue) -> list[ChoiceValue]:
        """The options that one mutation makes of another one. The relation is symmetric.

        Of a set: those with one member replaced, added or taken away, as in the hidden-state mutation of Real et al.
        (2019, section 3); of anything else: all others.
        """
        others = [option for option in self.options if option != value]
        if not isinstance(value, tuple):
            return others
        return [o for o in others if isinstance(o, tuple) and max(len({*o} - {*value}), len({*value} - {*o})) == 1]

    def active(self, values: Mapping[str, ChoiceValue]) -> bool:
        """Whether it is to be made, given the values of the choices before it."""
        return not self.when or any(name in values and wanted in members(values[name]) for name, wanted in self.when)


def members(value: ChoiceValue) -> tuple[str | int, ...]:
    """What other choices can depend on: the members of a set, or the value itself."""
    return value if isinstance(value, tuple) else (value,)
