"""Trials, names, and the status of both kinds: kept as the models write them."""

from typing import Any

import pytest
from apiserver import Refused, Server
from records import SEARCH_STATUS, TRIAL_SPEC, TRIAL_STATUS, trial
from specs import changed

from archsearch.api import ArchitectureSearchStatus, ArchitectureTrialSpec, ArchitectureTrialStatus

Json = dict[str, Any]

pytestmark = pytest.mark.apiserver


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"work": "Sleep"}, "spec.work"),
        ({"index": -1}, "spec.index"),
        ({"seed": 2**53}, "spec.seed"),
        ({"epochs": 0}, "spec.epochs"),
        ({"architecture": "x"}, "spec.architecture"),
        ({"weights": {"uri": "pvc://a/b", "sha256": "0"}}, "spec.weights.sha256"),
        ({"wrok": "Train"}, "spec.wrok"),
    ],
)
def test_bad_trials(trials: Server, change: Json, field: str) -> None:
    with pytest.raises(Refused, match=field):
        trials.create(trial(TRIAL_SPEC | change), dry_run=True)


@pytest.mark.parametrize("name", ["t" * 64, "a.b"])
def test_a_trial_is_named_so_that_a_label_can_hold_it(trials: Server, name: str) -> None:
    with pytest.raises(Refused, match=r"metadata\.name must be"):
        trials.create(trial(name=name), dry_run=True)
    assert (
        trials.create(trial(name="t" * 63), dry_run=True)["spec"]
        == ArchitectureTrialSpec.model_validate(TRIAL_SPEC).wire()
    )


def test_a_name_is_at_most_40_characters_long(searches: Server) -> None:
    longest = changed({"metadata.name": "s" * 40})
    assert searches.create(longest, dry_run=True)["metadata"]["name"] == "s" * 40


def test_the_status_of_a_search_is_kept_as_the_model_writes_it(searches: Server, search: Json) -> None:
    status = ArchitectureSearchStatus.model_validate(SEARCH_STATUS, extra="forbid")
    assert status.wire() == SEARCH_STATUS
    written = searches.patch(search["metadata"]["name"], {"status": status.wire()}, "/status")
    assert written["status"] == SEARCH_STATUS
    assert written["metadata"]["generation"] == 1


def test_the_status_of_a_trial_is_kept_as_the_model_writes_it(trials: Server, record: Json) -> None:
    status = ArchitectureTrialStatus.model_validate(TRIAL_STATUS, extra="forbid")
    assert status.wire() == TRIAL_STATUS
    assert trials.patch(record["metadata"]["name"], {"status": status.wire()}, "/status")["status"] == TRIAL_STATUS


def test_the_first_status_is_kept_as_the_model_writes_it(
    searches: Server, trials: Server, search: Json, record: Json
) -> None:
    for server, resource, status in (
        (searches, search, ArchitectureSearchStatus()),
        (trials, record, ArchitectureTrialStatus()),
    ):
        assert (
            server.patch(resource["metadata"]["name"], {"status": status.wire()}, "/status")["status"] == status.wire()
        )


def test_a_status_changes_nothing_in_the_spec(searches: Server, search: Json) -> None:
    written = searches.patch(search["metadata"]["name"], {"spec": {"seed": 8}, "status": SEARCH_STATUS}, "/status")
    assert written["spec"] == search["spec"]
