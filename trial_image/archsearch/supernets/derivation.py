"""From mixing weights to an architecture. DARTS-PT, which asks the supernet, is in `projection`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import groupby
from typing import cast

import torch
from torch import Tensor

from archsearch.api.base import ChoiceValue
from archsearch.networks.operations import SKIP
from archsearch.spaces import Architecture, Choice, Space
from archsearch.spaces.ways import Ways

Derivation = Callable[[Space, Mapping[str, Tensor]], Architecture]
"""The architecture that a supernet's mixing weights stand for.

The weights are those of the alternatives of each choice; of a choice of inputs those of each predecessor, or none.
"""

Allowed = Callable[[Architecture], bool]
"""Whether an architecture keeps the limits on what it may cost."""


def anything(_architecture: Architecture) -> bool:
    """There are no limits."""
    return True


def top_edges(space: Space, mix: Mapping[str, Tensor], max_skips: int | None = None) -> Architecture:
    """The strongest operations on the strongest edges (Liu et al. 2019, section 2.4).

    On every edge the operation with the largest weight, and for every node the inputs whose edges have the largest
    such weight, each times the weight of the input where there is one (Xu et al. 2020). Extra options,
    DARTS' `none`, take part in the softmax but are never chosen and lend no strength. Between equals the first option
    wins. Where a space has no choice of inputs, this is the argmax of every choice.

    max_skips: of each cell. The weakest skip connections of a cell with more lose their weight, one after the other,
    and the cell is read off again (Chen et al. 2019, section 3.3.2).
    """
    weights = {c.name: _options(c, mix[c.name]) for c in space.choices if not c.is_subset}
    while True:
        derived = _strongest(space, weights, mix)
        weakest = None if max_skips is None else _weakest_skip(space, weights, derived, max_skips)
        if weakest is None:
            return derived
        choice = next(choice for choice in space.choices if choice.name == weakest)
        weights[weakest][choice.options.index(SKIP)] = -math.inf


def threshold(space: Space, mix: Mapping[str, Tensor], least: float, none: str = "none") -> Architecture:
    """As `top_edges`, and `none` where it is an option and no operation has at least this weight (Chu et al. 2020).

    Where `none` is no option a node keeps its number of inputs, and those that are strong come first anyway.
    """
    derived = dict(top_edges(space, mix).values)
    for choice in space.choices:
        if choice.name in derived and none in choice.options and max(_options(choice, mix[choice.name])) < least:
            derived[choice.name] = none
    return space.architecture(derived)


def most_probable(space: Space, mix: Mapping[str, Tensor]) -> Architecture:
    """The architecture whose active choices have the largest product of weights, by dynamic programming.

    On a trellis of resolutions this is the Viterbi path (Liu et al. 2019, Auto-DeepLab, section 4.3). A choice of
    inputs has the product of its members' weights, in proportion to its other options, or all are alike.
    """
    scores = {choice.name: _log_probabilities(choice, mix) for choice in space.choices}
    return Architecture(Ways(space.choices).best(lambda name, value: scores[name][value]))


def sample(space: Space, mix: Mapping[str, Tensor], count: int, generator: torch.Generator) -> tuple[Architecture, ...]:
    """Architectures drawn from the weights, each choice in proportion, without what is drawn twice (Wu et al. 2019).

    A set of inputs is drawn by the product of the strengths of its edges, as `top_edges` compares them.
    """
    strength = _strength(space, {c.name: _options(c, mix[c.name]) for c in space.choices if not c.is_subset}, mix)
    drawn: dict[Architecture, None] = {}
    for _ in range(count):
        values: dict[str, ChoiceValue] = {}
        for choice in space.choices:
            if not choice.active(values):
                continue
            if choice.is_subset:
                weights = [math.prod(_members(strength, choice, option)) for option in choice.options]
            else:
                weights = _options(choice, mix[choice.name])
            place = torch.multinomial(torch.tensor(weights, dtype=torch.float64), 1, generator=generator)
            values[choice.name] = choice.options[int(place)]
        drawn[Architecture(values)] = None
    return tuple(drawn)


def cell_of(space: Space, name: str) -> str:
    """The cell that a choice belongs to: `normal` of `normal/2/0`. Where there are no cells all is one."""
    return name.partition("/")[0] if space.graph else ""


def _options(choice: Choice, weights: Tensor) -> list[float]:
    """Weights of what can be chosen; these come first among the alternatives."""
    found: list[float] = weights.tolist()
    return found[: len(choice.options)]


def _strongest(space: Space, weights: Mapping[str, list[float]], mix: Mapping[str, Tensor]) -> Architecture:
    values: dict[str, ChoiceValue] = {}
    strength = _strength(space, weights, mix)
    for choice in space.choices:
        if choice.is_subset:
            values[choice.name] = max(choice.options, key=partial(_total, strength, choice))
        else:
            own = weights[choice.name]
            values[choice.name] = choice.options[own.index(max(own))]
    return space.architecture(values)


def _strength(
    space: Space, weights: Mapping[str, list[float]], mix: Mapping[str, Tensor]
) -> dict[tuple[str, str | int], float]:
    """Of each value that opens a choice, the largest weight that it opens, times its own where it has one."""
    strength: dict[tuple[str, str | int], float] = {}
    inputs = {c.name: mix[c.name].tolist() for c in space.choices if c.is_subset and c.name in mix}
    for choice in space.choices:
        if choice.is_subset:
            continue
        for name, value in choice.when:
            own = inputs[name][cast("int", value)] if name in inputs else 1.0
            strength[name, value] = max(own * max(weights[choice.name]), strength.get((name, value), 0.0))
    return strength


def _total(strength: Mapping[tuple[str, str | int], float], choice: Choice, option: ChoiceValue) -> float:
    return sum(_members(strength, choice, option))


def _members(strength: Mapping[tuple[str, str | int], float], choice: Choice, option: ChoiceValue) -> Iterator[float]:
    return (strength.get((choice.name, member), 0.0) for member in cast("tuple[int, ...]", option))


def _weakest_skip(space: Space, weights: Mapping[str, list[float]], derived: Architecture, most: int) -> str | None:
    """The choice of the weakest skip connection of a cell that has too many and could have another operation."""
    options = {choice.name: choice.options for choice in space.choices}
    skips = sorted(name for name, value in derived.values.items() if value == SKIP)
    for _, names in groupby(skips, key=partial(cell_of, space)):
        cell = list(names)
        others = [name for name in cell if len(options[name]) > 1]
        if len(cell) > most and others:
            return min(others, key=lambda name: weights[name][options[name].index(SKIP)])
    return None


def _log_probabilities(choice: Choice, mix: Mapping[str, Tensor]) -> dict[ChoiceValue, float]:
    if choice.name not in mix:
        return dict.fromkeys(choice.options, -math.log(len(choice.options)))
    if not choice.is_subset:
        return {o: _log(w) for o, w in zip(choice.options, _options(choice, mix[choice.name]), strict=True)}
    own: list[float] = mix[choice.name].tolist()
    products = {option: math.prod(own[at] for at in cast("tuple[int, ...]", option)) for option in choice.options}
    total = sum(products.values())
    return {option: _log(product / total) for option, product in products.items()}


def _log(value: float) -> float:
    return math.log(value) if value > 0 else -math.inf
