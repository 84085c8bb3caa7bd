"""What a searcher is: a function from what is known to the next proposal. It owns no process, data or clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from archsearch.spaces import Architecture


@dataclass(frozen=True)
class Proposal:
    """An architecture to evaluate. fidelity: the share of the full training, above 0 and at most 1."""

    architecture: Architecture
    fidelity: float = 1.0


@dataclass(frozen=True)
class Result:
    """How a proposal turned out.

    scores: the objectives in order of importance, each turned so that larger is better; None: no result.
    excess: for each constraint, by what share of the limit the measured value is beyond it, negative where it is kept;
    None where it was not measured. A result may have these and no scores: what is beyond a limit is not trained.
    seconds: what the evaluation took; None where that is not known.
    """

    proposal: Proposal
    scores: tuple[float, ...] | None
    excess: tuple[float | None, ...] = ()
    seconds: float | None = None

    @property
    def architecture(self) -> Architecture:
        """The architecture that was evaluated."""
        return self.proposal.architecture

    @property
    def beyond(self) -> bool:
        """Whether a measured value is beyond a limit."""
        return any(part is not None and part > 0 for part in self.excess)

    @property
    def feasible(self) -> bool:
        """Whether there is a result and no measured value is beyond a limit."""
        return self.scores is not None and not self.beyond

    @property
    def value(self) -> float | None:
        """The first objective, the larger the better; None where there is no result, or one beyond a limit."""
        return self.scores[0] if self.scores is not None and self.feasible else None


@dataclass(frozen=True)
class Untrained:
    """What is known of an architecture before the search begins. scores: at initialisation, by name; none of one that
    is beyond a limit."""

    architecture: Architecture
    scores: Mapping[str, float]


@dataclass(frozen=True)
class Evidence:
    """What is known when the next proposal is made.

    index: proposals made before this one, which numbers it.
    results: finished proposals in the order of completion, failures included.
    pending: proposals that are not finished, in the order in which they were made.
    proposed: by the id of each architecture that was proposed the largest fidelity that was, so that nothing is
    proposed twice.
    untrained: architectures that were scored before the search; the same in all evidence of a search.
    """

    index: int
    results: Sequence[Result]
    pending: Sequence[Proposal]
    proposed: Mapping[str, float]
    untrained: Sequence[Untrained] = ()


class Searcher(Protocol):
    """Proposes architectures.

    The same evidence and seed give the same proposal, in any process: replaying a history repeats a search. A searcher
    may remember what it has computed from a history, as long as a new one computes the same.
    A failed or infeasible result is evidence too and must never make a searcher wait.
    """

    def ask(self, evidence: Evidence) -> Proposal | None:
        """The next proposal: an architecture that was not proposed before, or not at this fidelity or a larger one.

        None when the space has no other.
        """
        ...


def generator(seed: int, index: int) -> np.random.Generator:
    """The random numbers of proposal `index`: the same whichever process makes it, and whatever came before."""
    return np.random.default_rng([seed, index])


def check_fidelities(fidelities: Sequence[float]) -> None:
    """Raises ValueError unless the shares of the full training ascend to all of it."""
    if not fidelities or fidelities[-1] != 1 or list(fidelities) != sorted(set(fidelities)):
        raise ValueError(f"fidelities must ascend to 1, but got {list(fidelities)}")
