"""Conditions as Kubernetes means them: the transition time moves only when the status does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from archsearch.api.search import Condition
from archsearch.planning.outcome import timestamp

TYPES = ("Accepted", "Progressing", "MetricsAvailable", "Suspended", "Succeeded")


@dataclass(frozen=True)
class Claim:
    """What a condition is to say."""

    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str = ""


def conditions(
    before: Sequence[Condition], claims: dict[str, Claim], generation: int, now: datetime
) -> tuple[Condition, ...]:
    """All conditions after the claims are made; those of `before` keep their transition time where status is equal."""
    known = {condition.type: condition for condition in before}
    moment = timestamp(now)
    assert moment is not None  # noqa: S101 - now is a moment
    result = []
    for kind in TYPES:
        claim, old = claims[kind], known.get(kind)
        result.append(
            Condition(
                type=kind,
                status=claim.status,
                observed_generation=generation,
                last_transition_time=old.last_transition_time if old and old.status == claim.status else moment,
                reason=claim.reason,
                message=claim.message[:4096],
            )
        )
    return tuple(result)
