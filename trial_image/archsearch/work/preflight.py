"""Preflight: do image, data, device and space agree? Said in a minute, before a day of GPU time is spent."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch

from archsearch.api.base import ChoiceValue, quantity
from archsearch.api.metrics import STATIC
from archsearch.api.search import Constraint
from archsearch.api.work import Message
from archsearch.evaluation import evaluate, generator
from archsearch.networks import Mix, WrongNetwork, check_custom, supernet
from archsearch.networks.inputs import each, random_inputs
from archsearch.spaces import Architecture, Space
from archsearch.supernets.progressive import possible
from archsearch.supernets.recipe import Recipe
from archsearch.supernets.search import network_options
from archsearch.work.context import Context, cost_text, static_cost
from archsearch.work.errors import UserError
from archsearch.work.files import write_whole

TRIED = 8
"""Examples that a custom task is tried on."""
DRAWN = 24
"""Random architectures that are counted to see what a limit allows, beside the regular ones."""
DRAWN_TO_COVER = 500
"""Random architectures that are looked at for options that no other has; few of them are run."""


def run(context: Context) -> Message:
    """Check everything that can be checked without training.

    Metrics: log10Architectures (how many the space has), classes, and the examples of each part.
    """
    data = context.data
    _ = context.device
    _check_artifacts(context)
    sample = context.space.sample(np.random.default_rng(context.work.spec.seed))
    if context.work.space.custom is not None:
        _check_custom(context, sample, context.work.space.custom.module)
    for stack in ("search", "final"):
        cost = static_cost(context.space, sample, stack, data.signature)
        context.log(f"{stack} network of a random architecture: {cost_text(cost)}")
    _check_task(context, sample)
    _check_supernet(context)
    _check_limits(context)
    size = context.space.size()
    context.log(f"space: {context.space.name} with {size:,} architectures, hash {context.space.hash()}")
    return Message(
        metrics={
            "log10Architectures": math.log10(size),
            "classes": data.classes,
            "weightsExamples": len(data.weights),
            "architectureExamples": len(data.architecture),
            "selectionExamples": len(data.selection),
            "testExamples": len(data.test),
        }
    )


def regular(space: Space) -> Iterator[Architecture]:
    """Architectures that have one operation wherever it is offered: among them are those that cost least and most.

    Each once with the first and once with the last set of inputs: a reduction cell strides on the edges from its first
    inputs, and there even a skip has weights.
    """
    words: dict[ChoiceValue, None] = {}
    for choice in space.choices:
        if not choice.is_subset:
            words |= dict.fromkeys(choice.options)
    found = (
        space.architecture({c.name: word if word in c.options else c.options[place] for c in space.choices})
        for word in words
        for place in (0, -1)
    )
    yield from dict.fromkeys(found)


def covering(space: Space, seed: int) -> Iterator[Architecture]:
    """Architectures that together have every option of every choice of operations or numbers, as far as some are found.

    Of the regular ones and many random ones those that have something new.
    """
    rng, had = np.random.default_rng(seed), set[tuple[str, ChoiceValue]]()
    for architecture in chain(regular(space), (space.sample(rng) for _ in range(DRAWN_TO_COVER))):
        new = {item for item in architecture.values.items() if not isinstance(item[1], tuple)} - had
        if new:
            had |= new
            yield architecture


def _check_artifacts(context: Context) -> None:
    if context.work.paths.artifacts is None:
        return
    folder = Path(context.work.paths.artifacts)
    probe = folder / f".probe-{context.work.trial}"
    try:
        write_whole(probe, b"can this be written?")
        probe.unlink()
    except OSError as error:
        user = f"{os.getuid()}:{os.getgid()}"
        raise UserError(
            f"artifacts: {folder} must be writable by user {user}, but is not ({error}); set its owner or mode, "
            "or a storage class that honours fsGroup"
        ) from None


def _check_task(context: Context, sample: Architecture) -> None:
    """UserError where a task of the user's own does not learn or judge as the spec says, tried on a few examples."""
    task = context.work.task.custom
    if task is None:
        return
    data, field = context.data, f"task.custom.module: {task.module}"
    network = context.network(sample, "search")
    batch = data.prepare(data.weights.first(TRIED).to(context.device), generator(context.work.spec.seed))
    try:
        outputs = network(batch.inputs)
        data.loss(outputs, batch.targets).backward()  # type: ignore[no-untyped-call]
        counts = tuple(data.tally(outputs.detach(), batch.targets).shape)
        found = evaluate(network, data, data.selection.first(TRIED))
    except Exception as error:
        raise UserError(f"{field}: a training step fails ({type(error).__name__}: {error})") from error
    if counts != (data.counts,):
        raise UserError(f"{field}: tally must give {data.counts} counts, as `counts` says, but gives {counts}")
    if missing := [metric for metric in task.metrics if metric not in found]:
        raise UserError(f"task.custom.metrics must be among {', '.join(found)}, but got {', '.join(missing)}")
    context.log(f"custom task {task.module}: {', '.join(f'{name} {value:.4g}' for name, value in found.items())}")


def _check_custom(context: Context, sample: Architecture, module: str) -> None:
    """UserError where the user's network asks for other choices than the spec, or its code fails."""
    check_custom(context.space, context.data.signature)
    try:
        for stack in ("search", "final"):
            static_cost(context.space, sample, stack, context.data.signature)
    except (UserError, WrongNetwork):
        raise
    except Exception as error:
        raise UserError(
            f"space.custom.module: examples do not pass through {module} ({type(error).__name__}: {error})"
        ) from error
    context.log(f"custom network {module}: it asks for exactly the {len(context.space.choices)} choices of the spec")


def _check_supernet(context: Context) -> None:
    """Examples pass through the supernet that the search is to train, where it trains one; nothing is computed.

    Through the mixture of all operations, or through each of them where one path is trained at a time. Of a progressive
    search through those of every stage: the later ones are deeper, and built only after hours.
    """
    algorithm, evaluation = context.work.algorithm, context.work.evaluation
    if (settings := algorithm.differentiable) is not None:
        options = network_options(settings)
        stages = Recipe.of(settings).stages
        if not stages:
            _pass_inputs(context, "supernet", "algorithm.differentiable", context.space, [_all(context.space)], options)
        for number, stage in enumerate(stages, 1):
            for space in possible(context.space, stage):
                name = f"supernet of stage {number}"
                _pass_inputs(context, name, "algorithm.differentiable", space, [_all(space)], options)
    elif algorithm.enas is not None or (evaluation is not None and evaluation.shared_weights is not None):
        paths = [architecture.values for architecture in covering(context.space, context.work.spec.seed)]
        _pass_inputs(context, "supernet", "space", context.space, paths, {})


def _all(space: Space) -> Mix:
    """The mixture of all operations."""
    return {choice.name: torch.ones(len(choice.alternatives)) for choice in space.choices if not choice.is_subset}


def _pass_inputs(
    context: Context, name: str, field: str, space: Space, mixes: Sequence[Mix], options: Mapping[str, Any]
) -> None:
    """UserError where examples do not pass through the space's supernet with each of these mixes.

    field: what is wrong with the spec where the supernet cannot be built with these options.
    """
    signature, custom = context.data.signature, context.work.space.custom
    with torch.device("meta"):
        try:
            built = supernet(space, signature=signature, **options)
        except WrongNetwork:
            raise
        except ValueError as error:
            raise UserError(f"{field}: {error}") from None
        inputs = each(lambda x: torch.zeros_like(x, device="meta"), random_inputs(signature, 2))
        try:
            for mix in mixes:
                built(inputs, mix)
        except Exception as error:
            if custom is None and not isinstance(error, (RuntimeError, TypeError)):
                raise  # no fault of the spec
            said = str(error).partition("\n")[0] or type(error).__name__
            advice = "use larger inputs or fewer cells" if custom is None else f"correct {custom.module}"
            raise UserError(f"space: {signature} do not pass through the {name} ({said}); {advice}") from error
    context.log(f"{name}: {sum(weight.numel() for weight in built.parameters()):,} parameters")


def _check_limits(context: Context) -> None:
    """UserError where a limit on parameters or flops lies beyond all architectures that were looked at.

    These are the regular ones, which are the cheapest and the dearest of the spaces here, and random ones. A limit
    between the extremes may still be hard to keep; the log says what share of them does.
    """
    limits = [limit for limit in context.work.constraints if limit.metric in STATIC]
    if not limits:
        return
    rng = np.random.default_rng(context.work.spec.seed)
    looked_at = [*regular(context.space), *(context.space.sample(rng) for _ in range(DRAWN))]
    costs = [context.cost(architecture) for architecture in looked_at]
    for limit in limits:
        values = [cost[limit.metric] for cost in costs]
        low, high = min(values), max(values)
        if limit.max is not None and quantity(limit.max) < low:
            raise UserError(_beyond(limit, f"at most {limit.max}", f"the smallest of {len(values)} has {low:,.0f}"))
        if limit.min is not None and quantity(limit.min) > high:
            raise UserError(_beyond(limit, f"at least {limit.min}", f"the largest of {len(values)} has {high:,.0f}"))
        kept = sum(_keeps(limit, value) for value in values)
        context.log(
            f"limit on {limit.metric}: {kept} of {len(values)} architectures keep it ({low:,.0f} to {high:,.0f})"
        )


def _keeps(limit: Constraint, value: float) -> bool:
    return (limit.max is None or value <= quantity(limit.max)) and (limit.min is None or value >= quantity(limit.min))


def _beyond(limit: Constraint, wanted: str, found: str) -> str:
    return (
        f"constraints: no architecture keeps {limit.metric} {wanted}: {found} in the final network; change the limit "
        "or space's final size"
    )
