"""A space of the user's own, from what its spec declares. The network is looked at in the trial image only."""

from __future__ import annotations

from archsearch.api.space import CustomChoice, CustomSpace
from archsearch.spaces.choice import Choice
from archsearch.spaces.space import Space


def custom(settings: CustomSpace) -> Space:
    """The space. Where all options of a choice are whole numbers its values are numbers, otherwise words."""
    numbers = {choice.name for choice in settings.choices if all(option.isdecimal() for option in choice.options)}

    def value(name: str, option: str) -> str | int:
        return int(option) if name in numbers else option

    def made(choice: CustomChoice) -> Choice:
        options = tuple(value(choice.name, option) for option in choice.options)
        when = tuple((condition.choice, value(condition.choice, condition.option)) for condition in choice.when)
        return Choice(choice.name, options, when)

    return Space("custom", tuple(made(choice) for choice in settings.choices), settings, mixable=settings.mixable)
