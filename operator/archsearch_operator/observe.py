"""Reads a Job and its pods as an Execution: what Kubernetes says, in the plan's words. Pure, and decides nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from archsearch.api.work import EXIT_INTERRUPTED
from archsearch.planning.model import Execution

Document = Mapping[str, Any]
EPOCH = datetime.fromtimestamp(0, UTC)


def observe(job: Document, pods: Sequence[Document], now: datetime) -> Execution:
    """The state of a Job. pods: its own, in any order."""
    ordered = sorted(pods, key=lambda pod: moment(pod["metadata"].get("creationTimestamp")) or EPOCH)
    execution = replace(
        _state(job, ordered),
        created_at=moment(job["metadata"].get("creationTimestamp")),
        run_seconds=sum(_seconds(pod, now) for pod in ordered),
        accelerators=_accelerators(job),
    )
    if ordered:
        status = _container(ordered[-1])
        execution = replace(
            execution,
            started_at=_started(ordered[-1]),
            node=ordered[-1]["spec"].get("nodeName", ""),
            pod=ordered[-1]["metadata"]["name"],
            image_digest=status.get("imageID", "")[:512],
        )
    return execution


def running_pod(pods: Sequence[Document]) -> Document | None:
    """The pod that runs now, if one does."""
    return next((pod for pod in pods if pod.get("status", {}).get("phase") == "Running"), None)


def _state(job: Document, pods: Sequence[Document]) -> Execution:
    if job["metadata"].get("deletionTimestamp"):
        return Execution("Pending", "Stopping", "the last Job of this trial is being removed")
    conditions = {
        item["type"]: item for item in job.get("status", {}).get("conditions", []) if item["status"] == "True"
    }
    last = pods[-1] if pods else None
    if last is not None and last.get("status", {}).get("phase") == "Succeeded":
        return _ended(last)
    if "Failed" in conditions:
        return _failed(conditions["Failed"], last)
    if "Complete" in conditions:
        # Its pod was removed before anybody read the message: there is no result any more.
        return Execution("Ended", "NodeLost", failure="NodeLost", ended_at=_transition(conditions["Complete"]))
    if job["spec"].get("suspend"):
        return Execution("Queued", "Suspended", "the Job waits for admission by its queue")
    if last is None:
        return Execution("Pending", "Creating")
    phase = last.get("status", {}).get("phase", "Pending")
    if phase == "Running":
        return Execution("Running")
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
    statuses = (pod or {}).get("status", {}).get("containerStatuses") or [{}]
    found: Document = statuses[0]
    return found


def _started(pod: Document) -> datetime | None:
    state = _container(pod).get("state", {})
    return moment((state.get("running") or state.get("terminated") or {}).get("startedAt"))


def _seconds(pod: Document, now: datetime) -> float:
    """For how long the pod's container has run."""
    start = _started(pod)
    if start is None:
        return 0.0
    end = moment(_container(pod).get("state", {}).get("terminated", {}).get("finishedAt")) or now
    return max(0.0, (end - start).total_seconds())


def _accelerators(job: Document) -> float:
    """Extended resources, such as nvidia.com/gpu, that the pod asks for. CPU and memory have no slash in their name."""
    limits = job["spec"]["template"]["spec"]["containers"][0].get("resources", {}).get("limits", {})
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
