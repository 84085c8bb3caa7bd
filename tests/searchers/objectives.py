"""What a searcher is tested with: objectives that are known, and runs of proposals and results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from archsearch.api import DartsCells, NasBench201
from archsearch.api import Space as SpaceSpec
from archsearch.searchers import Evidence, Proposal, Result, Searcher
from archsearch.spaces import Architecture, Choice, Space, space_of

NB201 = space_of(SpaceSpec(nas_bench201=NasBench201()))
DARTS = space_of(SpaceSpec(darts_cells=DartsCells()))
TINY = Space("tiny", (Choice("a", ("x", "y", "z")), Choice("b", (1, 2))), NasBench201())
CONDITIONAL = Space(
    "conditional",
    (
        Choice("depth", (1, 2, 3)),
        Choice("0", ("a", "b", "c")),
        Choice("1", ("a", "b", "c"), when=(("depth", 2), ("depth", 3))),
        Choice("2", (3, 5, 7), when=(("depth", 3),)),
        Choice("inputs", ((0,), (1,), (0, 1))),
        Choice("inputs/1", ("x", "y"), when=(("inputs", 1),)),
    ),
    NasBench201(),
)
SPACES = {"nasbench201": NB201, "darts": DARTS, "conditional": CONDITIONAL}

Objective = Callable[[Architecture], "float | tuple[float, ...] | None"]


def evidence(results: Sequence[Result], pending: Sequence[Proposal] = (), index: int | None = None) -> Evidence:
    """What a searcher knows after these; every proposal is in one of them."""
    proposed: dict[str, float] = {}
    for proposal in [*(result.proposal for result in results), *pending]:
        key = proposal.architecture.id
        proposed[key] = max(proposal.fidelity, proposed.get(key, 0.0))
    return Evidence(len(results) + len(pending) if index is None else index, results, list(pending), proposed)


def judged(proposal: Proposal, objective: Objective) -> Result:
    """What comes of a proposal."""
    value = objective(proposal.architecture)
    return Result(proposal, value if value is None or isinstance(value, tuple) else (value,))


def search(searcher: Searcher, objective: Objective, trials: int) -> list[Result]:
    """The results of trials one after the other; fewer where the space has no more."""
    results: list[Result] = []
    while len(results) < trials and (proposal := searcher.ask(evidence(results))) is not None:
        results.append(judged(proposal, objective))
    return results


def smooth(architecture: Architecture) -> float:
    """A known objective over NAS-Bench-201: a worth for each operation on each edge, and for pairs of them."""
    worth = {"none": 0.0, "avg_pool_3x3": 0.2, "skip_connect": 0.5, "nor_conv_1x1": 0.7, "nor_conv_3x3": 1.0}
    values = [worth[str(value)] for value in architecture.values.values()]
    return sum(values) + sum(first * second for first, second in pairwise(values))


def price(architecture: Architecture) -> float:
    """What contradicts it: good operations cost most."""
    cost = {"none": 0.0, "avg_pool_3x3": 1.0, "skip_connect": 1.0, "nor_conv_1x1": 2.0, "nor_conv_3x3": 9.0}
    return sum(cost[str(value)] for value in architecture.values.values())


def arbitrary(architecture: Architecture) -> float:
    """A number that every architecture of any space has for itself."""
    return int(architecture.id, 16) % 1000


def apart(count: int) -> list[Architecture]:
    """Architectures of NAS-Bench-201 of which none is a mutation of another, nor a mutation of a mutation."""
    found: list[Architecture] = []
    for number in np.random.default_rng(0).permutation(NB201.size()):
        candidate = NB201.at(int(number))
        if all(distance(candidate, other) > 2 for other in found):
            found.append(candidate)
        if len(found) == count:
            break
    return found


def distance(first: Architecture, second: Architecture) -> int:
    """Choices in which they differ."""
    return sum(first[name] != second[name] for name in first.values)
