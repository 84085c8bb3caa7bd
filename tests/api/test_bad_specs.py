"""Bad specs are refused by the API server and by the library, and both name the field."""

import json
import re
from typing import Any

import pytest
from apiserver import Refused, Server
from bad_specs import BAD_SPECS
from specs import GOOD, changed

from archsearch.api.load import InvalidSpec, read_search

Json = dict[str, Any]

NAMES = [name for name, _, _ in BAD_SPECS]


def names(message: str, field: str) -> bool:
    """Whether the message has the field as a path of its own, not as a part of another."""
    return re.search(rf"(?<![\w.]){re.escape(field)}(?![\w])", message) is not None


def test_the_table_is_long_enough_and_says_each_thing_once() -> None:
    assert len(BAD_SPECS) >= 70
    assert len(set(NAMES)) == len(NAMES)


def test_python_accepts_the_spec_that_is_made_bad() -> None:
    _, spec = read_search(json.dumps(GOOD))
    assert spec.budget.max_trials == 40


@pytest.mark.parametrize(("name", "changes", "field"), BAD_SPECS, ids=NAMES)
def test_python_refuses(name: str, changes: Json, field: str) -> None:
    with pytest.raises(InvalidSpec) as refusal:
        read_search(json.dumps(changed(changes)))
    paths = [problem.path for problem in refusal.value.problems]
    assert any(names(path, field) for path in paths), refusal.value


@pytest.mark.apiserver
def test_the_api_server_accepts_the_spec_that_is_made_bad(searches: Server) -> None:
    assert searches.create(GOOD, dry_run=True)["spec"]["budget"]["maxTrials"] == 40


@pytest.mark.apiserver
@pytest.mark.parametrize(("name", "changes", "field"), BAD_SPECS, ids=NAMES)
def test_the_api_server_refuses(searches: Server, name: str, changes: Json, field: str) -> None:
    with pytest.raises(Refused) as refusal:
        searches.create(changed(changes), dry_run=True)
    assert refusal.value.code in (400, 422)
    # A field that is no field is named in quotes by the decoder; everything else by the validation.
    assert names(str(refusal.value), field), refusal.value
