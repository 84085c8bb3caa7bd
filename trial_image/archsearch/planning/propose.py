"""Asks a search's searcher for the proposals that a plan wants, each with exactly the results it may know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import overload

from archsearch.api.search import ArchitectureSearchSpec
from archsearch.api.trial import SEARCH_KINDS, ArchitectureTrialSpec
from archsearch.planning.history import Observed, proposals_of
from archsearch.planning.model import Ask
from archsearch.searchers import Evidence, Proposal, Result, Untrained, searcher_of
from archsearch.spaces import space_of


@dataclass(frozen=True)
class Candidate:
    """The proposals that an open trial was given."""

    index: int
    proposals: tuple[Proposal, ...]


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
    untrained: what the history has of networks at initialisation; it is complete before the first proposal.
    """

    spec: ArchitectureSearchSpec
    untrained: Sequence[Untrained] = ()
    _results: list[Result] = field(default_factory=list)
    _trials: list[Candidate] = field(default_factory=list)
    _ends: list[int] = field(default_factory=list)
    _proposed: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.spec.evaluation is None:
            raise ValueError("the spec's defaults must be filled in, and its algorithm must propose architectures")
        self._searcher = searcher_of(self.spec)
        self._batch = self.spec.evaluation.batch

    @property
    def length(self) -> int:
        """Trials that were told."""
        return len(self._trials)

    def tell(self, observed: Sequence[Observed]) -> None:
        """Take in finished trials in the order of their completion."""
        for item in observed:
            if not item.proposals:
                raise ValueError(f"trial {item.index} must have an architecture, but got none")
            self._results += item.results
            self._trials.append(Candidate(item.index, item.proposals))
            self._ends.append(len(self._results))
            _note(self._proposed, item.proposals)

    def ask(self, pending: Sequence[Candidate], asks: Sequence[Ask]) -> list[tuple[Ask, tuple[Proposal, ...]]]:
        """Proposals for each ask, in order; fewer, in the last one or in all, when the space has no more."""
        waiting = sorted(pending, key=lambda candidate: candidate.index)
        proposed = dict(self._proposed)
        for candidate in waiting:
            _note(proposed, candidate.proposals)
        answers: list[tuple[Ask, tuple[Proposal, ...]]] = []
        for ask in asks:
            found = self._propose(ask, waiting, proposed)
            if not found and not waiting and ask.observed < self.length:
                # Nothing is under way, so that whoever looks, and whenever, knows all results.
                ask = replace(ask, observed=self.length)
                found = self._propose(ask, waiting, proposed)
            if not found:
                break
            answers.append((ask, found))
            waiting.append(Candidate(ask.index, found))
        return answers

    def _propose(self, ask: Ask, waiting: Sequence[Candidate], proposed: dict[str, float]) -> tuple[Proposal, ...]:
        """The proposals of one ask, noted in `proposed`."""
        # A result that this proposal may not know yet counts as pending: its architecture is known, not its value.
        unknown = sorted([*self._trials[ask.observed :], *waiting], key=lambda candidate: candidate.index)
        before = [p for candidate in unknown if candidate.index < ask.index for p in candidate.proposals]
        known = _Prefix(self._results, self._ends[ask.observed - 1] if ask.observed else 0)
        found: list[Proposal] = []
        for place in range(self._batch):
            index = ask.index * self._batch + place
            proposal = self._searcher.ask(Evidence(index, known, [*before, *found], proposed, self.untrained))
            if proposal is None:
                break
            if found and proposal.fidelity != found[0].fidelity:
                break  # what is evaluated in one trial is evaluated alike
            found.append(proposal)
            _note(proposed, (proposal,))
        return tuple(found)


def open_candidates(specs: Sequence[ArchitectureTrialSpec], search: ArchitectureSearchSpec) -> list[Candidate]:
    """The proposals of the open search trials among these."""
    assert search.space is not None  # noqa: S101 - the spec is resolved
    space = space_of(search.space)
    found = [Candidate(spec.index, proposals_of(spec, search, space)) for spec in specs if spec.work in SEARCH_KINDS]
    return [candidate for candidate in found if candidate.proposals]


def _note(proposed: dict[str, float], proposals: Sequence[Proposal]) -> None:
    for proposal in proposals:
        identifier = proposal.architecture.id
        proposed[identifier] = max(proposal.fidelity, proposed.get(identifier, 0.0))
