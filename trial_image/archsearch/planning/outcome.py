"""From what happened to a trial's container to the trial's last status. The container is not trusted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from archsearch.api.search import ArchitectureSearchSpec, Objective
from archsearch.api.trial import (
    BATCH_KINDS,
    ONE_RESULT_KINDS,
    SEARCH_KINDS,
    ArchitectureTrialStatus,
    Trial,
    TrialResult,
    TrialState,
)
from archsearch.api.work import EXIT_INFEASIBLE, EXIT_RESULT, EXIT_USER_ERROR, InvalidMessage, Message, decode
from archsearch.planning.history import History
from archsearch.planning.model import Execution, OpenTrial
from archsearch.planning.objectives import Metrics, key_of, violation
from archsearch.spaces import InvalidArchitecture, Space


@dataclass(frozen=True)
class Verdict:
    """How a trial has ended, and why, in one word and in a sentence."""

    state: TrialState
    reason: str
    message: str = ""
    result: TrialResult | None = None


def final_status(
    item: OpenTrial, execution: Execution, verdict: Verdict, ended_at: datetime, sequence: int, objective: Objective
) -> ArchitectureTrialStatus:
    """The last status of a trial. objective: the first of those that search trials report."""
    value = verdict.result.metrics.get(key_of(objective)) if verdict.result else None
    return ArchitectureTrialStatus(
        state=verdict.state,
        reason=verdict.reason,
        message=verdict.message[:2048],
        sequence=sequence,
        result=verdict.result,
        metrics_reading=execution.reading if verdict.state == "Succeeded" else None,
        start_time=timestamp(execution.started_at),
        completion_time=timestamp(ended_at),
        accelerator_seconds=item.accelerator_seconds,
        preemptions=item.preemptions,
        node=execution.node,
        pod=execution.pod,
        image_digest=execution.image_digest,
        objective="" if value is None else f"{value:.4g}",
    )


def judge(trial: Trial, execution: Execution, spec: ArchitectureSearchSpec, space: Space, history: History) -> Verdict:
    """What a container that has ended has come to: its result, or why there is none."""
    if execution.exit_code == EXIT_RESULT:
        try:
            message = decode(execution.termination)
            result = _checked(trial, message, spec, space, history)
        except (InvalidMessage, InvalidArchitecture, ValueError) as error:
            return Verdict("Failed", "InvalidResult", str(error))
        if trial.spec.work in ONE_RESULT_KINDS and (broken := violation(spec.constraints, result.metrics)):
            return Verdict("Infeasible", "BeyondConstraint", broken, result)
        return Verdict("Succeeded", "Completed", "", result)
    said = _error_of(execution)
    if execution.failure == "OutOfMemory":
        return Verdict("Failed", "OutOfMemory", said or "the container used more memory than its limit and was killed")
    if execution.failure == "DeadlineExceeded":
        limit = f"trial.activeDeadlineSeconds ({spec.trial.active_deadline_seconds} s)"
        return Verdict("Failed", "DeadlineExceeded", f"the trial ran longer than {limit}")
    if execution.failure == "NodeLost":
        return Verdict("Failed", "NodeLost", said or "the pod is gone and left no result")
    if execution.exit_code == EXIT_INFEASIBLE:
        # Outside the search there is no other architecture to take: it is a failure like any other.
        state: TrialState = "Infeasible" if trial.spec.work in SEARCH_KINDS else "Failed"
        return Verdict(state, "BeyondConstraint", said, _measured_of(execution))
    if execution.exit_code == EXIT_USER_ERROR:
        return Verdict("Failed", "UserError", said)
    reason = execution.reason if execution.exit_code is None and execution.reason else "Crashed"
    code = "" if execution.exit_code is None else f"exit code {execution.exit_code}: "
    return Verdict("Failed", reason, code + (said or execution.message or "the container left no message"))


def _error_of(execution: Execution) -> str:
    """What the container said of its failure: its message's error, or the last line that it printed."""
    try:
        if (error := decode(execution.termination).error) is not None:
            return error
    except InvalidMessage:
        pass
    # A crash writes no message of ours; Kubernetes then puts the end of the log in its place.
    lines = [line for line in (execution.termination or execution.log).splitlines() if line.strip()]
    return lines[-1].strip()[:1024] if lines else ""


def _measured_of(execution: Execution) -> TrialResult | None:
    """What a container that stopped before training had counted: it says how far beyond a limit the architecture is."""
    try:
        metrics = decode(execution.termination).metrics
    except InvalidMessage:
        return None
    return TrialResult(metrics=metrics) if metrics else None


def _checked(
    trial: Trial, message: Message, spec: ArchitectureSearchSpec, space: Space, history: History
) -> TrialResult:
    """The message's result, if it is one that this kind of work may have. Raises ValueError otherwise."""
    if message.error is not None:
        raise InvalidMessage(f"termination message has exit code 0 and an error: {message.error}")
    work = trial.spec.work
    if work in ONE_RESULT_KINDS:
        _check_architecture(trial, message, space)
        _check_objectives(message.metrics, history)
    if work in BATCH_KINDS:
        if len(message.results) != len(trial.spec.architectures):
            raise InvalidMessage(
                f"termination message must have {len(trial.spec.architectures)} results, one for each architecture, "
                f"but got {len(message.results)}"
            )
        for metrics in message.results:
            # One beyond a limit is not evaluated: what was counted of it is all there is.
            if work in SEARCH_KINDS and metrics and violation(spec.constraints, metrics) is None:
                _check_objectives(metrics, history)
    if work == "Features":
        _check_scores(message, spec)
    if work == "Profile" and (message.profile is None or message.profile.profile != trial.spec.profile):
        raise InvalidMessage(f"termination message must have the profile {trial.spec.profile}, but got none or another")
    if work == "Propose":
        _check_proposals(message, space, history)
    if work in {"Table", "SharedWeights"} and not message.artifacts:
        raise InvalidMessage("termination message must have a file among its artifacts, but got none")
    if work == "Retrain" and spec.artifacts and not message.artifacts:
        raise InvalidMessage("termination message must have the weights among its artifacts, but got none")
    if work == "Export" and not any(artifact.format == "onnx" for artifact in message.artifacts):
        raise InvalidMessage("termination message must have an onnx file among its artifacts, but got none")
    return TrialResult.model_validate(message.model_dump(exclude={"version", "error"}))


def _check_architecture(trial: Trial, message: Message, space: Space) -> None:
    if message.architecture is None:
        raise InvalidMessage("termination message must have an architecture, but got none")
    found = space.architecture(message.architecture)
    asked = trial.spec.architectures or ((trial.spec.architecture,) if trial.spec.architecture is not None else ())
    if asked and found not in [space.architecture(values) for values in asked]:
        raise InvalidMessage("termination message must have the architecture that was asked for, but got another")


def _check_proposals(message: Message, space: Space, history: History) -> None:
    known = {architecture.id for architecture in history.proposed}
    for number in message.proposals:
        if int(number) >= space.size():
            raise InvalidMessage(
                f"termination message must have proposals below {space.size()}, the size of the space, but got {number}"
            )
        identifier = space.at(int(number)).id
        if identifier in known:
            raise InvalidMessage(f"termination message must have new proposals, but got {identifier} again")
        known.add(identifier)


def _check_objectives(metrics: Metrics, history: History) -> None:
    for objective in history.searched:
        if key_of(objective) not in metrics:
            raise InvalidMessage(
                f"termination message must have the objective {key_of(objective)} among its metrics, "
                f"but got {', '.join(sorted(metrics)) or 'none'}"
            )


def _check_scores(message: Message, spec: ArchitectureSearchSpec) -> None:
    process = spec.algorithm.gaussian_process if spec.algorithm else None
    asked = process.zero_cost.scores if process and process.zero_cost else ()
    for name in (name for metrics in message.results for name in metrics):
        if name not in asked:
            raise InvalidMessage(f"termination message must have the scores {', '.join(asked)}, but got {name}")


def timestamp(moment: datetime | None) -> str | None:
    """A moment as Kubernetes writes it: UTC, whole seconds."""
    return None if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%SZ")
