"""What a training that can be interrupted promises. No training itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

JSON = None | bool | int | float | str | Sequence["JSON"] | Mapping[str, "JSON"]
State = tuple[dict[str, Tensor], dict[str, JSON]]
"""Tensors by name, and the rest as JSON. It is written with safetensors, never pickled."""
ShouldStop = Callable[[], bool]


class Resumable(Protocol):
    """Something whose state can be saved between any two steps; going on from it is bit-equal to never stopping."""

    def state(self) -> State:
        """Everything that the next step depends on. The tensors may be the live ones: save before the next step."""
        ...

    def load(self, state: State) -> None:
        """Go on from a state. ValueError names what does not fit."""
        ...


@dataclass(frozen=True)
class EpochReport:
    """What one epoch came to, over the examples that it trained on. values: the task's metrics by name."""

    epoch: int  # epochs trained, this one included
    loss: float
    values: Mapping[str, float]


class EpochTraining(Resumable, Protocol):
    """Training in epochs that can be left between any two steps."""

    epoch: int
    """Epochs trained in full; the index of the next one."""

    def run_epoch(self, should_stop: ShouldStop) -> EpochReport | None:
        """Train to the end of the epoch; should_stop is asked before every step.

        None where it said yes: state() holds the place, and the next call goes on there.
        """
        ...
