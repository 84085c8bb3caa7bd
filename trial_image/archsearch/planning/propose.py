"""Asks a search's searcher for the proposals that a plan wants, each with exactly the results it may know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import overload

from archsearch.api.search import ArchitectureSearchSpec
from archsearch.planning.history import Observed
from archsearch.planning.model import Ask
from archsearch.searchers import Evidence, Result, searcher_of
from archsearch.spaces import Architecture, space_of


@dataclass(frozen=True)
class Candidate:
    """A proposal whose trial is open."""

    index: int
    architecture: Architecture


@dataclass(frozen=True)
class _Prefix(Sequence[Result]):
    """The first `length` results, without a copy."""

    results: Sequence[Result]
    length: int

    def __len__(self) -> int:
        return self.length

    @overload
    def __getitem__(self, item: int) -> Result: ...
    @overload
    def __getitem__(self, item: slice) -> Sequence[Result]: ...
    def __getitem__(self, item: int | slice) -> Result | Sequence[Result]:
        if isinstance(item, slice):
            return list(islice(self.results, self.length))[item]
        if not -self.length <= item < self.length:
            raise IndexError(item)
        return self.results[item % self.length]


@dataclass
class Replay:
    """A searcher and all that it has been told, kept so that each further proposal costs the same.

    Made anew from the recorded trials it gives the same proposals: nothing in it is state of its own.
    """

    spec: ArchitectureSearchSpec
    _results: list[Result] = field(default_factory=list)
    _indices: list[int] = field(default_factory=list)
    _proposed: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        if self.spec.space is None or self.spec.algorithm is None:
            raise ValueError("the spec's defaults must be filled in")
        searcher = searcher_of(self.spec.algorithm, space_of(self.spec.space), self.spec.seed)
        if searcher is None:
            raise ValueError(f"{self.spec.algorithm.member[0]} searches inside its trials and proposes nothing")
        self._searcher = searcher

    @property
    def length(self) -> int:
        """Results that were told."""
        return len(self._results)

    def tell(self, observed: Sequence[Observed]) -> None:
        """Take in finished trials in the order of their completion."""
        for item in observed:
            if item.architecture is None:
                raise ValueError(f"trial {item.index} must have an architecture, but got none")
            self._results.append(Result(item.architecture, item.value))
            self._indices.append(item.index)
            self._proposed.add(item.architecture.id)

    def ask(self, pending: Sequence[Candidate], asks: Sequence[Ask]) -> list[tuple[Ask, Architecture]]:
        """An architecture for each ask, in order; fewer when the space has no more."""
        waiting = sorted(pending, key=lambda candidate: candidate.index)
        proposed = self._proposed | {candidate.architecture.id for candidate in waiting}
        answers: list[tuple[Ask, Architecture]] = []
        for ask in asks:
            # A result that this proposal may not know yet counts as pending: its architecture is known, not its value.
            hidden = [Candidate(self._indices[at], self._results[at].architecture)
                      for at in range(ask.observed, self.length)]  # fmt: skip
            unknown = sorted([*hidden, *waiting], key=lambda candidate: candidate.index)
            evidence = Evidence(
                results=_Prefix(self._results, ask.observed),
                pending=[candidate.architecture for candidate in unknown if candidate.index < ask.index],
                proposed=proposed,
            )
            architecture = self._searcher.ask(evidence)
            if architecture is None:
                break
            answers.append((ask, architecture))
            waiting.append(Candidate(ask.index, architecture))
            proposed.add(architecture.id)
        return answers
