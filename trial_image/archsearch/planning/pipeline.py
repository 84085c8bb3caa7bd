"""The stages of a search, and the work that each is made of: Preflight, Search, Profile, Retrain, Export, Done.

Which stage a search is in follows from its finished trials alone. Nothing is remembered, so nothing can be stale, and
a search that had ended goes on by itself when its budget is raised.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean

from archsearch.api.metrics import LEARNED, MEASURED
from archsearch.api.search import ArchitectureSearchSpec, Objective, Profile, Stage
from archsearch.api.trial import ArchitectureTrialSpec, TableInput, Trial, WorkInput, WorkKind
from archsearch.planning.history import History, Scored, is_of
from archsearch.planning.model import Search
from archsearch.planning.objectives import Metrics, key_of, score, scores, spread, violation
from archsearch.searchers.base import generator
from archsearch.searchers.random import draw
from archsearch.spaces import Architecture, Space

ATTEMPTS = 2
"""Times that one piece of work outside the search stage is tried."""
PROFILED = 8
"""Candidates that are profiled where an objective or a constraint depends on the hardware."""
SCORED = 32
"""Architectures that one trial scores before the search."""


@dataclass(frozen=True)
class Item:
    """One piece of work outside the search stage. given: draws the architectures that its trial is given."""

    work: WorkKind
    source: Scored | None = None
    profile: str | None = None
    seed: int = 0
    epochs: int | None = None
    weights: WorkInput | None = None
    given: Callable[[], Sequence[Architecture]] = tuple

    def matches(self, spec: ArchitectureTrialSpec) -> bool:
        """Whether a trial does, or did, this work."""
        if (self.work, self.profile, self.seed) != (spec.work, spec.profile, spec.seed):
            return False
        return self.source is None or is_of(spec, self.source.architecture)

    def spec(self, index: int) -> ArchitectureTrialSpec:
        """The trial that does it."""
        return ArchitectureTrialSpec(
            work=self.work,
            index=index,
            seed=self.seed,
            architecture=dict(self.source.architecture.values) if self.source else None,
            architectures=tuple(dict(architecture.values) for architecture in self.given()),
            epochs=self.epochs,
            profile=self.profile,
            source=self.source.trial if self.source else None,
            weights=self.weights,
        )


@dataclass(frozen=True)
class Position:
    """Where a search stands. items: the stage's work that is neither done nor given up. ended: why it cannot go on."""

    stage: Stage
    items: tuple[Item, ...] = ()
    ended: tuple[str, str] | None = None


def derive_seed(seed: int, work: str, index: int) -> int:
    """The seed of a piece of work: different for each, and the same whenever it is asked for."""
    digest = hashlib.sha256(f"{seed}/{work}/{index}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def search_work(spec: ArchitectureSearchSpec) -> WorkKind:
    """The kind of work that the trials of the search stage do."""
    if spec.evaluation is None:
        return "Supernet"
    kinds: dict[str, WorkKind] = {
        "train": "Train", "sharedWeights": "Evaluate", "zeroCost": "Score", "tabular": "Lookup",
    }  # fmt: skip
    return kinds[spec.evaluation.member[0]]


def shared_weights(history: History) -> WorkInput | None:
    """The weights that the supernet of a one-shot search was trained to."""
    done = [trial for trial in history.stages["SharedWeights"] if trial.status.state == "Succeeded"]
    files = done[-1].status.result.artifacts if done and done[-1].status.result else ()
    return next((WorkInput(uri=f.uri, sha256=f.sha256) for f in files if f.format == "safetensors"), None)


def search_size(search: Search, space: Space) -> int:
    """Trials of the search stage: as many as the budget allows, and no more than there are architectures to try."""
    assert search.spec.algorithm is not None  # noqa: S101 - the spec is resolved
    most, evaluation = search.spec.budget.max_trials, search.spec.evaluation
    if evaluation is None:
        return most
    return min(most, -(-space.size() * len(evaluation.fidelities) // evaluation.batch))


def search_is_over(search: Search, history: History, space: Space) -> bool:
    """Whether the search stage has all its trials, or its searcher has nothing more to propose."""
    done = history.search_trials
    if history.exhausted_at is not None and search.spec.algorithm is not None and search.spec.algorithm.custom:
        batch = search.spec.evaluation.batch if search.spec.evaluation else 1
        return done >= min(search_size(search, space), -(-len(history.proposed) // batch))
    return done >= search_size(search, space) or (done > 0 and history.exhausted_at == done)


def locate(search: Search, history: History, space: Space) -> Position:
    """The stage that a search is in, from what is finished."""
    preflight = Item("Preflight")
    if not _succeeded(preflight, history):
        failed = history.stages["Preflight"]
        if failed and (failed[-1].status.reason == "UserError" or len(failed) >= ATTEMPTS):
            return Position("Preflight", ended=("PreflightFailed", failed[-1].status.message))
        return Position("Preflight", (preflight,))
    needs = prerequisites(search, space)
    if left := _left(needs, history):
        return Position("Search", left)
    if missing := [item.work for item in needs if not _succeeded(item, history)]:
        return Position("Search", ended=(f"{missing[0]}Failed", _last_failure(history, missing[0])))
    if not search_is_over(search, history, space):
        return Position("Search")
    if not history.contenders:
        return Position("Search", ended=("NoFeasibleArchitecture", _why_none(history)))
    profiling = [Item("Profile", entry, profile=profile.name)
                 for entry in candidates(search, history) for profile in search.spec.profiles]  # fmt: skip
    if left := _left(profiling, history):
        return Position("Profile", left)
    chosen = finalists(search, history)
    if not chosen:
        return Position("Profile", ended=("NoFeasibleArchitecture", "every candidate is beyond a constraint"))
    retrain = search.spec.retrain
    training = [
        Item("Retrain", entry, seed=derive_seed(search.spec.seed, "Retrain", number), epochs=retrain.epochs)
        for entry in chosen[: retrain.top_k] for number in range(retrain.seeds)
    ]  # fmt: skip
    if left := _left(training, history):
        return Position("Retrain", left)
    best = winner(search, history)
    if chosen and retrain.top_k and (best is None or not history.retrained(best.architecture)):
        return Position("Retrain", ended=("RetrainFailed", _last_failure(history, "Retrain")))
    if best is None or search.spec.export is None or search.spec.export.format == "None":
        return Position("Done")
    export = Item("Export", best, weights=best_weights(search, history, best))
    if left := _left([export], history):
        return Position("Export", left)
    if not _succeeded(export, history):
        return Position("Export", ended=("ExportFailed", _last_failure(history, "Export")))
    return Position("Done")


def prerequisites(search: Search, space: Space) -> list[Item]:
    """What must be there before the first trial of the search: latency tables, the weights that trials share, and what
    the searcher is told of networks at initialisation."""
    needs = [Item("Table", profile=profile.name) for profile in search.spec.profiles
              if profile.search_latency and profile.search_latency.measured_table]  # fmt: skip
    shared = search.spec.evaluation.shared_weights if search.spec.evaluation else None
    if shared is not None:
        seed = derive_seed(search.spec.seed, "SharedWeights", 0)
        needs.append(Item("SharedWeights", seed=seed, epochs=shared.epochs))
    process = search.spec.algorithm.gaussian_process if search.spec.algorithm else None
    if process is not None and process.zero_cost is not None:
        size = min(process.zero_cost.pool, space.size())
        needs += [
            Item("Features", seed=derive_seed(search.spec.seed, "Features", number),
                 given=partial(_part, search.spec.seed, space, size, number))
            for number in range(-(-size // SCORED))
        ]  # fmt: skip
    return needs


def _part(seed: int, space: Space, size: int, number: int) -> list[Architecture]:
    """One trial's part of the pool: so many different random architectures."""
    rng = generator(derive_seed(seed, "Pool", 0), 0)
    pool: dict[str, Architecture] = {}
    while len(pool) < size and (drawn := draw(space, rng, pool)) is not None:
        pool[drawn.architecture.id] = drawn.architecture
    return list(pool.values())[number * SCORED : (number + 1) * SCORED]


def latency_tables(history: History) -> tuple[TableInput, ...]:
    """The latency tables that were measured, one a profile."""
    found: dict[str, TableInput] = {}
    for trial in history.stages["Table"]:
        files = trial.status.result.artifacts if trial.status.state == "Succeeded" and trial.status.result else ()
        for file in files:
            profile = trial.spec.profile or ""
            found[profile] = TableInput(profile=profile, uri=file.uri, sha256=file.sha256)
    return tuple(found.values())


def candidates(search: Search, history: History) -> list[Scored]:
    """The architectures that are profiled: the best, and where there is a front, those that lie spread on it."""
    most, retrained = (PROFILED if _measured_keys(search) else 1), search.spec.retrain.top_k
    best = history.best_distinct(max(most, retrained))
    if len(history.searched) < 2:
        return best
    front = [entry for entry in sorted(history.front) if keeps_limits(search, history, entry)]
    places = spread([scores(history.searched, entry.metrics) for entry in front], most) if front else []
    first = max(1, retrained)  # what is retrained is the best, whatever the front
    ordered = [*best[:first], *(front[place] for place in places), *best[first:]]
    return list({entry.architecture.id: entry for entry in ordered}.values())[: len(best)]


def finalists(search: Search, history: History) -> list[Scored]:
    """The candidates that keep every constraint, the best first, as many as are retrained (at least one)."""
    needed = _measured_keys(search)
    fit = []
    for entry in candidates(search, history):
        metrics = all_metrics(history, entry)
        if (
            needed <= history.measured(entry.architecture).keys()
            and violation(search.spec.constraints, metrics) is None
        ):
            fit.append((tuple(-value for value in scores(search.spec.objectives or (), metrics)), entry))
    fit.sort()
    return [entry for _, entry in fit[: max(1, search.spec.retrain.top_k)]]


def winner(search: Search, history: History) -> Scored | None:
    """The best architecture as far as is known: by retraining where there was one, else by the search.

    Retrained ones are compared on the selection images; the test images only report.
    """
    chosen = finalists(search, history)
    learned = learned_objective(search.spec)
    trained = [(entry, history.retrained(entry.architecture)) for entry in chosen]
    compared = [(_mean_score(learned, trials), entry) for entry, trials in trained if trials]
    if compared:
        return max(compared, key=lambda pair: pair[0])[1]
    if chosen:
        return chosen[0]
    return next((entry for entry in history.contenders if keeps_limits(search, history, entry)), None)


def keeps_limits(search: Search, history: History, entry: Scored) -> bool:
    """Whether nothing that was measured of it is beyond a constraint."""
    return violation(search.spec.constraints, all_metrics(history, entry)) is None


def learned_objective(spec: ArchitectureSearchSpec) -> Objective:
    """The first objective that training improves; the task's where none is."""
    return next((item for item in spec.objectives or () if item.metric in LEARNED), spec.task.objective)


def all_metrics(history: History, entry: Scored) -> Metrics:
    """What the trial reported and what the profiles measured."""
    return {**entry.metrics, **history.measured(entry.architecture)}


def wanted_profile(search: Search, name: str | None) -> Profile | None:
    """The spec's profile of that name."""
    return next((profile for profile in search.spec.profiles if profile.name == name), None)


def _measured_keys(search: Search) -> set[str]:
    """The metrics of objectives and constraints that only a profile can tell."""
    goals = {key_of(item) for item in search.spec.objectives or () if item.metric in MEASURED}
    return goals | {key_of(item) for item in search.spec.constraints if item.metric in MEASURED}


def _mean_score(objective: Objective, trials: Sequence[Trial]) -> float:
    found = [score(objective, trial.status.result.metrics) for trial in trials if trial.status.result]
    return fmean([value for value in found if value is not None] or [float("-inf")])


def best_weights(search: Search, history: History, best: Scored) -> WorkInput | None:
    """The weights of the seed that did best on the selection images."""
    learned = learned_objective(search.spec)
    trials = history.retrained(best.architecture)
    if not trials:
        return None
    chosen = max(trials, key=lambda trial: _mean_score(learned, [trial]))
    files = chosen.status.result.artifacts if chosen.status.result else ()
    return next((WorkInput(uri=f.uri, sha256=f.sha256) for f in files if f.format == "safetensors"), None)


def _left(items: Sequence[Item], history: History) -> tuple[Item, ...]:
    """The items that are neither done nor given up."""
    return tuple(
        item for item in items if not _succeeded(item, history) and len(_tried(item, history)) < ATTEMPTS
    )  # fmt: skip


def _tried(item: Item, history: History) -> list[Trial]:
    return [trial for trial in history.stages[item.work] if item.matches(trial.spec)]


def _succeeded(item: Item, history: History) -> bool:
    return any(trial.status.state == "Succeeded" for trial in _tried(item, history))


def _last_failure(history: History, work: str) -> str:
    failed = [trial for trial in history.stages[work] if trial.status.state != "Succeeded"]
    return f"{failed[-1].name}: {failed[-1].status.reason}: {failed[-1].status.message}" if failed else ""


def _why_none(history: History) -> str:
    counts = ", ".join(f"{count} {state.lower()}" for state, count in sorted(history.states.items()))
    return f"no trial has a result that can be used: {counts or 'none ran'}"
