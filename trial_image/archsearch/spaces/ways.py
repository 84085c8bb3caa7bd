"""Counting and numbering the ways to make choices that open other choices, without listing them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from operator import itemgetter

from archsearch.api.base import ChoiceValue
from archsearch.spaces.choice import Choice, members

Open = frozenset[str]
"""Names of later choices that the values made so far have opened."""


class Ways:
    """All ways to make the choices, one after the other, where some are fixed already.

    choices: each declared after those it depends on. fixed: values that are kept wherever their choice is active.
    What is left to choose depends on the choices made so far only through what they have opened, so that the ways are
    counted once for each place and each set of open choices: any number of choices may open the same one.
    """

    def __init__(self, choices: Sequence[Choice], fixed: Mapping[str, ChoiceValue] | None = None) -> None:
        self._choices = choices
        self._fixed = fixed or {}
        self._counts: dict[tuple[int, Open], int] = {}

    def of(self) -> int:
        """How many there are."""
        return self._count(0, frozenset())

    def at(self, index: int) -> dict[str, ChoiceValue]:
        """The values of the active choices in way number `index`, from 0 to of() - 1."""
        values: dict[str, ChoiceValue] = {}
        opened: Open = frozenset()
        for position, choice in enumerate(self._choices):
            for option, then in self._options(position, choice, opened):
                count = self._count(position + 1, then)
                if index < count:
                    if option is not None:
                        values[choice.name] = option
                    opened = then
                    break
                index -= count
        return values

    def best(self, score: Callable[[str, ChoiceValue], float]) -> dict[str, ChoiceValue]:
        """The values of the way whose scores add up to most; between equals the first.

        score: of a choice's name and one of its options.
        """
        totals: dict[tuple[int, Open], tuple[float, ChoiceValue | None, Open]] = {}

        def total(position: int, opened: Open) -> float:
            if position == len(self._choices):
                return 0.0
            if (position, opened) not in totals:
                choice = self._choices[position]
                totals[position, opened] = max(
                    (
                        (
                            (0.0 if option is None else score(choice.name, option)) + total(position + 1, then),
                            option,
                            then,
                        )
                        for option, then in self._options(position, choice, opened)
                    ),
                    key=itemgetter(0),
                )
            return totals[position, opened][0]

        total(0, frozenset())
        values: dict[str, ChoiceValue] = {}
        opened: Open = frozenset()
        for position, choice in enumerate(self._choices):
            _, option, opened = totals[position, opened]
            if option is not None:
                values[choice.name] = option
        return values

    def rank(self, values: Mapping[str, ChoiceValue]) -> int:
        """The number of the way with these values: at(rank(values)) is the same. They must be a whole way."""
        rank, opened = 0, frozenset[str]()
        for position, choice in enumerate(self._choices):
            for option, then in self._options(position, choice, opened):
                if option is None or option == values[choice.name]:
                    opened = then
                    break
                rank += self._count(position + 1, then)
        return rank

    def _count(self, position: int, opened: Open) -> int:
        if position == len(self._choices):
            return 1
        key = (position, opened)
        if key not in self._counts:
            options = self._options(position, self._choices[position], opened)
            self._counts[key] = sum(self._count(position + 1, then) for _, then in options)
        return self._counts[key]

    def _options(self, position: int, choice: Choice, opened: Open) -> list[tuple[ChoiceValue | None, Open]]:
        """What can be chosen here, and what is open afterwards; None where the choice is not to be made."""
        if choice.when and choice.name not in opened:
            return [(None, opened)]
        left = opened - {choice.name}
        opens = self._opens[position]
        options = (self._fixed[choice.name],) if choice.name in self._fixed else choice.options
        return [
            (option, left.union(*(opens[member] for member in members(option) if member in opens)) if opens else left)
            for option in options
        ]

    @cached_property
    def _opens(self) -> list[dict[str | int, Open]]:
        """For each choice, by the value or member of a set, the choices that it opens."""
        opens: dict[str, dict[str | int, Open]] = {choice.name: {} for choice in self._choices}
        for choice in self._choices:
            for name, wanted in choice.when:
                opens[name][wanted] = opens[name].get(wanted, frozenset()) | {choice.name}
        return [opens[choice.name] for choice in self._choices]
