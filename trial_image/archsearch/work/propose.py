"""Propose: a searcher of the user's own image says what to evaluate next. It runs here and never in the operator."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from archsearch.api.work import Message
from archsearch.own_code import NoSuchCode, imported
from archsearch.planning.evidence import unpack
from archsearch.searchers import Proposal, Searcher
from archsearch.spaces import Architecture
from archsearch.work.context import Context
from archsearch.work.errors import UserError
from archsearch.work.interruption import Interrupted


def run(context: Context) -> Message:
    """Ask the searcher for as many architectures as the algorithm's `proposalsPerJob`; fewer where it has no more.

    The class is made as `Name(space, seed, settings)` and asked as every searcher is (`searchers.base.Searcher`).
    """
    settings = context.work.algorithm.custom
    if settings is None:
        raise UserError("algorithm.custom must be set for Propose")
    try:
        evidence = unpack(context.work.evidence, context.space)
    except ValueError as error:
        raise UserError(str(error)) from None
    searcher = load(settings.module, settings.settings, context)
    found: list[Architecture] = []
    for _ in range(settings.proposals_per_job):
        if context.interruption.requested():
            raise Interrupted
        architecture = _checked(searcher.ask(evidence), context, settings.module, evidence.proposed)
        if architecture is None:
            break
        found.append(architecture)
        evidence = replace(
            evidence,
            index=evidence.index + 1,
            pending=[*evidence.pending, Proposal(architecture)],
            proposed={**evidence.proposed, architecture.id: 1.0},
        )
    context.log(f"{len(found)} proposals after {len(evidence.results)} results")
    return Message(proposals=tuple(str(context.space.rank(architecture)) for architecture in found))


def load(module: str, settings: Mapping[str, str], context: Context) -> Searcher:
    """The searcher of the user's image. UserError says which part of `algorithm.custom.module` is wrong."""
    field = "algorithm.custom.module"
    try:
        found = imported(module, field)
    except NoSuchCode as error:
        raise UserError(str(error)) from error
    if not inspect.isclass(found):
        raise UserError(f"{field}: {module} must be a class, but is a {type(found).__name__}")
    searcher: Any = cast("Any", found)(context.space, context.work.spec.seed, dict(settings))
    if not callable(getattr(searcher, "ask", None)):
        raise UserError(f"{field}: {module} must have a method ask(evidence), but has none")
    return cast("Searcher", searcher)


def _checked(answer: object, context: Context, module: str, proposed: Any) -> Architecture | None:
    """The architecture that was answered. UserError for what is none, or was proposed before."""
    if answer is None:
        return None
    given = answer.architecture if isinstance(answer, Proposal) else answer
    if not isinstance(given, Architecture):
        raise UserError(
            f"algorithm.custom.module: {module}.ask must return a Proposal, an Architecture or None, "
            f"but got {type(answer).__name__}"
        )
    architecture = context.space.architecture(given.values)
    if architecture.id in proposed:
        raise UserError(f"algorithm.custom.module: {module}.ask must not propose {architecture.id} again")
    return architecture
