"""From mixing weights to an architecture."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import cast

from torch import Tensor

from archsearch.api.base import ChoiceValue
from archsearch.spaces import Architecture, Choice, Space

Derivation = Callable[[Space, Mapping[str, Tensor]], Architecture]
"""The architecture that a supernet's mixing weights stand for."""


def derive(space: Space, mix: Mapping[str, Tensor]) -> Architecture:
    """The strongest operations on the strongest edges (Liu et al. 2019, section 2.4).

    On every edge the operation with the largest weight, and for every node the inputs whose edges have the largest
    such weight. Extra options, DARTS' `none`, take part in the softmax but are never chosen and lend no strength.
    Between equals the first option wins. Where a space has no choice of inputs, this is the argmax of every edge.
    """
    values: dict[str, ChoiceValue] = {}
    strength: dict[tuple[str, str | int], float] = {}
    for choice in space.choices:
        if choice.is_subset:
            continue
        # The options come first among the alternatives.
        weights = mix[choice.name].tolist()[: len(choice.options)]
        largest = max(weights)
        values[choice.name] = choice.options[weights.index(largest)]
        for edge in choice.when:
            strength[edge] = max(largest, strength.get(edge, 0.0))

    for choice in space.choices:
        if choice.is_subset:
            values[choice.name] = max(choice.options, key=partial(_total, strength, choice))
    return space.architecture(values)


def _total(strength: Mapping[tuple[str, str | int], float], choice: Choice, members: ChoiceValue) -> float:
    return sum(strength.get((choice.name, member), 0.0) for member in cast("tuple[int, ...]", members))
