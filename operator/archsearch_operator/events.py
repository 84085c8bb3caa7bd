"""Tells the user in `kubectl describe` when something changed. Once for each change, because it follows the status."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from archsearch.api.search import ArchitectureSearchStatus
from archsearch.planning.outcome import timestamp
from archsearch_operator.kube import Kube

log = logging.getLogger("archsearch.operator")

Document = dict[str, Any]
Notice = tuple[str, str, str]
"""Type (Normal or Warning), reason and message of an event."""


async def announce(
    kube: Kube, document: Document, before: ArchitectureSearchStatus, after: ArchitectureSearchStatus, now: datetime
) -> None:
    """Post an event for each change between two statuses. A failure to do so is logged and changes nothing else."""
    for kind, reason, message in notices(before, after):
        try:
            await kube.create_event(_event(document, kind, reason, message, now))
        except Exception as error:
            log.warning("no event for %s: %s", document["metadata"]["name"], error)


def notices(before: ArchitectureSearchStatus, after: ArchitectureSearchStatus) -> Iterator[Notice]:
    """What changed, in a person's words."""
    if after.stage != before.stage and after.stage is not None:
        yield "Normal", f"Stage{after.stage}", f"the search entered the stage {after.stage}"
    if after.best and after.stage == "Search" and (before.best is None or before.best.trial != after.best.trial):
        yield "Normal", "NewBest", f"{after.best.trial} is the best so far: {after.best.objective}"
    known = {condition.type: condition for condition in before.conditions}
    for condition in after.conditions:
        old = known.get(condition.type)
        changed = old is None or (old.status, old.reason) != (condition.status, condition.reason)
        if not changed or condition.status == "Unknown":
            continue
        if condition.type == "Succeeded":
            kind = "Normal" if condition.status == "True" else "Warning"
            yield kind, condition.reason, condition.message
        elif (
            condition.type in {"Progressing", "MetricsAvailable"} and condition.status == "False" and condition.message
        ):
            yield "Warning", condition.reason, condition.message


def _event(document: Document, kind: str, reason: str, message: str, now: datetime) -> Document:
    metadata = document["metadata"]
    moment = timestamp(now)
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{metadata['name']}.", "namespace": metadata["namespace"]},
        "involvedObject": {
            "apiVersion": document["apiVersion"],
            "kind": document["kind"],
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"],
        },
        "type": kind,
        "reason": reason,
        "message": message[:1024],
        "source": {"component": "archsearch"},
        "reportingComponent": "archsearch.dev/operator",
        "firstTimestamp": moment,
        "lastTimestamp": moment,
        "count": 1,
    }
