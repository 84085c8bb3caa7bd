"""What is known of an architecture's latency before it is chosen: from a table, or measured where the trial runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from importlib.resources import files

from pydantic import ValidationError

from archsearch.api.metrics import metric_key
from archsearch.api.search import Profile
from archsearch.api.work import Message, explain
from archsearch.hardware import measure
from archsearch.hardware.costs import CostTable
from archsearch.planning.objectives import key_of, violation
from archsearch.spaces import Architecture
from archsearch.supernets.derivation import anything
from archsearch.work.artifacts import read_artifact
from archsearch.work.context import Context, cost_text
from archsearch.work.errors import Infeasible, UserError
from archsearch.work.metrics import series

Latency = Callable[[Architecture], float]


def search_cost(context: Context, architecture: Architecture, known: Mapping[str, Latency]) -> dict[str, float]:
    """Parameters, FLOPs and what is known of latency, before anything is trained. Raises Infeasible beyond a limit.

    known: the work's `latencies`.
    """
    found = context.checked_cost(architecture)
    for key, latency in known.items():
        found[key] = latency(architecture)
        context.log(f"{key}: {found[key]:.3f} ms expected")
    if broken := violation(context.work.constraints, found):
        raise Infeasible(f"the architecture is beyond a limit: {broken}", found)
    return found


def within_limits(context: Context) -> Callable[[Architecture], bool]:
    """Whether an architecture keeps the limits, by what is counted and what is known of latency."""
    limits = context.work.constraints
    if not limits:
        return anything
    limited = {key_of(limit) for limit in limits}
    known = {key: latency for key, latency in latencies(context).items() if key in limited}

    @cache
    def allowed(architecture: Architecture) -> bool:
        found = context.cost(architecture)
        # What is counted comes first: a latency may have to be measured.
        return violation(limits, found) is None and (
            violation(limits, {key: latency(architecture) for key, latency in known.items()}) is None
        )

    return allowed


def found_message(
    context: Context, architecture: Architecture, values: Mapping[str, float], curve: list[Mapping[str, float]]
) -> Message:
    """The result of a whole search: what it has found, how it did, and what its final network costs."""
    context.metrics.set(
        {series("archsearch_trial_objective", metric=name, split="selection"): value for name, value in values.items()}
    )
    context.log(f"architecture {architecture.id}: {architecture.json()}")
    cost = context.cost(architecture)
    context.log(f"final network: {cost_text(cost)}")
    cost |= {key: latency(architecture) for key, latency in latencies(context).items()}
    return Message(metrics=dict(values) | cost, architecture=dict(architecture.values), curve=context.curve(curve))


@lru_cache(maxsize=1)  # tables are read once for a piece of work
def latencies(context: Context) -> Mapping[str, Latency]:
    """By `latencyMs@profile`, what says it of an architecture, for the profiles with `searchLatency`. UserError."""
    found: dict[str, Latency] = {}
    for profile in context.work.profiles:
        if profile.search_latency is None:
            continue
        table = table_of(context, profile)
        found[metric_key("latencyMs", profile.name)] = _measured(context, profile) if table is None else table.of
    return found


def table_of(context: Context, profile: Profile) -> CostTable | None:
    """The latency table of a profile; None where each trial measures its own network."""
    settings = profile.search_latency
    if settings is None or settings.trial is not None:
        return None
    if settings.shipped_table is not None:
        name, content = (
            f"profiles.searchLatency.shippedTable {settings.shipped_table}",
            _shipped(settings.shipped_table),
        )
    else:
        given = next((table for table in context.work.spec.tables if table.profile == profile.name), None)
        if given is None:
            raise UserError(f"spec.tables must have the latency table of the profile {profile.name}, but does not")
        name, content = given.uri, read_artifact(context.work, given)
    try:
        table = CostTable.model_validate(json.loads(content))
    except ValidationError as error:
        raise UserError(f"{name}: {explain(error)}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{name}: must be a latency table, but is not ({error})") from None
    if table.space != context.space.hash() or table.shape != context.data.signature.shape:
        raise UserError(
            f"{name}: must be of the space {context.space.hash()} and {context.data.signature}, but is of "
            f"{table.space} and {table.shape}; measure another with profiles.searchLatency.measuredTable"
        )
    return table


def _shipped(name: str) -> bytes:
    folder = files("archsearch.hardware") / "tables"
    path = folder / f"{name}.json"
    if not path.is_file():
        there = sorted(item.name.removesuffix(".json") for item in folder.iterdir() if item.name.endswith(".json"))
        raise UserError(f"profiles.searchLatency.shippedTable must be one of {', '.join(there)}, but got {name}")
    return path.read_bytes()


def _measured(context: Context, profile: Profile) -> Latency:
    def latency(architecture: Architecture) -> float:
        network = context.network(architecture, "final")
        return measure(network, context.inputs, profile, context.device).latency_ms.p50

    return latency
