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
    return tuple(_condition(kind, claims[kind], known.get(kind), generation, now) for kind in TYPES)


def with_claim(
    before: Sequence[Condition], kind: str, claim: Claim, generation: int, now: datetime
) -> tuple[Condition, ...]:
    """The conditions with one of them anew, and the others as they are."""
    known = {condition.type: condition for condition in before}
    known[kind] = _condition(kind, claim, known.get(kind), generation, now)
    return tuple(known[name] for name in TYPES if name in known)


def _condition(kind: str, claim: Claim, old: Condition | None, generation: int, now: datetime) -> Condition:
    moment = timestamp(now)
    assert moment is not None  # noqa: S101 - now is a moment
    return Condition(
        type=kind,
        status=claim.status,
        observed_generation=generation,
        last_transition_time=old.last_transition_time if old and old.status == claim.status else moment,
        reason=claim.reason,
        message=claim.message[:4096],
    )
