"""What can be changed on a running search, and what never changes."""

from typing import Any

import pytest
from apiserver import Refused, Server
from records import SHA
from specs import GOOD, REMOVED, changed

from archsearch.api import ArchitectureSearchSpec
from archsearch.api.search import MUTABLE

Json = dict[str, Any]

pytestmark = pytest.mark.apiserver

OTHER: dict[str, Any] = {
    "task": {"imageClassification": {"dataset": {"volume": None, "builtin": "digits"}}},
    "space": {"dartsCells": {"nodes": 3}},
    "algorithm": {"regularizedEvolution": {"population": 11}},
    "evaluation": {"train": {"epochs": 11}},
    "objectives": [{"metric": "accuracy"}],
    "constraints": [],
    "profiles": [{"name": "t4", "batchSize": 2}],
    "earlyStopping": {"medianStop": {"graceEpochs": 6}},
    "retrain": {"epochs": 5},
    "export": {"format": "None"},
    "artifacts": {"path": "elsewhere"},
    "trial": {"image": "another:2"},
    "seed": 8,
}


def test_every_field_is_either_mutable_or_tried() -> None:
    names = {field.alias or name for name, field in ArchitectureSearchSpec.model_fields.items()}
    assert names == {*OTHER, *MUTABLE}


@pytest.mark.parametrize(("field", "value"), OTHER.items(), ids=OTHER)
def test_a_field_that_is_not_mutable_keeps_its_value(searches: Server, search: Json, field: str, value: Any) -> None:
    with pytest.raises(Refused, match=rf"spec\.{field}: .*{field} is immutable: .*only budget, suspend, queue"):
        searches.patch(search["metadata"]["name"], {"spec": {field: value}})


@pytest.mark.parametrize("field", [name for name in OTHER if name != "task"])
def test_a_field_that_is_not_mutable_cannot_be_removed(searches: Server, search: Json, field: str) -> None:
    """A field that is removed and added again in two steps would escape a rule on the field itself."""
    with pytest.raises(Refused, match=f"{field} is immutable"):
        searches.patch(search["metadata"]["name"], {"spec": {field: None}})


@pytest.mark.parametrize("field", ["space", "algorithm", "objectives", "earlyStopping", "export", "artifacts"])
def test_a_field_that_was_left_out_cannot_be_added(searches: Server, field: str) -> None:
    optional = ["space", "algorithm", "objectives", "constraints", "earlyStopping", "export", "artifacts"]
    name = f"without-{field.lower()}"
    searches.create(changed({"metadata.name": name, **{f"spec.{each}": REMOVED for each in optional}}))
    with pytest.raises(Refused, match=f"{field} is immutable"):
        searches.patch(name, {"spec": {field: GOOD["spec"][field]}})
    searches.delete(name)


def test_what_is_mutable_can_be_changed_removed_and_added(searches: Server, search: Json) -> None:
    name = search["metadata"]["name"]
    spec = searches.patch(name, {"spec": {"budget": {"maxTrials": 80, "gpuHours": None}, "suspend": True}})["spec"]
    assert (spec["budget"]["maxTrials"], "gpuHours" in spec["budget"], spec["suspend"]) == (80, False, True)
    assert "queue" not in searches.patch(name, {"spec": {"queue": None}})["spec"]
    assert searches.patch(name, {"spec": {"queue": {"name": "team-b"}}})["spec"]["queue"] == {"name": "team-b"}


def test_a_change_of_what_is_mutable_is_held_to_the_rules(searches: Server, search: Json) -> None:
    with pytest.raises(Refused, match=r"spec\.budget\.parallelTrials: .*must not be greater than maxTrials"):
        searches.patch(search["metadata"]["name"], {"spec": {"budget": {"maxTrials": 3}}})


@pytest.mark.parametrize(
    "change",
    [
        {"architecture": {"depth": 4}},
        {"architecture": {"normal/2/inputs": [0, 2]}},
        {"architecture": {"another": 1}},
        {"architecture": None},
        {"epochs": 11},
        {"profile": None},
        {"weights": {"sha256": SHA[::-1]}},
    ],
)
def test_a_trial_never_changes(trials: Server, record: Json, change: Json) -> None:
    with pytest.raises(Refused, match="spec is immutable"):
        trials.patch(record["metadata"]["name"], {"spec": change})


def test_labels_of_both_can_be_changed(searches: Server, trials: Server, search: Json, record: Json) -> None:
    for server, resource in ((searches, search), (trials, record)):
        patched = server.patch(resource["metadata"]["name"], {"metadata": {"labels": {"team": "a"}}})
        assert patched["metadata"]["labels"] == {"team": "a"}
        assert patched["metadata"]["generation"] == 1
