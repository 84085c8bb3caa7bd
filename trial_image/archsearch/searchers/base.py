"""What a searcher is: a function from what is known to the next architecture. It owns no process, data or clock."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from archsearch.spaces import Architecture


@dataclass(frozen=True)
class Result:
    """How a proposed architecture turned out. value: the first objective, the larger the better; None: no result."""

    architecture: Architecture
    value: float | None


@dataclass(frozen=True)
class Evidence:
    """What is known when the next architecture is proposed.

    results: finished proposals in the order of completion, failures included.
    pending: proposals that are not finished, in the order in which they were made.
    proposed: the ids of all proposals, so that none is made twice.
    """

    results: Sequence[Result]
    pending: Sequence[Architecture]
    proposed: Container[str]

    @property
    def index(self) -> int:
        """The number of proposals made so far, which is the index of the next one."""
        return len(self.results) + len(self.pending)


class Searcher(Protocol):
    """Proposes architectures.

    The same evidence and seed give the same proposal, in any process: replaying a history repeats a search.
    A failed or infeasible result is evidence too and must never make a searcher wait.
    """

    def ask(self, evidence: Evidence) -> Architecture | None:
        """The next architecture, never one that was proposed before; None when the space has no other."""
        ...


def generator(seed: int, index: int) -> np.random.Generator:
    """The random numbers of proposal `index`: the same whichever process makes it, and whatever came before."""
    return np.random.default_rng([seed, index])
