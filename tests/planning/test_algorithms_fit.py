"""The table "Which algorithms fit" in docs/spaces.md says what a spec may hold."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from archsearch.api import ArchitectureSearchSpec
from archsearch.api.algorithm import Algorithm
from archsearch.api.space import Space
from archsearch.api.task import TASKS
from archsearch.planning import resolve
from archsearch.searchers import SEARCHERS, searcher_of
from archsearch.spaces import space_of

Json = dict[str, Any]

SECTION = (Path(__file__).parents[2] / "docs" / "spaces.md").read_text().split("## Which algorithms fit\n")[1]
HEAD, _, *ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")] for line in SECTION.split("\n\n")[0].splitlines()
]
SAID = {name: dict(zip(HEAD[1:], row[1:], strict=True)) for row in ROWS for name in re.findall(r"`(\w+)`", row[0])}
"""By space, by column, the table's cell."""
CUSTOM: Json = {"module": "a.b:C", "choices": [{"name": "a", "options": ["x", "y"]}]}
SETTINGS: dict[str, Json] = {"custom": {"module": "a.b:C"}}
"""Of members that need some."""


def members(union: type) -> list[str]:
    """The names of a union's members, as a spec has them."""
    return [field.alias or name for name, field in union.model_fields.items()]  # type: ignore[attr-defined]


def column(name: str) -> list[Json]:
    """The parts of a spec that a column stands for: each of its algorithms, or evaluations with each searcher."""
    proposing = [{"algorithm": {own: SETTINGS.get(own, {})}} for own in [*SEARCHERS, "custom"]]
    if name == "searchers":
        return proposing
    alone = [{"algorithm": {own: {}}} for own in re.findall(r"`(\w+)`", name) if own != "sharedWeights"]
    return alone + [part | {"evaluation": {"sharedWeights": {}}} for part in proposing if "sharedWeights" in name]


def spec(space: Json, part: Json) -> ArchitectureSearchSpec:
    """A spec of this space, algorithm and evaluation. Raises ValidationError where they do not fit."""
    name = next(name for name, settings in TASKS.items() if next(iter(space)) in settings.spaces)
    task = {name: {"dataset": {"volume": {"claimName": "data"}}}}
    rest = {"task": task, "budget": {"maxTrials": 4}, "artifacts": {"claimName": "a"}}
    return ArchitectureSearchSpec.model_validate({**rest, "space": space, **part})


def refusal(space: Json, part: Json) -> str:
    """Why the spec may not be; nothing where it may."""
    try:
        spec(space, part)
    except ValidationError as error:
        return str(error)
    return ""


def test_the_table_has_every_space_and_every_algorithm() -> None:
    assert SAID.keys() == set(members(Space))
    named = {name for head in HEAD[1:] for part in column(head) for name in part["algorithm"]}
    assert named == set(members(Algorithm))


@pytest.mark.parametrize("head", HEAD[1:])
@pytest.mark.parametrize("name", SAID)
def test_the_table_says_what_a_spec_may_hold(name: str, head: str) -> None:
    settings = [{}] if name != "custom" else [CUSTOM | {"mixable": mixable} for mixable in (True, False)]
    found = [[refusal({name: own}, part) for part in column(head)] for own in settings]
    cells = {"yes": (True, True), "where it says `mixable: true`": (True, False)}
    fits = cells.get(SAID[name][head], (False, False))
    assert any(fits) or SAID[name][head].startswith("no: ")
    for messages, fit in zip(found, fits, strict=False):
        for message in messages:
            assert (message == "") if fit else f"algorithm must not be differentiable for {name}" in message


@pytest.mark.parametrize("name", SAID)
def test_sandwich_is_for_elastic_chains_only(name: str) -> None:
    assert "`sampling: Sandwich` is for `elasticChain` only." in SECTION
    shared = {"algorithm": {"random": {}}, "evaluation": {"sharedWeights": {"sampling": "Sandwich"}}}
    message = refusal({name: CUSTOM if name == "custom" else {}}, shared)
    assert (message == "") if name == "elasticChain" else "sampling must be Sandwich only for" in message


@pytest.mark.parametrize("name", SAID)
def test_a_grid_is_for_small_spaces_only(name: str) -> None:
    assert "`grid` takes spaces of at most 100,000 architectures." in SECTION
    space = {name: CUSTOM if name == "custom" else {}}
    resolved = resolve(spec(space, {"algorithm": {"grid": {}}}), "image")
    if space_of(Space.model_validate(space)).size() <= 100_000:
        searcher_of(resolved)
    else:
        with pytest.raises(ValueError, match="100,000"):
            searcher_of(resolved)
