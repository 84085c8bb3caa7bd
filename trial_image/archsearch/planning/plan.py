"""What to do next. Every decision about a search is made here, and nothing is done here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice

from archsearch.api.algorithm import Algorithm
from archsearch.api.search import ArchitectureSearchSpec
from archsearch.api.trial import SEARCH_KINDS, ArchitectureTrialSpec, Trial, TrialResult, WorkKind, thinned
from archsearch.planning.early_stopping import median_stop
from archsearch.planning.history import History
from archsearch.planning.model import (
    BLOCKED_PATIENCE,
    BLOCKED_REASONS,
    IMAGE_REASONS,
    STOPPING,
    Ask,
    Execution,
    NewTrial,
    OpenTrial,
    Outcome,
    Plan,
    Search,
    blocked,
)
from archsearch.planning.objectives import key_of
from archsearch.planning.outcome import Verdict, final_status, judge, timestamp
from archsearch.planning.pipeline import (
    Position,
    derive_seed,
    latency_tables,
    locate,
    search_size,
    search_work,
    shared_weights,
)
from archsearch.planning.report import report
from archsearch.searchers import Proposal
from archsearch.spaces import Space, space_of

IMAGE_PATIENCE = timedelta(minutes=5)
"""How long an image may fail to be pulled before its trial fails: a registry may come back, a wrong name never."""
HOPELESS_REASONS = frozenset({"InvalidImageName", "ErrImageNeverPull"})


def plan(search: Search, history: History, open_trials: Sequence[OpenTrial], now: datetime) -> Plan:
    """What to do next: results to record, trials to create, Jobs to start and stop, the status to publish, and when
    to look again.

    Pure: the same arguments give the same plan, and planning after doing all that it says gives nothing more to do.
    Where there are outcomes nothing else is planned: what comes next depends on their being recorded.
    """
    assert search.spec.space is not None  # noqa: S101 - the spec is resolved
    space = space_of(search.spec.space)
    opened = sorted(open_trials, key=lambda item: (item.trial.spec.work, item.trial.spec.index))
    outcomes = _outcomes(search, history, opened, space, now)
    position = locate(search, history, space)
    ended = position.ended
    if ended is None and position.stage != "Done":
        ended = _out_of_budget(search, history, opened, now)
    finished = ended is not None or position.stage == "Done"
    idle = "SearchEnded" if finished else "Suspended" if search.spec.suspend else "Created"
    stop = _stoppable(opened) if finished or search.spec.suspend else ()
    states = tuple(change for item in opened if (change := _change(item, idle, stops=item.trial.name in stop)))
    # The status tells of the trials as they are once these are written.
    told = {change.trial.name: change.status for change in states}
    shown = [replace(item, trial=item.trial.model_copy(update={"status": told.get(item.trial.name, item.trial.status)}))
             for item in opened]  # fmt: skip
    status = report(search, history, shown, replace(position, ended=ended), search_size(search, space), now)
    if outcomes:
        return Plan(status=status, outcomes=outcomes, look_again=0.0)
    look_again = None if ended else _look_again(search, history, opened, now)
    if finished or search.spec.suspend:
        return Plan(status=status, stop=stop, states=states, look_again=look_again)
    create, asks = _wanted(search, history, opened, position, space)
    return Plan(
        status=status,
        create=create,
        asks=asks,
        start=_startable(search, opened),
        states=states,
        look_again=look_again,
    )


def trial_of(ask: Ask, proposals: Sequence[Proposal], search: Search, history: History) -> NewTrial:
    """The trial that evaluates what was proposed."""
    evaluation = search.spec.evaluation
    assert evaluation is not None  # noqa: S101 - the spec is resolved
    work = search_work(search.spec)
    several = work != "Train" or (evaluation.train is not None and evaluation.train.prefilter is not None)
    given = tuple(dict(proposal.architecture.values) for proposal in proposals)
    return NewTrial(
        search.trial_name(work, ask.index),
        ArchitectureTrialSpec(
            work=work,
            index=ask.index,
            seed=derive_seed(search.spec.seed, work, ask.index),
            architecture=None if several else given[0],
            architectures=given if several else (),
            epochs=round(proposals[0].fidelity * evaluation.train.epochs) if evaluation.train else None,
            observed=ask.observed,
            weights=shared_weights(history),
            tables=latency_tables(history),
        ),
    )


def _outcomes(
    search: Search, history: History, opened: Sequence[OpenTrial], space: Space, now: datetime
) -> tuple[Outcome, ...]:
    """The last statuses of the trials that have ended, in the order in which they ended."""
    ended: list[tuple[datetime, OpenTrial, Execution, Verdict]] = []
    for item in opened:
        execution = item.execution
        if execution is None:
            continue
        if execution.phase == "Ended":
            verdict = judge(item.trial, execution, search.spec, space, history)
            ended.append((execution.ended_at or now, item, execution, verdict))
        elif _image_hopeless(execution, now):
            ended.append((now, item, execution, Verdict("Failed", execution.reason, execution.message)))
        elif why := _early_stop(search.spec, history, item):
            ended.append((now, item, execution, _stopped(history, execution, why)))
    ended.sort(key=lambda entry: (entry[0], entry[1].trial.spec.work, entry[1].trial.spec.index))
    first = history.searched[0]
    return tuple(
        Outcome(item.trial, final_status(item, execution, verdict, moment, sequence, first))
        for sequence, (moment, item, execution, verdict) in enumerate(ended, start=history.next_sequence)
    )


def _early_stop(spec: ArchitectureSearchSpec, history: History, item: OpenTrial) -> str | None:
    rule = spec.early_stopping.median_stop if spec.early_stopping else None
    if rule is None or item.trial.spec.work != "Train" or item.execution is None:
        return None
    maximize = history.searched[0].goal == "Maximize"
    return median_stop(rule, item.execution.curve, history.curves, maximize)


def _stopped(history: History, execution: Execution, why: str) -> Verdict:
    """A trial that was stopped early is told to the searcher with the last value that it reached."""
    value = {key_of(history.searched[0]): execution.curve[-1].value}
    return Verdict("Stopped", "MedianStop", why, TrialResult(metrics=value, curve=thinned(execution.curve)))


def _image_hopeless(execution: Execution, now: datetime) -> bool:
    if execution.phase != "Pending" or execution.reason not in IMAGE_REASONS:
        return False
    waited = now - execution.created_at if execution.created_at else timedelta()
    return execution.reason in HOPELESS_REASONS or waited >= IMAGE_PATIENCE


def _out_of_budget(
    search: Search, history: History, opened: Sequence[OpenTrial], now: datetime
) -> tuple[str, str] | None:
    """Why the budget ends the search, or None."""
    budget = search.spec.budget
    if history.failures > budget.max_failed_trials:
        count = f"{history.failures} trial{'' if history.failures == 1 else 's'}"
        return "TooManyFailedTrials", (
            f"{count} failed and budget.maxFailedTrials is {budget.max_failed_trials}; the last: {history.last_failure}"
        )
    if (deadline := _deadline(search)) is not None and now >= deadline:
        return "DeadlineExceeded", f"budget.activeDeadlineSeconds ({budget.active_deadline_seconds} s) have passed"
    if budget.gpu_hours is not None and _gpu_hours(history, opened) >= float(budget.gpu_hours):
        return "BudgetUsed", f"budget.gpuHours ({budget.gpu_hours}) are used"
    return None


def _gpu_hours(history: History, opened: Sequence[OpenTrial]) -> float:
    return (history.accelerator_seconds + sum(item.accelerator_seconds for item in opened)) / 3600


def _deadline(search: Search) -> datetime | None:
    seconds, start = search.spec.budget.active_deadline_seconds, search.status.start_time
    if seconds is None or start is None:
        return None
    return datetime.fromisoformat(start) + timedelta(seconds=seconds)


def _wanted(
    search: Search, history: History, opened: Sequence[OpenTrial], position: Position, space: Space
) -> tuple[tuple[NewTrial, ...], tuple[Ask, ...]]:
    """The trials that are missing and have room, as complete trials or as proposals to ask for."""
    room = search.spec.budget.parallel_trials - len(opened)
    if position.stage == "Search" and not position.items:
        return _search_trials(search, history, opened, space, room)
    create: list[NewTrial] = []
    free: dict[WorkKind, Iterator[int]] = {}
    # Two measurements at once on one device would measure each other.
    busy = {item.trial.spec.profile for item in opened if item.trial.spec.profile}
    for item in position.items:
        if len(create) >= room:
            break
        if item.profile in busy or any(item.matches(other.trial.spec) for other in opened):
            continue
        if item.work not in free:
            free[item.work] = history.free_indices(item.work, _indices(opened, item.work))
        index = next(free[item.work])
        if item.profile is not None:
            busy.add(item.profile)
        create.append(NewTrial(search.trial_name(item.work, index), item.spec(index)))
    return tuple(create), ()


def _search_trials(
    search: Search, history: History, opened: Sequence[OpenTrial], space: Space, room: int
) -> tuple[tuple[NewTrial, ...], tuple[Ask, ...]]:
    algorithm = search.spec.algorithm
    assert algorithm is not None  # noqa: S101 - the spec is resolved
    searching = [item.trial.spec for item in opened if item.trial.spec.work in SEARCH_KINDS]
    missing = search_size(search, space) - history.search_trials - len(searching)
    work = search_work(search.spec)
    indices = islice(history.free_indices(work, _indices(opened, work)), max(0, min(room, missing)))
    if not algorithm.proposes:
        return tuple(supernet_trial(search, algorithm, index, history) for index in indices), ()
    if algorithm.custom is not None:
        return _custom_trials(search, history, opened, list(indices)), ()
    # Trial i may know the first i - parallel + 1 results: what it would know if every result were answered at once.
    # So the proposals follow from the order of completion alone, however late, or often, somebody looked.
    seen = max([history.last_observed, *(spec.observed for spec in searching)])
    asks = []
    for index in indices:
        seen = max(seen, index - search.spec.budget.parallel_trials + 1)
        asks.append(Ask(index, min(seen, history.search_trials)))
    return (), tuple(asks)


def _custom_trials(
    search: Search, history: History, opened: Sequence[OpenTrial], indices: Sequence[int]
) -> tuple[NewTrial, ...]:
    """The trials of what was proposed, in order; where there is not enough, the Job that proposes more."""
    assert search.spec.evaluation is not None  # noqa: S101 - the spec is resolved
    batch = search.spec.evaluation.batch
    create = []
    for index in indices:
        given = [Proposal(architecture) for architecture in history.proposed[index * batch : (index + 1) * batch]]
        if len(given) < batch and not (given and history.exhausted_at is not None):
            break
        create.append(trial_of(Ask(index, history.search_trials), given, search, history))
    if len(create) == len(indices) or history.exhausted_at is not None or _indices(opened, "Propose"):
        return tuple(create)
    number = len(history.stages["Propose"])
    spec = ArchitectureTrialSpec(
        work="Propose",
        index=number,
        seed=derive_seed(search.spec.seed, "Propose", number),
        observed=history.search_trials,
    )
    return (*create, NewTrial(search.trial_name("Propose", number), spec))


def _indices(opened: Sequence[OpenTrial], work: WorkKind) -> set[int]:
    return {item.trial.spec.index for item in opened if item.trial.spec.work == work}


def supernet_trial(search: Search, algorithm: Algorithm, index: int, history: History) -> NewTrial:
    """The trial that is one whole differentiable search."""
    seed = derive_seed(search.spec.seed, "Supernet", index)
    epochs = algorithm.member[1].epochs
    return NewTrial(
        search.trial_name("Supernet", index),
        ArchitectureTrialSpec(work="Supernet", index=index, seed=seed, epochs=epochs, tables=latency_tables(history)),
    )


def _startable(search: Search, opened: Sequence[OpenTrial]) -> tuple[Trial, ...]:
    """The open trials that nothing runs, as many as there is room for."""
    idle = [item.trial for item in opened if item.execution is None]
    busy = len(opened) - len(idle)
    return tuple(idle[: max(0, search.spec.budget.parallel_trials - busy)])


def _stoppable(opened: Sequence[OpenTrial]) -> tuple[str, ...]:
    """The open trials that something runs, and is not on its way out already."""
    return tuple(item.trial.name for item in opened if item.execution and item.execution.reason != STOPPING)


def _change(item: OpenTrial, idle: str, *, stops: bool) -> Outcome | None:
    """An open trial's status, where it is not what was written last.

    What a running one has used grows with the clock. It is written with any other change, and before a Job is removed:
    from then on nothing else says it.
    """
    execution, before = item.execution, item.trial.status
    if execution is None:
        changes: dict[str, object] = {"state": "Pending", "reason": idle, "message": "", "node": "", "pod": ""}
    else:
        changes = {
            "state": execution.phase,
            "reason": execution.reason,
            "message": execution.message[:2048],
            "start_time": timestamp(execution.started_at),
            "preemptions": item.preemptions,
            "pod": execution.pod or before.pod,
            "node": execution.node,
        }
    after = before.model_copy(update=changes)
    used = execution is not None and item.accelerator_seconds > before.accelerator_seconds
    if after == before and not (stops and used):
        return None
    if used and execution is not None:
        counted = {"accelerator_seconds": item.accelerator_seconds,
                   "accelerator_seconds_until": timestamp(execution.until)}  # fmt: skip
        after = after.model_copy(update=counted)
    return Outcome(item.trial, after)


def _look_again(search: Search, history: History, opened: Sequence[OpenTrial], now: datetime) -> float | None:
    """Seconds until the clock alone changes the plan."""
    moments = [moment for moment in (_deadline(search),) if moment is not None]
    for item in opened:
        execution = item.execution
        if execution and execution.phase == "Pending" and execution.reason in IMAGE_REASONS and execution.created_at:
            moments.append(execution.created_at + IMAGE_PATIENCE)
        if execution and execution.reason in BLOCKED_REASONS and not blocked(execution, now) and execution.created_at:
            moments.append(execution.created_at + BLOCKED_PATIENCE)
    waits = [(moment - now).total_seconds() for moment in moments]
    rate = sum(item.execution.accelerators for item in opened if item.execution and item.execution.phase == "Running")
    if search.spec.budget.gpu_hours is not None and rate > 0:
        left = float(search.spec.budget.gpu_hours) - _gpu_hours(history, opened)
        waits.append(left * 3600 / rate)
    return max(1.0, min(waits)) if waits else None
