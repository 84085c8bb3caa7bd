"""A state of a cell as its edges read it, and the gradient that they give back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from archsearch.networks.fused.maps import before_relu, beside, channels_last, mixed, rows
from archsearch.networks.operations import from_odd_pixels

Pixels = Literal["all", "even", "odd"]
"""Those that an operation sees: of even or odd row and column, where it strides."""


class Rectified:
    """A state after ReLU. Every form of it is made once in a pass."""

    def __init__(self, state: Tensor) -> None:
        self.map = torch.relu(state)
        self._made: dict[tuple[Pixels, int], Tensor] = {}

    def read(self, pixels: Pixels, edges: int) -> Tensor:
        """What so many edges read, beside each other."""
        if (pixels, edges) not in self._made:
            self._made[pixels, edges] = beside([self._pixels(pixels)] * edges)
        return self._made[pixels, edges]

    def forget(self) -> None:
        """The pass is over: keep the state alone."""
        self._made.clear()

    def _pixels(self, pixels: Pixels) -> Tensor:
        if pixels == "all":
            return self.map
        return channels_last((self.map if pixels == "even" else from_odd_pixels(self.map))[:, :, ::2, ::2])


class Total:
    """A sum of maps of one shape, and of constants, one a channel, which are added at the end."""

    def __init__(self) -> None:
        self._map: Tensor | None = None
        self._constant: Tensor | None = None

    def add(self, term: Tensor, weight: float = 1.0) -> None:
        """Add a map."""
        if self._map is None:
            self._map = channels_last(term * weight)
        else:
            self._map.add_(term, alpha=weight)

    def give(self, term: Tensor) -> None:
        """Add a map that nobody else looks at: it may become the sum."""
        if self._map is None:
            self._map = term
        else:
            self._map.add_(term)

    def add_product(self, x: Tensor, weight: Tensor, constant: Tensor) -> None:
        """Add a pointwise convolution, with a constant. weight: (outputs, C)."""
        if self._map is None:
            self._map = mixed(x, weight)
        else:
            rows(self._map).addmm_(rows(x), weight.t())
        self._constant = constant if self._constant is None else self._constant + constant

    def close(self) -> Tensor:
        """The sum; nothing is to be added any more."""
        assert self._map is not None  # noqa: S101 - something was added
        return self._map if self._constant is None else self._map.add_(self._constant[:, None, None])


class Collected:
    """The gradient by a state after ReLU, added up over what reads it."""

    def __init__(self) -> None:
        self._sums: dict[Pixels, Tensor] = {}
        self._wide: dict[Pixels, Tensor] = {}

    def add(self, pixels: Pixels, gradient: Tensor, edges: int) -> None:
        """Add what so many edges give, beside each other."""
        first, *others = gradient.chunk(edges, dim=1)
        if pixels in self._sums:
            self._sums[pixels] += first
        elif others:
            self._sums[pixels] = first + others.pop()
        else:
            self._sums[pixels] = first
        for other in others:
            self._sums[pixels] += other

    def grow(self, pixels: Pixels, add: Callable[[Tensor | None], Tensor]) -> None:
        """Add what the edges of a group give, beside each other, to what they gave by other operations."""
        self._wide[pixels] = add(self._wide.get(pixels))

    def fold(self, edges: int) -> None:
        """The group is over: add up its edges."""
        for pixels, wide in self._wide.items():
            self.add(pixels, wide, edges)
        self._wide.clear()

    def total(self, state: Rectified) -> Tensor:
        """The gradient by the state before ReLU."""
        total = self._sums.get("all")
        if total is None:
            total = torch.zeros_like(state.map)
        if "even" in self._sums:
            total[:, :, ::2, ::2] += self._sums["even"]
        if "odd" in self._sums:
            height, width = (size // 2 for size in total.shape[-2:])
            total[:, :, 1::2, 1::2] += self._sums["odd"][:, :, :height, :width]
        return before_relu(total, state.map)
