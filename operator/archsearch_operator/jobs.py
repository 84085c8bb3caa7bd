"""Renders what the operator creates: the trial record and the Job that does its work. Pure."""

from __future__ import annotations

from typing import Any

from archsearch.api.base import API_VERSION
from archsearch.api.search import KIND, Placement
from archsearch.api.trial import TRIAL_KIND, Trial
from archsearch.api.work import (
    EXIT_INFEASIBLE,
    EXIT_INTERRUPTED,
    EXIT_USER_ERROR,
    METRICS_PORT,
    WORK_VARIABLE,
    Work,
)
from archsearch.planning.history import History
from archsearch.planning.model import NewTrial, Search
from archsearch.planning.order import data_claim, paths_of, table_claim, work_of
from archsearch.planning.pipeline import wanted_profile
from archsearch_operator import names

Document = dict[str, Any]
USER = 65532


def trial_document(search: Search, new: NewTrial) -> Document:
    """The trial as it is created: owned by its search, and open."""
    return {
        "apiVersion": API_VERSION,
        "kind": TRIAL_KIND,
        "metadata": {
            "name": new.name,
            "namespace": search.namespace,
            "labels": _labels(search, new.name, new.spec.work) | {names.OPEN: "true"},
            "ownerReferences": [_owner(KIND, search.name, search.uid)],
        },
        "spec": new.spec.wire(),
    }


def job_document(search: Search, trial: Trial, uid: str, history: History, scraper: str = "") -> Document:
    """The Job that does a trial's work. uid: the trial's, which owns the Job. scraper: whose last scrape it waits for.

    An evicted pod is replaced and is no failure; an infeasible architecture or a user's error is not tried again.
    """
    labels = _labels(search, trial.name, trial.spec.work)
    queue = search.spec.queue
    queue_labels = {names.QUEUE: queue.name} if queue else {}
    if queue and queue.priority_class:
        queue_labels[names.PRIORITY] = queue.priority_class
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": trial.name,
            "namespace": search.namespace,
            "labels": labels | queue_labels,
            "ownerReferences": [_owner(TRIAL_KIND, trial.name, uid)],
        },
        "spec": {
            "suspend": queue is not None,
            "backoffLimit": 0,
            "podReplacementPolicy": "Failed",
            "activeDeadlineSeconds": search.spec.trial.active_deadline_seconds,
            "podFailurePolicy": {
                "rules": [
                    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                    {"action": "FailJob", "onExitCodes": _exit_codes(EXIT_USER_ERROR, EXIT_INFEASIBLE)},
                    # Told to stop by a deletion that was no eviction: the checkpoint is written, another pod resumes.
                    {"action": "Ignore", "onExitCodes": _exit_codes(EXIT_INTERRUPTED)},
                ]
            },
            "template": {
                "metadata": {
                    "labels": labels,
                    "annotations": {
                        "prometheus.io/scrape": "true",
                        "prometheus.io/port": str(METRICS_PORT),
                        "prometheus.io/path": "/metrics",
                    },
                },
                "spec": _pod(search, trial, history, scraper),
            },
        },
    }


def work_document(search: Search, trial: Trial, history: History) -> Work:
    """What the container is given."""
    return work_of(search, trial, paths_of(search, names.DATA_MOUNT, names.ARTIFACTS_MOUNT, names.TABLE_MOUNT), history)


def placement(search: Search, trial: Trial) -> Placement:
    """Where a trial's pod runs: a profile is measured on its own hardware."""
    return wanted_profile(search, trial.spec.profile) or search.spec.trial


def _pod(search: Search, trial: Trial, history: History, scraper: str) -> Document:
    where = placement(search, trial)
    template = search.spec.trial
    work = work_document(search, trial, history).model_copy(update={"scraper": scraper})
    pod: Document = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 60,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": names.CONTAINER,
                "image": template.image,
                "imagePullPolicy": template.image_pull_policy,
                "env": [
                    {
                        "name": WORK_VARIABLE,
                        "value": work.model_dump_json(by_alias=True, exclude_none=True),
                    },
                    {"name": "HOME", "value": "/tmp"},  # noqa: S108 - a volume of the pod's own
                    # Otherwise each trial starts a thread for each core of the node, and several wait for each other.
                    {"name": "OMP_WAIT_POLICY", "value": "PASSIVE"},
                    {"name": "OMP_NUM_THREADS", "valueFrom": {"resourceFieldRef": {"resource": "requests.cpu"}}},
                ],
                "ports": [{"name": "metrics", "containerPort": METRICS_PORT}],
                "resources": where.resources.wire(),
                "terminationMessagePolicy": "FallbackToLogsOnError",
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
                "volumeMounts": [{"name": name, **mount} for name, mount, _ in _volumes(search)],
            }
        ],
        "volumes": [{"name": name, **source} for name, _, source in _volumes(search)],
    }
    if where.node_selector:
        pod["nodeSelector"] = dict(where.node_selector)
    if where.tolerations:
        pod["tolerations"] = [toleration.wire() for toleration in where.tolerations]
    if where.runtime_class_name:
        pod["runtimeClassName"] = where.runtime_class_name
    return pod


def _volumes(search: Search) -> list[tuple[str, Document, Document]]:
    """Name, mount and source of the pod's volumes."""
    found: list[tuple[str, Document, Document]] = [
        ("tmp", {"mountPath": "/tmp"}, {"emptyDir": {}}),  # noqa: S108 - a volume of the pod's own
        # Data loaders hand tensors over through shared memory; a container's default is 64 MiB.
        ("shm", {"mountPath": "/dev/shm"}, {"emptyDir": {"medium": "Memory"}}),  # noqa: S108
    ]
    read = (("data", data_claim(search), names.DATA_MOUNT), ("table", table_claim(search), names.TABLE_MOUNT))
    for name, claim, path in read:
        if claim is not None:
            source = {"persistentVolumeClaim": {"claimName": claim, "readOnly": True}}
            found.append((name, {"mountPath": path, "readOnly": True}, source))
    if (artifacts := search.spec.artifacts) is not None:
        source = {"persistentVolumeClaim": {"claimName": artifacts.claim_name}}
        found.append(("artifacts", {"mountPath": names.ARTIFACTS_MOUNT}, source))
    return found


def _exit_codes(*codes: int) -> Document:
    return {"containerName": names.CONTAINER, "operator": "In", "values": sorted(codes)}


def _labels(search: Search, trial: str, work: str) -> dict[str, str]:
    return {names.MANAGED_BY: names.MANAGER, names.SEARCH: search.name, names.TRIAL: trial, names.WORK: work}


def _owner(kind: str, name: str, uid: str) -> Document:
    return {
        "apiVersion": API_VERSION,
        "kind": kind,
        "name": name,
        "uid": uid,
        "controller": True,
    }
