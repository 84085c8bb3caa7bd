"""What Kubernetes says of a Job and its pods, in the plan's words."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from archsearch.api.trial import ArchitectureTrialStatus
from archsearch_operator.observe import observe

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


def job(*conditions, suspend=False, deleting=False, limits=None):
    metadata = {"name": "j", "uid": "u", "creationTimestamp": "2026-01-01T11:00:00Z"}
    if deleting:
        metadata["deletionTimestamp"] = "2026-01-01T11:59:00Z"
    moment = {"status": "True", "lastTransitionTime": "2026-01-01T11:58:00Z"}
    return {
        "metadata": metadata,
        "spec": {"suspend": suspend, "template": {"spec": {"containers": [container_of(limits)]}}},
        "status": {"conditions": [moment | condition for condition in conditions]},
    }


def container_of(limits):
    return {"name": "trial", "resources": {"limits": limits or {"nvidia.com/gpu": "2"}}}


def pod(phase, state=None, created="2026-01-01T11:00:00Z", limits=None, deleting=False, **status):
    container = {"name": "trial", "state": state or {}, "imageID": "i@sha256:1"}
    # The kubelet sorts them by name: a mesh's comes first.
    mesh = {"name": "istio-proxy", "state": {"terminated": {"exitCode": 0, "message": "mesh"}}}
    return {
        "metadata": {"name": "p", "creationTimestamp": created} | ({"deletionTimestamp": "x"} if deleting else {}),
        "spec": {"nodeName": "node1", "containers": [{"name": "istio-proxy"}, container_of(limits)]},
        "status": {"phase": phase, "containerStatuses": [mesh, container], **status},
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
        (job(), [], {"phase": "Pending", "reason": "NoPod"}),
        (job(deleting=True), [pod("Running")], {"phase": "Pending", "reason": "Stopping"}),
        (job(deleting=True), [pod("Succeeded", ended(0, "{}", "Completed"))], {"phase": "Ended", "termination": "{}"}),
        (None, [pod("Running")], {"phase": "Pending", "reason": "Stopping", "accelerators": 2.0}),
        (None, [pod("Succeeded", ended(0, "{}", "Completed"))], {"phase": "Ended", "termination": "{}"}),
        (job(), [pod("Running", {"running": {"startedAt": "2026-01-01T11:30:00Z"}}, deleting=True)],
         {"phase": "Running", "reason": "Terminating"}),
        (job(), [pod("Pending", conditions=UNSCHEDULABLE)],
         {"phase": "Pending", "reason": "Unschedulable", "message": "0/1 nodes: Insufficient cpu"}),
        (job(), [pod("Pending", {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}})],
         {"phase": "Pending", "reason": "ImagePullBackOff", "message": "no such image"}),
        (job(), [pod("Running", {"running": {"startedAt": "2026-01-01T11:30:00Z"}})],
         {"phase": "Running", "accelerator_seconds": 3600.0, "node": "node1"}),
        (job(), [pod("Succeeded", ended(0, "{}", "Completed"))],
         {"phase": "Ended", "exit_code": 0, "termination": "{}", "accelerator_seconds": 1200.0,
          "image_digest": "i@sha256:1"}),
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
        (job(), [pod("Pending", limits={"nvidia.com/gpu": "2", "cpu": "4", "memory": "8Gi"})], {"accelerators": 2.0}),
        (job(), [pod("Pending", limits={"cpu": "4", "hugepages-2Mi": "1Gi"})], {"accelerators": 0.0}),
    ],
)  # fmt: skip
def test_each_state_of_a_job_is_read_as_it_is(jobs, pods, expected):
    found = observe(jobs, pods, ArchitectureTrialStatus(), NOW)
    assert {name: getattr(found, name) for name in expected} == expected


def test_the_latest_pod_counts_whatever_the_order_of_the_list():
    old = pod("Failed", ended(143), created="2026-01-01T11:00:00Z", conditions=DISRUPTED)
    new = pod("Succeeded", ended(0, "result", "Completed"), created="2026-01-01T11:45:00Z")
    for pods in ([old, new], [new, old]):
        found = observe(job(), pods, ArchitectureTrialStatus(), NOW)
        assert (found.phase, found.termination) == ("Ended", "result")
        assert found.accelerator_seconds == 2 * 1200.0


def test_what_was_counted_before_is_not_counted_again():
    """Ten of the first pod's minutes are written down, and it is gone; the second one has run for five."""
    before = ArchitectureTrialStatus(accelerator_seconds=1200.0, accelerator_seconds_until="2026-01-01T11:40:00Z")
    second = pod("Running", {"running": {"startedAt": "2026-01-01T11:55:00Z"}}, created="2026-01-01T11:50:00Z")
    found = observe(job(), [second], before, NOW)
    assert found.accelerator_seconds == 1200.0 + 2 * 300.0
    assert found.until == NOW
    still_there = pod("Running", {"running": {"startedAt": "2026-01-01T11:30:00Z"}})
    assert observe(job(), [still_there], before, NOW).accelerator_seconds == 1200.0 + 2 * 1200.0


def test_patience_counts_from_the_latest_pod_and_without_one_from_the_start_of_the_job():
    assert observe(job(), [pod("Pending", created="2026-01-01T11:50:00Z")], ArchitectureTrialStatus(), NOW).created_at \
        == datetime(2026, 1, 1, 11, 50, tzinfo=UTC)  # fmt: skip
    admitted = job()
    admitted["status"]["startTime"] = "2026-01-01T11:58:00Z"
    assert observe(admitted, [], ArchitectureTrialStatus(), NOW).created_at == datetime(2026, 1, 1, 11, 58, tzinfo=UTC)
