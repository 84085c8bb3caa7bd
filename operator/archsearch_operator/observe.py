"""Reads a Job and its pods as an Execution: what Kubernetes says, in the plan's words. Pure, and decides nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from archsearch.api.trial import ArchitectureTrialStatus
from archsearch.api.work import EXIT_INTERRUPTED
from archsearch.planning.model import NO_POD, STOPPING, Execution
from archsearch_operator import names

Document = Mapping[str, Any]
EPOCH = datetime.fromtimestamp(0, UTC)


def observe(
    job: Document | None, pods: Sequence[Document], before: ArchitectureTrialStatus, now: datetime
) -> Execution:
    """The state of a trial's Job. pods: its own, in any order. before: the trial's status as it was written last.

    job: None where it is gone and its pods are not: `kubectl delete job` leaves them for as long as they may take.
    """
    ordered = sorted(pods, key=lambda pod: moment(pod["metadata"].get("creationTimestamp")) or EPOCH)
    last = ordered[-1] if ordered else None
    until = now.replace(microsecond=0)
    since = moment(before.accelerator_seconds_until)
    used = sum(_seconds(pod, since, until) * _accelerators(pod["spec"]) for pod in ordered)
    execution = replace(
        _gone(last) if job is None else _state(job, last),
        created_at=_made(job, last),
        accelerators=_accelerators(last["spec"]) if last is not None else 0.0,
        accelerator_seconds=before.accelerator_seconds + used,
        until=until,
    )
    if last is None:
        return execution
    return replace(
        execution,
        started_at=_started(last),
        node=last["spec"].get("nodeName", ""),
        pod=last["metadata"]["name"],
        image_digest=_container(last).get("imageID", "")[:512],
    )


def running_pod(pods: Sequence[Document]) -> Document | None:
    """The pod that runs now, if one does."""
    return next((pod for pod in pods if pod.get("status", {}).get("phase") == "Running"), None)


def _made(job: Document | None, last: Document | None) -> datetime | None:
    """When the latest attempt began to wait: its pod's creation, or before there is one the Job's start."""
    if last is not None:
        return moment(last["metadata"].get("creationTimestamp"))
    if job is None:
        return None
    # A Job that was suspended starts when its queue admits it.
    return moment(job.get("status", {}).get("startTime") or job["metadata"].get("creationTimestamp"))


def _gone(last: Document | None) -> Execution:
    if last is not None and last.get("status", {}).get("phase") == "Succeeded":
        return _ended(last)
    return Execution("Pending", STOPPING, "the Job was deleted, and its pod is being removed")


def _state(job: Document, last: Document | None) -> Execution:
    conditions = {
        item["type"]: item for item in job.get("status", {}).get("conditions", []) if item["status"] == "True"
    }
    # Also while its Job is being removed: a result that came at the last moment is a result.
    if last is not None and last.get("status", {}).get("phase") == "Succeeded":
        return _ended(last)
    if job["metadata"].get("deletionTimestamp"):
        return Execution("Pending", STOPPING, "the last Job of this trial is being removed")
    if "Failed" in conditions:
        return _failed(conditions["Failed"], last)
    if "Complete" in conditions:
        # Its pod was removed before anybody read the message: there is no result any more.
        return Execution("Ended", "NodeLost", failure="NodeLost", ended_at=_transition(conditions["Complete"]))
    if job["spec"].get("suspend"):
        return Execution("Queued", "Suspended", "the Job waits for admission by its queue")
    if last is None:
        return Execution(
            "Pending", NO_POD, "the Job has no pod; `kubectl describe job` says why where that does not pass by itself"
        )
    phase = last.get("status", {}).get("phase", "Pending")
    if phase == "Running":
        # Told apart so that what it has used is written down while it is still to be seen.
        return Execution("Running", "Terminating" if last["metadata"].get("deletionTimestamp") else "")
    if phase == "Failed":
        # Replaced if it was disrupted; otherwise the Job is about to be marked as failed, which is what counts.
        return Execution("Pending", "Disrupted" if _disrupted(last) else "Ending")
    return _waiting(last)


def _ended(pod: Document) -> Execution:
    terminated = _container(pod).get("state", {}).get("terminated", {})
    return Execution(
        "Ended",
        exit_code=terminated.get("exitCode"),
        termination=terminated.get("message", ""),
        ended_at=moment(terminated.get("finishedAt")),
    )


def _failed(condition: Document, pod: Document | None) -> Execution:
    reason, message = condition.get("reason", "Failed"), condition.get("message", "")
    ended = _transition(condition)
    if reason == "DeadlineExceeded":
        return Execution("Ended", reason, message, failure="DeadlineExceeded", ended_at=ended)
    terminated = _container(pod).get("state", {}).get("terminated", {}) if pod else {}
    if not terminated:
        return Execution("Ended", "NodeLost", message, failure="NodeLost", ended_at=ended)
    return Execution(
        "Ended",
        reason,
        message,
        exit_code=terminated.get("exitCode"),
        failure="OutOfMemory" if terminated.get("reason") == "OOMKilled" else None,
        termination=terminated.get("message", ""),
        ended_at=moment(terminated.get("finishedAt")) or ended,
    )


def _waiting(pod: Document) -> Execution:
    """Why a pending pod does not run: the scheduler's reason, or the container's."""
    waiting = _container(pod).get("state", {}).get("waiting", {})
    if waiting:
        return Execution("Pending", waiting.get("reason", "Waiting"), waiting.get("message", ""))
    for condition in pod.get("status", {}).get("conditions", []):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return Execution("Pending", condition.get("reason", "Unschedulable"), condition.get("message", ""))
    return Execution("Pending", "Scheduling")


def _disrupted(pod: Document) -> bool:
    """Whether the pod was told to make room: evicted, preempted, drained, or deleted while it ran."""
    status = pod.get("status", {})
    if status.get("phase") != "Failed":
        return False
    if any(item["type"] == "DisruptionTarget" and item["status"] == "True" for item in status.get("conditions", [])):
        return True
    exit_code = _container(pod).get("state", {}).get("terminated", {}).get("exitCode")
    return bool(exit_code == EXIT_INTERRUPTED)


def _container(pod: Document | None) -> Document:
    """The status of the container that does the work. A mesh may have put one of its own beside it."""
    statuses: Sequence[Document] = (pod or {}).get("status", {}).get("containerStatuses") or ()
    return next((status for status in statuses if status.get("name") == names.CONTAINER), {})


def _started(pod: Document) -> datetime | None:
    state = _container(pod).get("state", {})
    return moment((state.get("running") or state.get("terminated") or {}).get("startedAt"))


def _seconds(pod: Document, since: datetime | None, until: datetime) -> float:
    """For how long the pod's container has run between the two moments."""
    start = _started(pod)
    if start is None:
        return 0.0
    end = moment(_container(pod).get("state", {}).get("terminated", {}).get("finishedAt")) or until
    return max(0.0, (min(end, until) - max(start, since or start)).total_seconds())


def _accelerators(pod_spec: Document) -> float:
    """Extended resources, such as nvidia.com/gpu, that the pod asks for. CPU and memory have no slash in their name."""
    container: Document = next((item for item in pod_spec["containers"] if item["name"] == names.CONTAINER), {})
    limits = container.get("resources", {}).get("limits", {})
    total = Decimal(0)
    for name, amount in limits.items():
        if "/" in name and not name.startswith(("hugepages", "kubernetes.io/")):
            try:
                total += Decimal(str(amount))
            except InvalidOperation:
                continue
    return float(total)


def _transition(condition: Document) -> datetime | None:
    return moment(condition.get("lastTransitionTime"))


def moment(text: str | None) -> datetime | None:
    """A Kubernetes timestamp as a moment."""
    return datetime.fromisoformat(text) if text else None
