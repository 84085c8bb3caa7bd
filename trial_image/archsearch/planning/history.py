"""What has happened in a search, in the order in which it was recorded, and what follows from it.

It is kept up to date result by result, so that planning costs the same after ten results and after ten thousand.
It holds nothing that the recorded trials do not say: reading them again gives the same history.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count

from archsearch.api.metrics import LEARNED, STATIC
from archsearch.api.search import ArchitectureSearchSpec, Objective
from archsearch.api.trial import SEARCH_KINDS, CurvePoint, MetricsReading, Trial, WorkKind
from archsearch.planning.objectives import Metrics, dominates, key_of, score, scores, violation
from archsearch.spaces import Architecture, space_of

CONTENDERS = 64
"""Best results that are remembered: more than can be profiled or retrained."""


@dataclass(frozen=True)
class Scored:
    """A successful search trial. rank: negated scores, then the order of completion: smaller is better."""

    rank: tuple[tuple[float, ...], int]
    trial: str
    architecture: Architecture
    metrics: Metrics

    def __lt__(self, other: Scored) -> bool:
        return self.rank < other.rank


@dataclass(frozen=True)
class Observed:
    """A finished search trial as a searcher sees it."""

    index: int
    architecture: Architecture | None
    value: float | None


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
        self.contenders: list[Scored] = []
        self.front: list[Scored] = []
        self.curves: list[tuple[CurvePoint, ...]] = []
        self.stages: dict[str, list[Trial]] = {"Preflight": [], "Profile": [], "Retrain": [], "Export": []}
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
        self.states[trial.status.state] += 1
        self.last_observed = max(self.last_observed, trial.spec.observed)
        result = trial.status.result
        named = (result.architecture if result else None) or trial.spec.architecture
        architecture = self._space.architecture(named) if named is not None else None
        usable = trial.status.state in {"Succeeded", "Stopped"} and result is not None and architecture is not None
        value = score(self.searched[0], result.metrics) if usable and result else None
        if usable and result and violation(self._spec.constraints, result.metrics):
            value = None
        self.observed.append(Observed(trial.spec.index, architecture, value))
        if value is None or result is None or architecture is None or trial.status.state != "Succeeded":
            return
        if result.curve:
            self.curves.append(result.curve)
        ranked = tuple(-number for number in scores(self.searched, result.metrics))
        entry = Scored((ranked, trial.status.sequence or 0), trial.name, architecture, result.metrics)
        insort(self.contenders, entry)
        del self.contenders[CONTENDERS:]
        self._add_to_front(entry)

    def _add_to_front(self, entry: Scored) -> None:
        mine = scores(self.searched, entry.metrics)
        others = [(other, scores(self.searched, other.metrics)) for other in self.front]
        if any(theirs == mine or dominates(theirs, mine) for _, theirs in others):
            return
        self.front = [other for other, theirs in others if not dominates(mine, theirs)] + [entry]

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

    def measured(self, source: str) -> dict[str, float]:
        """What the profiles measured of a trial's architecture, as `metric@profile`."""
        found: dict[str, float] = {}
        for trial in self.stages["Profile"]:
            profile = trial.status.result.profile if trial.status.result else None
            if trial.spec.source == source and profile is not None:
                found[f"latencyMs@{profile.profile}"] = profile.latency_ms.p50
                found[f"throughput@{profile.profile}"] = profile.throughput
                found[f"peakMemoryMiB@{profile.profile}"] = profile.peak_memory_mib
        return found

    def retrained(self, source: str) -> list[Trial]:
        """The successful retrainings of a trial's architecture, in the order of their seeds."""
        done = [t for t in self.stages["Retrain"] if t.spec.source == source and t.status.state == "Succeeded"]
        return sorted(done, key=lambda trial: trial.spec.seed)


def objective_keys(objectives: Sequence[Objective]) -> list[str]:
    """The names of the objectives among a result's metrics."""
    return [key_of(objective) for objective in objectives]


def searched_objectives(spec: ArchitectureSearchSpec) -> tuple[Objective, ...]:
    """The objectives that every search trial reports; accuracy where there is none, so that there is one to learn."""
    wanted = spec.objectives or ()
    return tuple(item for item in wanted if item.metric in LEARNED | STATIC) or (
        Objective(metric="accuracy", goal="Maximize"),
    )
