"""What Kubernetes says of a Job and its pods, in the plan's words."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from archsearch_operator.observe import observe

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


def job(*conditions, suspend=False, deleting=False, limits=None):
    metadata = {"name": "j", "uid": "u", "creationTimestamp": "2026-01-01T11:00:00Z"}
    if deleting:
        metadata["deletionTimestamp"] = "2026-01-01T11:59:00Z"
    container = {"name": "trial", "resources": {"limits": limits or {}}}
    moment = {"status": "True", "lastTransitionTime": "2026-01-01T11:58:00Z"}
    return {
        "metadata": metadata,
        "spec": {"suspend": suspend, "template": {"spec": {"containers": [container]}}},
        "status": {"conditions": [moment | condition for condition in conditions]},
    }


def pod(phase, state=None, created="2026-01-01T11:00:00Z", **status):
    container = {"name": "trial", "state": state or {}, "imageID": "i@sha256:1"}
    return {
        "metadata": {"name": "p", "creationTimestamp": created},
        "spec": {"nodeName": "node1"},
        "status": {"phase": phase, "containerStatuses": [container], **status},
    }


def ended(code, message="", reason="Error"):
    return {"terminated": {"exitCode": code, "message": message, "reason": reason, "startedAt": "2026-01-01T11:30:00Z",
                           "finishedAt": "2026-01-01T11:40:00Z"}}  # fmt: skip


DISRUPTED = [{"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}]
UNSCHEDULABLE = [
    {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes: Insufficient cpu"}
]


@pytest.mark.parametrize(
    ("jobs", "pods", "expected"),
    [
        (job(suspend=True), [], {"phase": "Queued", "reason": "Suspended"}),
        (job(), [], {"phase": "Pending", "reason": "Creating"}),
        (job(deleting=True), [pod("Running")], {"phase": "Pending", "reason": "Stopping"}),
        (job(), [pod("Pending", conditions=UNSCHEDULABLE)],
         {"phase": "Pending", "reason": "Unschedulable", "message": "0/1 nodes: Insufficient cpu"}),
        (job(), [pod("Pending", {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}})],
         {"phase": "Pending", "reason": "ImagePullBackOff", "message": "no such image"}),
        (job(), [pod("Running", {"running": {"startedAt": "2026-01-01T11:30:00Z"}})],
         {"phase": "Running", "run_seconds": 1800.0, "node": "node1"}),
        (job(), [pod("Succeeded", ended(0, "{}", "Completed"))],
         {"phase": "Ended", "exit_code": 0, "termination": "{}", "run_seconds": 600.0, "image_digest": "i@sha256:1"}),
        (job({"type": "Failed", "reason": "PodFailurePolicy"}), [pod("Failed", ended(42, "big"))],
         {"phase": "Ended", "exit_code": 42, "termination": "big", "failure": None}),
        (job({"type": "Failed", "reason": "BackoffLimitExceeded"}), [pod("Failed", ended(137, reason="OOMKilled"))],
         {"phase": "Ended", "failure": "OutOfMemory"}),
        (job({"type": "Failed", "reason": "DeadlineExceeded"}), [pod("Failed", ended(143))],
         {"phase": "Ended", "failure": "DeadlineExceeded"}),
        (job({"type": "Failed", "reason": "BackoffLimitExceeded"}), [], {"phase": "Ended", "failure": "NodeLost"}),
        (job({"type": "Complete"}), [], {"phase": "Ended", "failure": "NodeLost"}),
        (job(), [pod("Failed", ended(143), conditions=DISRUPTED)],
         {"phase": "Pending", "reason": "Disrupted"}),
        (job(), [pod("Failed", ended(143)), pod("Running", created="2026-01-01T11:45:00Z")],
         {"phase": "Running"}),
        (job(), [pod("Failed", ended(1))], {"phase": "Pending", "reason": "Ending"}),
        (job(limits={"nvidia.com/gpu": "2", "cpu": "4", "memory": "8Gi"}), [], {"accelerators": 2.0}),
        (job(limits={"cpu": "4", "hugepages-2Mi": "1Gi"}), [], {"accelerators": 0.0}),
    ],
)  # fmt: skip
def test_each_state_of_a_job_is_read_as_it_is(jobs, pods, expected):
    found = observe(jobs, pods, NOW)
    assert {name: getattr(found, name) for name in expected} == expected


def test_the_latest_pod_counts_whatever_the_order_of_the_list():
    old = pod("Failed", ended(143), created="2026-01-01T11:00:00Z", conditions=DISRUPTED)
    new = pod("Succeeded", ended(0, "result", "Completed"), created="2026-01-01T11:45:00Z")
    for pods in ([old, new], [new, old]):
        found = observe(job(), pods, NOW)
        assert (found.phase, found.termination) == ("Ended", "result")
        assert found.run_seconds == 1200.0
