"""The status of a search: what a person is told, from what has happened and what is open."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from statistics import fmean, stdev

from archsearch.api.metrics import LEARNED, test_key
from archsearch.api.search import (
    ArchitectureSearchStatus,
    Best,
    FrontEntry,
    HardwareProfile,
    Reproducibility,
    Retrained,
    TrialCounts,
    Usage,
)
from archsearch.api.trial import SEARCH_KINDS
from archsearch.planning.conditions import Claim, conditions
from archsearch.planning.history import History, Scored, is_of, objective_keys
from archsearch.planning.model import OpenTrial, Search, blocked
from archsearch.planning.objectives import key_of, scores, spread
from archsearch.planning.outcome import timestamp
from archsearch.planning.pipeline import Position, all_metrics, keeps_limits, learned_objective, winner
from archsearch.spaces import space_of

FRONT = 16
"""Entries of the front that a status shows: a status must not grow with the number of trials."""
DOING = {
    "Preflight": "checking the image, the data, the device and the space",
    "Search": "searching",
    "Profile": "measuring the candidates on hardware",
    "Retrain": "training the best from scratch",
    "Export": "exporting the best model",
    "Done": "finished",
}


def report(
    search: Search, history: History, opened: Sequence[OpenTrial], position: Position, total: int, now: datetime
) -> ArchitectureSearchStatus:
    """The whole status. It depends on the clock only through the times of transitions."""
    finished = position.ended is not None or position.stage == "Done"
    best = winner(search, history)
    return ArchitectureSearchStatus(
        observed_generation=search.generation,
        conditions=conditions(
            search.status.conditions, _claims(search, history, opened, position, now), search.generation, now
        ),
        stage=position.stage,
        start_time=search.status.start_time or timestamp(now),
        completion_time=(search.status.completion_time or timestamp(now)) if finished else None,
        trials=_counts(history, opened, total),
        best=_best(search, history, best) if best else None,
        front=_front(search, history),
        hardware=_hardware(history, best) if best else (),
        usage=_usage(search, history, opened),
        defaults=search.defaults,
        reproducibility=_reproducibility(search, history),
    )


def _claims(
    search: Search, history: History, opened: Sequence[OpenTrial], position: Position, now: datetime
) -> dict[str, Claim]:
    return {
        "Accepted": _accepted(position),
        "Progressing": _progressing(search, opened, position, now),
        "MetricsAvailable": _metrics_available(history),
        "Suspended": Claim("True", "Suspended", "spec.suspend is set")
        if search.spec.suspend
        else Claim("False", "NotSuspended"),
        "Succeeded": _succeeded(position),
    }


def _accepted(position: Position) -> Claim:
    if position.ended and position.ended[0] == "PreflightFailed":
        return Claim("False", *position.ended)
    if position.stage == "Preflight":
        return Claim("Unknown", "PreflightPending", DOING["Preflight"])
    return Claim("True", "PreflightPassed")


def _progressing(search: Search, opened: Sequence[OpenTrial], position: Position, now: datetime) -> Claim:
    if position.ended:
        return Claim("False", *position.ended)
    if position.stage == "Done":
        return Claim("False", "Completed")
    if search.spec.suspend:
        return Claim("False", "Suspended", "spec.suspend is set")
    for item in opened:
        if item.execution and blocked(item.execution, now):
            return Claim("False", item.execution.reason, f"{item.trial.name}: {item.execution.message}")
    return Claim("True", position.stage, DOING[position.stage])


def _metrics_available(history: History) -> Claim:
    reading = history.reading
    if reading is None:
        return Claim("Unknown", "NoReadingYet", "no trial that reports metrics has ended")
    return Claim("True" if reading.available else "False", reading.reason, reading.message)


def _succeeded(position: Position) -> Claim:
    if position.ended:
        return Claim("False", *position.ended)
    if position.stage == "Done":
        return Claim("True", "Completed", "every stage is finished")
    return Claim("Unknown", "InProgress", DOING[position.stage])


def _counts(history: History, opened: Sequence[OpenTrial], total: int) -> TrialCounts:
    searching = [item for item in opened if item.trial.spec.work in SEARCH_KINDS]
    phases = Counter(item.execution.phase if item.execution else "Pending" for item in searching)
    # A container that has ended runs no more, but its result is not there before it is recorded.
    return TrialCounts(
        total=total,
        pending=phases["Pending"],
        queued=phases["Queued"],
        running=phases["Running"] + phases["Ended"],
        succeeded=history.states["Succeeded"],
        failed=history.states["Failed"],
        infeasible=history.states["Infeasible"],
        stopped=history.states["Stopped"],
        preemptions=history.preemptions + sum(item.preemptions for item in opened),
        done=f"{history.search_trials}/{total}",
    )


def _best(search: Search, history: History, best: Scored) -> Best:
    metrics = all_metrics(history, best)
    first = (search.spec.objectives or ())[0]
    retrained = _retrained(search, history, best)
    # From scratch is what the architecture is worth; what a supernet's weights reach, or a short training, is not.
    value = retrained.mean if retrained and first.metric in LEARNED else metrics.get(key_of(first))
    exports = [trial.status.result for trial in history.stages["Export"]
               if trial.status.state == "Succeeded" and is_of(trial.spec, best.architecture)]  # fmt: skip
    exported = exports[-1] if exports else None
    return Best(
        trial=best.trial,
        genotype=dict(best.architecture.values),
        genotype_id=best.architecture.id,
        metrics=dict(metrics),
        objective="" if value is None else f"{value:.4g}",
        retrained=retrained,
        artifacts=exported.artifacts if exported else (),
        export_difference=exported.metrics.get("exportDifference") if exported else None,
    )


def _retrained(search: Search, history: History, best: Scored) -> Retrained | None:
    metric = learned_objective(search.spec).metric
    key = test_key(metric)
    results = [trial.status.result for trial in history.retrained(best.architecture)]
    values = [result.metrics[key] for result in results if result and key in result.metrics]
    if not values:
        return None
    return Retrained(
        metric=key, mean=fmean(values), std=stdev(values) if len(values) > 1 else 0.0, seeds=len(values)
    )  # fmt: skip


def _front(search: Search, history: History) -> tuple[FrontEntry, ...]:
    keys = objective_keys(history.searched)
    entries = [entry for entry in sorted(history.front) if keeps_limits(search, history, entry)]
    kept = spread([scores(history.searched, entry.metrics) for entry in entries], FRONT) if entries else []
    return tuple(
        FrontEntry(
            trial=entries[position].trial,
            genotype_id=entries[position].architecture.id,
            metrics={key: value for key, value in all_metrics(history, entries[position]).items()
                     if key in keys or key in objective_keys(search.spec.objectives or ())},
        )
        for position in kept
    )  # fmt: skip


def _hardware(history: History, best: Scored) -> tuple[HardwareProfile, ...]:
    found: dict[str, HardwareProfile] = {}
    for trial in history.stages["Profile"]:
        if is_of(trial.spec, best.architecture) and trial.status.result and trial.status.result.profile:
            found[trial.status.result.profile.profile] = trial.status.result.profile
    return tuple(found.values())


def _usage(search: Search, history: History, opened: Sequence[OpenTrial]) -> Usage:
    # What is written down, and not what it has become since: a status must not change with the clock alone.
    recorded = sum(item.trial.status.accelerator_seconds for item in opened)
    hours = round((history.accelerator_seconds + recorded) / 3600, 6)
    price = search.spec.budget.price_per_gpu_hour
    return Usage(gpu_hours=hours, estimated_cost=None if price is None else round(hours * float(price), 4))


def _reproducibility(search: Search, history: History) -> Reproducibility:
    assert search.spec.space is not None  # noqa: S101 - the spec is resolved
    return Reproducibility(
        seed=search.spec.seed,
        space_hash=space_of(search.spec.space).hash(),
        image_digest=history.image_digest,
        operator_version=search.operator_version,
        settings_after_defaults=search.spec.wire(),
    )
