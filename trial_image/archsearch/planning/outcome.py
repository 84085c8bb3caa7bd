"""From what happened to a trial's container to the trial's last status. The container is not trusted."""

from __future__ import annotations

from datetime import datetime

from archsearch.api.search import ArchitectureSearchSpec
from archsearch.api.trial import SEARCH_KINDS, ArchitectureTrialStatus, Trial, TrialResult, TrialState
from archsearch.api.work import EXIT_INFEASIBLE, EXIT_RESULT, EXIT_USER_ERROR, InvalidMessage, Message, decode
from archsearch.planning.history import History
from archsearch.planning.model import Execution
from archsearch.planning.objectives import key_of, violation
from archsearch.spaces import InvalidArchitecture, Space


def judge(
    trial: Trial, execution: Execution, sequence: int, spec: ArchitectureSearchSpec, space: Space, history: History
) -> ArchitectureTrialStatus:
    """The status of a trial whose container has ended: its result, or why there is none."""
    state, reason, message, result = _verdict(trial, execution, spec, space, history)
    objective = result.metrics.get(key_of(history.searched[0])) if result else None
    return ArchitectureTrialStatus(
        state=state,
        reason=reason,
        message=message[:2048],
        sequence=sequence,
        result=result,
        metrics_reading=execution.reading if state == "Succeeded" else None,
        start_time=timestamp(execution.started_at),
        completion_time=timestamp(execution.ended_at),
        accelerator_seconds=execution.accelerator_seconds,
        preemptions=preemptions_of(trial, execution),
        node=execution.node,
        pod=execution.pod,
        image_digest=execution.image_digest,
        objective="" if objective is None else f"{objective:.4g}",
    )


Verdict = tuple[TrialState, str, str, TrialResult | None]


def _verdict(
    trial: Trial, execution: Execution, spec: ArchitectureSearchSpec, space: Space, history: History
) -> Verdict:
    if execution.exit_code == EXIT_RESULT:
        try:
            message = decode(execution.termination)
            result = _checked(trial, message, spec, space, history)
        except (InvalidMessage, InvalidArchitecture, ValueError) as error:
            return "Failed", "InvalidResult", str(error), None
        if trial.spec.work in SEARCH_KINDS and (broken := violation(spec.constraints, result.metrics)):
            return "Infeasible", "BeyondConstraint", broken, result
        return "Succeeded", "Completed", "", result
    said = _error_of(execution)
    if execution.failure == "OutOfMemory":
        return "Failed", "OutOfMemory", said or "the container used more memory than its limit and was killed", None
    if execution.failure == "DeadlineExceeded":
        limit = spec.trial.active_deadline_seconds
        return "Failed", "DeadlineExceeded", f"the trial ran longer than trial.activeDeadlineSeconds ({limit} s)", None
    if execution.failure == "NodeLost":
        return "Failed", "NodeLost", said or "the pod is gone and left no result", None
    if execution.exit_code == EXIT_INFEASIBLE:
        return "Infeasible", "BeyondConstraint", said, None
    if execution.exit_code == EXIT_USER_ERROR:
        return "Failed", "UserError", said, None
    reason = execution.reason if execution.exit_code is None and execution.reason else "Crashed"
    code = "" if execution.exit_code is None else f"exit code {execution.exit_code}: "
    return "Failed", reason, code + (said or execution.message or "the container left no message"), None


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


def _checked(
    trial: Trial, message: Message, spec: ArchitectureSearchSpec, space: Space, history: History
) -> TrialResult:
    """The message's result, if it is one that this kind of work may have. Raises ValueError otherwise."""
    if message.error is not None:
        raise InvalidMessage(f"termination message has exit code 0 and an error: {message.error}")
    work = trial.spec.work
    if work in SEARCH_KINDS:
        if message.architecture is None:
            raise InvalidMessage("termination message must have an architecture, but got none")
        found = space.architecture(message.architecture)
        if trial.spec.architecture is not None and found != space.architecture(trial.spec.architecture):
            raise InvalidMessage("termination message must have the architecture that was asked for, but got another")
        for objective in history.searched:
            if key_of(objective) not in message.metrics:
                raise InvalidMessage(
                    f"termination message must have the objective {key_of(objective)} among its metrics, "
                    f"but got {', '.join(sorted(message.metrics)) or 'none'}"
                )
    if work == "Profile" and (message.profile is None or message.profile.profile != trial.spec.profile):
        raise InvalidMessage(f"termination message must have the profile {trial.spec.profile}, but got none or another")
    if work == "Retrain" and spec.artifacts and not message.artifacts:
        raise InvalidMessage("termination message must have the weights among its artifacts, but got none")
    if work == "Export" and not any(artifact.format == "onnx" for artifact in message.artifacts):
        raise InvalidMessage("termination message must have an onnx file among its artifacts, but got none")
    return TrialResult.model_validate(message.model_dump(exclude={"version", "error"}))


def preemptions_of(trial: Trial, execution: Execution) -> int:
    """How often a trial was preempted. An evicted pod is soon gone; that another runs in its place stays visible."""
    before = trial.status
    replaced = bool(before.pod and execution.pod and before.pod != execution.pod)
    return max(before.preemptions + replaced, execution.preemptions)


def timestamp(moment: datetime | None) -> str | None:
    """A moment as Kubernetes writes it: UTC, whole seconds."""
    return None if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%SZ")
