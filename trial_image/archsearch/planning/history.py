"""What has happened in a search, in the order in which it was recorded, and what follows from it.

It is kept up to date result by result, so that planning costs the same after ten results and after ten thousand.
It holds nothing that the recorded trials do not say: reading them again gives the same history.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from typing import get_args

from archsearch.api.search import ArchitectureSearchSpec, Objective
from archsearch.api.trial import (
    BATCH_KINDS,
    SEARCH_KINDS,
    ArchitectureTrialSpec,
    CurvePoint,
    MetricsReading,
    Trial,
    WorkKind,
)
from archsearch.planning.objectives import Metrics, dominates, excess, key_of, scores
from archsearch.searchers import Proposal, Result, Untrained
from archsearch.searchers.goals import searched_objectives
from archsearch.spaces import Architecture, Space, space_of

CONTENDERS = 64
"""Best results that are remembered: more than can be profiled or retrained."""


@dataclass(frozen=True)
class Scored:
    """An architecture that a search trial evaluated.

    rank: the negated fidelity, the negated scores, then the order of completion: smaller is better. What was trained
    for longer always comes first: a short training says less than the difference between two good architectures.
    """

    rank: tuple[float, tuple[float, ...], int]
    trial: str
    architecture: Architecture
    metrics: Metrics

    def __lt__(self, other: Scored) -> bool:
        return self.rank < other.rank


@dataclass(frozen=True)
class Observed:
    """A finished search trial as a searcher sees it: what it was given, and a result for each that it evaluated."""

    index: int
    proposals: tuple[Proposal, ...]
    results: tuple[Result, ...]


class History:
    """The finished trials of one search.

    add() takes them in the order of their sequence; the same trial twice, or a gap, is a ValueError.
    """

    def __init__(self, spec: ArchitectureSearchSpec, trials: Iterable[Trial] = ()) -> None:
        if spec.space is None or spec.objectives is None:
            raise ValueError("the spec's defaults must be filled in")
        self._spec = spec
        self._space = space_of(spec.space)
        self.objectives: tuple[Objective, ...] = spec.objectives
        self.searched = searched_objectives(spec)
        self.next_sequence = 0
        self.names: set[str] = set()
        self._indices: defaultdict[WorkKind, set[int]] = defaultdict(set)
        self._gaps: Counter[WorkKind] = Counter()
        self.states: Counter[str] = Counter()
        self.failures = 0
        self.last_failure = ""
        self.accelerator_seconds = 0.0
        self.preemptions = 0
        self.observed: list[Observed] = []
        self.last_observed = 0
        self.proposed: list[Architecture] = []  # by a searcher that has Jobs of its own, in order
        self.exhausted_at: int | None = None  # search trials when the searcher had nothing more to propose
        self.contenders: list[Scored] = []
        self.front: list[Scored] = []
        self.curves: list[tuple[CurvePoint, ...]] = []
        self.stages: dict[str, list[Trial]] = {work: [] for work in get_args(WorkKind) if work not in SEARCH_KINDS}
        self.reading: MetricsReading | None = None
        self.image_digest = ""
        # Two operators that overlapped for a moment may both have counted from the same number: the order is kept.
        for trial in sorted(trials, key=lambda trial: (trial.status.sequence or 0, trial.spec.index, trial.name)):
            self._take(trial)

    def add(self, trial: Trial) -> None:
        """Take in one more finished trial."""
        status = trial.status
        if not trial.finished or status.sequence != self.next_sequence:
            raise ValueError(
                f"trial must be finished with sequence {self.next_sequence}, "
                f"but got {trial.name} {status.state} with {status.sequence}"
            )
        self._take(trial)

    def _take(self, trial: Trial) -> None:
        status = trial.status
        self.names.add(trial.name)
        self._take_index(trial.spec.work, trial.spec.index)
        self.next_sequence = max(self.next_sequence, (status.sequence or 0) + 1)
        self.accelerator_seconds += status.accelerator_seconds
        self.preemptions += status.preemptions
        if status.state == "Failed" and trial.spec.work != "Preflight":
            # A preflight is tried twice by itself: one that fails has cost no more than its own time.
            self.failures += 1
            self.last_failure = f"{trial.name}: {status.reason}: {status.message}"
        self.reading = status.metrics_reading or self.reading
        self.image_digest = status.image_digest or self.image_digest
        if trial.spec.work in SEARCH_KINDS:
            self._add_search_trial(trial)
        else:
            self.stages[trial.spec.work].append(trial)
        if trial.spec.work == "Propose" and status.result is not None and status.state == "Succeeded":
            self.proposed += [self._space.at(int(number)) for number in status.result.proposals]
            if not status.result.proposals:
                self.exhausted_at = self.search_trials

    def _take_index(self, work: WorkKind, index: int) -> None:
        self._indices[work].add(index)
        while self._gaps[work] in self._indices[work]:
            self._gaps[work] += 1

    def free_indices(self, work: WorkKind, taken: Container[int] = ()) -> Iterator[int]:
        """The indices of trials of this work that are not finished, without those `taken`, the smallest first.

        A trial that somebody deleted has left a gap: the next one takes its place, and not that of one that exists.
        """
        # From the first gap on: all before it are finished, and there may be ten thousand.
        return (i for i in count(self._gaps[work]) if i not in self._indices[work] and i not in taken)

    def _add_search_trial(self, trial: Trial) -> None:
        status, spec = trial.status, trial.spec
        self.states[status.state] += 1
        self.last_observed = max(self.last_observed, spec.observed)
        proposals = proposals_of(spec, self._spec, self._space)
        results = self._results(trial, proposals)
        self.observed.append(Observed(spec.index, proposals, tuple(result for result, _ in results)))
        if status.state != "Succeeded" or status.result is None:
            return
        if status.result.curve and results and results[0][0].proposal.fidelity == 1.0:
            self.curves.append(status.result.curve)
        for result, metrics in results:
            if result.feasible and result.scores is not None:
                negated = tuple(-number for number in result.scores)
                rank = (-result.proposal.fidelity, negated, status.sequence or 0)
                entry = Scored(rank, trial.name, result.architecture, metrics)
                insort(self.contenders, entry)
                self._add_to_front(entry)
        del self.contenders[CONTENDERS:]

    def _results(self, trial: Trial, proposals: tuple[Proposal, ...]) -> list[tuple[Result, Metrics]]:
        """What became of each architecture that was evaluated. Nothing that a trial reports is believed where it has
        not succeeded, except what it measured of one beyond a limit."""
        status, result = trial.status, trial.status.result
        batch = trial.spec.work in BATCH_KINDS
        # A batch that gave up as a whole has no results of its architectures, though it may have counted something.
        told = result is not None and (not batch or len(result.results) == len(proposals))
        if result is None or not told or status.state not in {"Succeeded", "Stopped", "Infeasible"}:
            return [(Result(proposal, None, seconds=_seconds(trial)), {}) for proposal in proposals]
        if batch:
            pairs = list(zip(proposals, result.results, strict=True))
        else:
            named = result.architecture or trial.spec.architecture
            if named is None:  # a pool whose trial ended before it had chosen
                return [(Result(proposal, None, seconds=_seconds(trial)), {}) for proposal in proposals]
            fidelity = proposals[0].fidelity if proposals else 1.0
            pairs = [(Proposal(self._space.architecture(named), fidelity), result.metrics)]
        seconds = _seconds(trial)
        share = None if seconds is None else seconds / len(pairs)
        found: list[tuple[Result, Metrics]] = []
        for proposal, metrics in pairs:
            own = scores(self.searched, metrics) if key_of(self.searched[0]) in metrics else None
            found.append((Result(proposal, own, excess(self._spec.constraints, metrics), share), metrics))
        return found

    def _add_to_front(self, entry: Scored) -> None:
        """A result at a larger fidelity than those on the front starts it anew."""
        if self.front and entry.rank[0] != self.front[0].rank[0]:
            if entry.rank[0] > self.front[0].rank[0]:
                return
            self.front = []
        mine = scores(self.searched, entry.metrics)
        others = [(other, scores(self.searched, other.metrics)) for other in self.front]
        if any(theirs == mine or dominates(theirs, mine) for _, theirs in others):
            return
        self.front = [other for other, theirs in others if not dominates(mine, theirs)] + [entry]

    def exhaust(self) -> bool:
        """Note that the searcher, who knows all results, has nothing more to propose; whether that is news."""
        before, self.exhausted_at = self.exhausted_at, self.search_trials
        return before != self.exhausted_at

    @property
    def untrained(self) -> list[Untrained]:
        """What is known of networks at initialisation, in an order of its own: it does not matter which was first."""
        found: dict[str, Untrained] = {}
        for trial in self.stages["Features"]:
            if trial.status.state == "Succeeded" and trial.status.result is not None:
                for values, metrics in zip(trial.spec.architectures, trial.status.result.results, strict=True):
                    architecture = self._space.architecture(values)
                    found[architecture.id] = Untrained(architecture, metrics)
        return [found[key] for key in sorted(found)]

    @property
    def search_trials(self) -> int:
        """Search trials that are finished."""
        return len(self.observed)

    def best_distinct(self, count: int) -> list[Scored]:
        """The `count` best results with different architectures."""
        seen: dict[str, Scored] = {}
        for entry in self.contenders:
            seen.setdefault(entry.architecture.id, entry)
            if len(seen) == count:
                break
        return list(seen.values())

    def measured(self, architecture: Architecture) -> dict[str, float]:
        """What the profiles measured of an architecture, as `metric@profile`."""
        found: dict[str, float] = {}
        for trial in self.stages["Profile"]:
            profile = trial.status.result.profile if trial.status.result else None
            if is_of(trial.spec, architecture) and profile is not None:
                found[f"latencyMs@{profile.profile}"] = profile.latency_ms.p50
                found[f"throughput@{profile.profile}"] = profile.throughput
                found[f"peakMemoryMiB@{profile.profile}"] = profile.peak_memory_mib
        return found

    def retrained(self, architecture: Architecture) -> list[Trial]:
        """The successful retrainings of an architecture, in the order of their seeds."""
        done = [t for t in self.stages["Retrain"] if is_of(t.spec, architecture) and t.status.state == "Succeeded"]
        return sorted(done, key=lambda trial: trial.spec.seed)


def is_of(spec: ArchitectureTrialSpec, architecture: Architecture) -> bool:
    """Whether a trial profiles, retrains or exports this architecture."""
    return spec.architecture is not None and Architecture(spec.architecture).id == architecture.id


def proposals_of(spec: ArchitectureTrialSpec, search: ArchitectureSearchSpec, space: Space) -> tuple[Proposal, ...]:
    """What a search trial was asked to evaluate; nothing for one that searches itself."""
    given = spec.architectures or ((spec.architecture,) if spec.architecture is not None else ())
    full = search.evaluation.train.epochs if search.evaluation and search.evaluation.train else None
    fidelity = spec.epochs / full if full and spec.epochs else 1.0
    return tuple(Proposal(space.architecture(values), fidelity) for values in given)


def _seconds(trial: Trial) -> float | None:
    """What the trial took, in whole seconds as they are recorded."""
    start, end = trial.status.start_time, trial.status.completion_time
    if start is None or end is None:
        return None
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()


def objective_keys(objectives: Sequence[Objective]) -> list[str]:
    """The names of the objectives among a result's metrics."""
    return [key_of(objective) for objective in objectives]
