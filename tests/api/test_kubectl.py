"""What kubectl shows: columns, categories and explanations."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from apiserver import Server
from records import SEARCH_STATUS, TRIAL_STATUS

Json = dict[str, Any]

pytestmark = pytest.mark.apiserver


def table(text: str) -> list[list[str]]:
    """The cells of what kubectl prints; columns begin where their heads do."""
    head, *rows = text.splitlines()
    starts = [index for index in range(len(head)) if head[index] != " " and (not index or head[index - 1] == " ")]
    ends = [*starts[1:], None]
    return [[row[start:end].strip() for start, end in zip(starts, ends, strict=True)] for row in (head, *rows)]


def test_the_columns_of_a_search(kubectl: Callable[..., str], searches: Server, search: Json) -> None:
    name = search["metadata"]["name"]
    searches.patch(name, {"status": SEARCH_STATUS}, "/status")
    head, row = table(kubectl("get", "nas", name))
    assert head == ["NAME", "STAGE", "TRIALS", "RUNNING", "BEST", "AGE"]
    assert row[:-1] == [name, "Done", "13/16", "3", "0.9375"]
    head, row = table(kubectl("get", "nas", name, "-o", "wide"))
    assert head == ["NAME", "STAGE", "TRIALS", "RUNNING", "BEST", "SUCCEEDED", "REASON", "MESSAGE", "AGE"]
    assert row[5:8] == ["True", "Done", SEARCH_STATUS["conditions"][0]["message"]]


def test_the_columns_of_a_trial(kubectl: Callable[..., str], trials: Server, record: Json) -> None:
    name = record["metadata"]["name"]
    trials.patch(name, {"status": TRIAL_STATUS}, "/status")
    head, row = table(kubectl("get", "nastrial", name))
    assert head == ["NAME", "WORK", "STATE", "OBJECTIVE", "AGE"]
    assert row[:-1] == [name, "Retrain", "Succeeded", "0.9375"]
    head, row = table(kubectl("get", "nastrial", name, "-o", "wide"))
    assert head == ["NAME", "WORK", "STATE", "OBJECTIVE", "NODE", "REASON", "AGE"]
    assert row[4:6] == ["node1", "Completed"]


def test_the_category_lists_both(kubectl: Callable[..., str], search: Json, record: Json) -> None:
    listed = kubectl("get", "archsearch", "-o", "name").split()
    assert f"architecturesearch.archsearch.dev/{search['metadata']['name']}" in listed
    assert f"architecturetrial.archsearch.dev/{record['metadata']['name']}" in listed


def explain(kubectl: Callable[..., str], field: str) -> str:
    """The API server publishes a new resource's documentation a moment after it serves the resource."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return " ".join(kubectl("explain", field).split())
        except AssertionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("nas", "A task and a budget are enough."),
        ("nas.spec.budget", "maxTrials <integer> -required- Trials of the search stage: networks trained"),
        ("nas.spec.budget.parallelTrials", "Trials at once, in every stage. From 1 to 1000. Default: 1."),
        ("nas.spec.algorithm", "regularizedEvolution <Object> Trains one network after another"),
        ("nas.spec.algorithm.differentiable.order", "ENUM: First Second"),
        ("nas.spec.objectives", "profile <string> The hardware profile on which the metric is measured"),
        ("nas.spec.task.imageClassification.dataset.volume", "claimName <string> -required-"),
        ("nas.status.best", "genotype <Object> -required- The architecture: every choice and its value."),
        ("nastrial.spec", "work <string> -required-"),
    ],
)
def test_kubectl_explains(kubectl: Callable[..., str], field: str, said: str) -> None:
    assert said in explain(kubectl, field)
