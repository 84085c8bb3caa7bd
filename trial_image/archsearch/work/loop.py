"""Training in epochs with checkpoints: what Train, Retrain and Supernet have in common."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Final, Protocol, TypeVar, cast

from archsearch.evaluation import Diverged, EpochReport, EpochTraining, ShouldStop, State, Stopped
from archsearch.work.checkpoint import Checkpoints, identity_of
from archsearch.work.context import Context
from archsearch.work.interruption import Interrupted
from archsearch.work.metrics import series

SAVE_EVERY: Final = 30.0
"""Seconds of work that are lost at most when a pod vanishes without a word."""


Values = Mapping[str, float]


class Training(EpochTraining, Protocol):
    """A training that knows its end."""

    epochs: int


T = TypeVar("T", bound=Training)


def train(
    context: Context, make: Callable[[], T], evaluate: Callable[[T, ShouldStop], Values]
) -> tuple[T, list[Values]]:
    """Train to the end, from a checkpoint where there is one; returns the training and the values of each epoch.

    make: a new training. evaluate: the values after an epoch; it raises Stopped where it is told to stop.
    Raises Interrupted, with the place saved, when the process is told to stop, and Diverged.
    """
    checkpoints = Checkpoints(context.folder / "checkpoint", identity_of(context.work), context.log)
    training, curve = _resume(context, checkpoints, make)
    context.metrics.set({series("archsearch_trial_epochs"): training.epochs} | _shown(curve))
    context.cleanup.append(checkpoints.remove)
    requested = context.interruption.requested
    saved_at, just_saved = (time.monotonic() if curve else -SAVE_EVERY), False

    def due() -> bool:
        nonlocal just_saved
        just_saved, before = False, just_saved  # at least one step between two checkpoints, however slow the volume
        return requested() or (not before and time.monotonic() - saved_at >= SAVE_EVERY)

    def save() -> None:
        nonlocal saved_at, just_saved
        tensors, place = training.state()
        written = checkpoints.save((tensors, {"training": place, "curve": [dict(values) for values in curve]}))
        saved_at, just_saved = time.monotonic(), True
        if requested():
            at = f"after {len(curve)} of {training.epochs} epochs, {'saved' if written else 'NOT saved'}"
            context.log(f"told to stop {at}")
            raise Interrupted

    report: EpochReport | None = None
    with context.interruption.deferred():
        start = time.monotonic()
        while len(curve) < training.epochs:
            if training.epoch == len(curve):  # not trained before an interruption of the evaluation
                report = training.run_epoch(due)
                if report is None:
                    save()
                    continue
            try:
                values = evaluate(training, requested)
            except Stopped:
                save()
                continue
            _check(values, training.epoch, context.work.task.member[0])
            curve.append(values)
            took, start = time.monotonic() - start, time.monotonic()
            context.log(_line(training, report, values, took))
            context.metrics.set(_shown(curve) | _trained(report) | {series("archsearch_trial_epoch_seconds"): took})
            if due():
                save()
    return training, curve


def _resume(context: Context, checkpoints: Checkpoints, make: Callable[[], T]) -> tuple[T, list[Values]]:
    training = make()
    if (saved := checkpoints.load()) is None:
        return training, []
    tensors, values = saved
    try:
        place, curve = cast("dict[str, object]", values["training"]), cast("list[Values]", values["curve"])
        training.load(cast("State", (tensors, place)))
        if not 0 <= training.epoch - len(curve) <= 1:
            raise ValueError(f"it has {len(curve)} epochs of values and {training.epoch} of training")
    except (ValueError, KeyError, TypeError) as error:
        checkpoints.refuse(str(error))
        return make(), []  # the other one may hold half of the state
    context.log(f"going on from a checkpoint: {training.epoch} of {training.epochs} epochs are done")
    return training, list(curve)


def _check(values: Values, epoch: int, task: str) -> None:
    """Raises Diverged: the last step can break weights whose losses were numbers until then."""
    for name, value in values.items():
        if not math.isfinite(value):
            raise Diverged(
                f"training diverged: the selection {name} after epoch {epoch} is {value}; lower "
                f"task.{task}.training.learningRate, or that of a supernet where one is trained"
            )


def _line(training: Training, report: EpochReport | None, values: Values, seconds: float) -> str:
    trained = f"training loss {report.loss:.4f}, " if report else ""
    measured = ", ".join(f"{name} {value:.4f}" for name, value in values.items())
    return f"epoch {training.epoch}/{training.epochs}: {trained}selection {measured}, {seconds:.1f} s"


def _shown(curve: list[Values]) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    if not curve:
        return {}
    return {series("archsearch_trial_epoch"): len(curve)} | {
        series("archsearch_trial_objective", metric=name, split="selection"): value for name, value in curve[-1].items()
    }


def _trained(report: EpochReport | None) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    if report is None:
        return {}
    return {
        series("archsearch_trial_objective", metric=name, split="training"): value
        for name, value in {"loss": report.loss, **report.values}.items()
    }
