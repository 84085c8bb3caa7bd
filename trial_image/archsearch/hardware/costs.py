"""Costs as a sum over choices: of an architecture, and differentiable in the probabilities of the choices.

A table is fitted to whole networks, so that what operations cost in each other's company is in it, and it works on
any space. It says how far it is off on networks that it was not fitted to.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Annotated, Final, Literal

import numpy as np
import torch
from pydantic import Field, FiniteFloat, StringConstraints
from torch import Tensor

from archsearch.api.base import ChoiceValue, Model
from archsearch.networks import Mix, Sparse
from archsearch.spaces import Architecture, Choice, Space
from archsearch.spaces.choice import members

RIDGE: Final = 1e-6
HELD_OUT: Final = 5
"""One network in so many is not fitted to: the table is judged by it."""


class CostTable(Model):
    """What each option of each choice adds to a metric of the whole network."""

    version: Literal[1] = 1
    metric: Annotated[str, StringConstraints(max_length=64)]
    """`latencyMs`, `parameters`, `flops` or `activationMiB`."""
    space: Annotated[str, StringConstraints(max_length=64)]
    """The hash of the space."""
    shape: tuple[int, ...]
    """Of a network's first input: of images channels, height and width."""
    device: str = ""
    """What it was measured on; empty for what is counted."""
    runtime: str = ""
    """What ran the networks."""
    batch_size: Annotated[int, Field(ge=1)] = 1
    """Examples at once."""
    source: str = ""
    """Where the figures are from, and under which licence, where others have published them."""
    networks: Annotated[int, Field(ge=0)]
    """Networks that were measured; 0 where layers were measured on their own."""
    error: FiniteFloat | None = None
    """Mean absolute error on networks that it was not fitted to, as a share of their value; None where nobody knows."""
    fixed: FiniteFloat
    """What every network costs."""
    costs: dict[str, dict[str, FiniteFloat]]
    """By choice and option (as JSON), what it adds where it is chosen."""

    def of(self, architecture: Architecture) -> float:
        """The cost of an architecture. ValueError where the table lacks a choice or an option."""
        return self.fixed + sum(self._cost(name, value) for name, value in architecture.values.items())

    def scaled(self, factor: float) -> CostTable:
        """The table of a metric that is so many times as large."""
        costs = {name: {option: factor * cost for option, cost in row.items()} for name, row in self.costs.items()}
        return self.model_copy(update={"fixed": factor * self.fixed, "costs": costs})

    def expected(self, space: Space, mix: Mix) -> Tensor:
        """The expected cost where every choice is drawn on its own with the probabilities that the mix has for it.

        Differentiable in the mix's tensors. A plain value has probability 1. A choice of inputs that the mix does not
        weigh is uniform. Extra options, such as `none`, cost nothing.
        """
        like = next((_weights(value) for value in mix.values() if isinstance(value, (Tensor, Sparse))), torch.zeros(1))
        active: dict[str, Tensor] = {}
        total = like.new_full((), self.fixed)
        for choice in space.choices:
            active[choice.name] = _active(space, choice, active, mix, like)
            given = probabilities(choice, mix, like)
            costs = like.new_tensor([self._cost(choice.name, option) for option in choice.options])
            total = total + active[choice.name] * (given[: len(costs)] * costs).sum()
        return total

    def _cost(self, name: str, value: ChoiceValue) -> float:
        try:
            return self.costs[name][json.dumps(value)]
        except KeyError:
            raise ValueError(f"the table of {self.metric} must have {name} = {value!r}, but does not") from None


def accuracy_text(table: CostTable) -> str:
    """How far the table can be trusted, for a person."""
    if table.error is None:
        return f"from {table.source or 'figures of single layers'}; how far it is off whole networks is not known"
    return f"from {table.networks} networks, off by {table.error:.1%} on those that it was not fitted to"


def fit(
    space: Space,
    measure: Callable[[Architecture], float],
    networks: int,
    *,
    metric: str,
    shape: tuple[int, ...],
    seed: int = 0,
    device: str = "",
    runtime: str = "",
    batch_size: int = 1,
) -> CostTable:
    """Measure so many random networks of the space and fit what each option adds, by least squares.

    Options that never occurred together with others cost the mean. ValueError for fewer than ten networks.
    """
    if networks < 10:
        raise ValueError(f"networks must be at least 10, but got {networks}")
    rng = np.random.default_rng(seed)
    architectures = [_varied(space, rng) for _ in range(networks)]
    values = np.array([measure(architecture) for architecture in architectures])
    rows = np.stack([space.one_hot(architecture) for architecture in architectures])
    held_out = np.arange(networks) % HELD_OUT == 0
    offset, weights = _least_squares(rows[~held_out], values[~held_out])
    guess = offset + rows[held_out] @ weights
    error = float(np.mean(np.abs(guess - values[held_out]) / np.maximum(np.abs(values[held_out]), 1e-12)))
    offset, weights = _least_squares(rows, values)
    columns = iter(weights.tolist())
    costs = {
        choice.name: {json.dumps(option): float(next(columns)) for option in choice.options} for choice in space.choices
    }
    return CostTable(
        metric=metric, space=space.hash(), shape=shape, device=device, runtime=runtime, batch_size=batch_size,
        networks=networks, error=error, fixed=float(offset), costs=costs,
    )  # fmt: skip


def probabilities(choice: Choice, mix: Mix, like: Tensor) -> Tensor:
    """Of each option of a choice, (options,), as the mix has them; uniform where it says nothing."""
    value = mix.get(choice.name)
    if value is None or (choice.is_subset and isinstance(value, (Tensor, Sparse))):
        return like.new_full((len(choice.options),), 1 / len(choice.options))
    if isinstance(value, (Tensor, Sparse)):
        return _weights(value)
    return like.new_tensor([float(option == value) for option in choice.options])


def _weights(value: Tensor | Sparse) -> Tensor:
    return value.weights if isinstance(value, Sparse) else value


def _active(space: Space, choice: Choice, active: Mapping[str, Tensor], mix: Mix, like: Tensor) -> Tensor:
    """The probability that a choice is to be made. What opens it must exclude each other, as it does in a path."""
    if not choice.when:
        return like.new_ones(())
    total = like.new_zeros(())
    for name, wanted in choice.when:
        parent = space.choice(name)
        opens = like.new_tensor([float(wanted in members(option)) for option in parent.options])
        given = probabilities(parent, mix, like)[: len(parent.options)]
        total = total + active[name] * (given * opens).sum()
    return total.clamp(max=1.0)


def _varied(space: Space, rng: np.random.Generator) -> Architecture:
    """An architecture that has each option as often as any other where it can be chosen.

    A draw that is uniform over architectures would hardly ever take the options that open little, such as a small
    depth, and what these cost would not be known.
    """
    values: dict[str, ChoiceValue] = {}
    for choice in space.choices:
        if choice.active(values):
            values[choice.name] = choice.options[int(rng.integers(len(choice.options)))]
    return space.architecture(values)


def _least_squares(rows: np.ndarray, values: np.ndarray) -> tuple[float, np.ndarray]:
    mean, centre = rows.mean(0), values.mean()
    gram = (rows - mean).T @ (rows - mean)
    gram[np.diag_indices_from(gram)] += RIDGE * len(rows)
    weights = np.linalg.solve(gram, (rows - mean).T @ (values - centre))
    return float(centre - mean @ weights), weights
